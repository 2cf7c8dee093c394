//! The report of a job: what `status` shows while it runs, and what is left when it has ended. The JSON shape is stable.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::Rank;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobReport {
    pub application_id: String,
    pub name: String,
    pub state: JobState,
    /// Passes over the data asked for; the largest of all inputs.
    pub epochs: u32,
    /// Since the application master began.
    pub seconds: f64,
    pub rows: RowCounts,
    pub roles: Vec<RankReport>,
    /// What is happening, in a sentence: "waiting for 2 of 6 containers".
    pub activity: String,
    /// Cause first; empty unless FAILED or KILLED.
    pub diagnostics: String,
    /// Exit code for the client, see `exit`.
    pub exit_code: i32,
    pub model: Option<String>,
    pub checkpoint: Option<String>,
    /// The program's own early end.
    pub stop_reason: Option<String>,
    pub attempt: u32,
}

/// Flink's words, as far as a report needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobState {
    Created,
    WaitingForResources,
    Executing,
    Failing,
    Canceling,
    Finished,
    Failed,
    Killed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCounts {
    /// Rows of the files named as training input, once.
    pub source: u64,
    pub read: u64,
    pub filtered: u64,
    pub produced: u64,
    pub fed: u64,
    pub acknowledged: u64,
    /// Acknowledged rows which the published model holds.
    pub committed: u64,
    pub skipped: u64,
    pub replayed: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankReport {
    #[serde(flatten)]
    pub rank: Rank,
    pub container_id: String,
    /// `host:port` of the agent.
    pub agent: String,
    pub node: String,
    pub state: RankState,
    pub rows: RowCounts,
    pub seconds: f64,
    pub exit_code: Option<i32>,
    /// URL or path of the container's logs.
    pub logs: String,
    /// Last values of `yarn_ml.report`.
    pub report: Map<String, Value>,
    pub agent_pss: u64,
    pub trainer_pss: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RankState {
    Requested,
    Allocated,
    Attached,
    Running,
    Exited,
    Lost,
}

impl JobState {
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Killed)
    }
}
