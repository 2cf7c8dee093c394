//! What the agent and the trainer's `yarn_ml` package tell each other: environment, context file, and JSON lines over a
//! socket pair which the trainer inherits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ids::Rank, job::Strategy, schema::Column};

/// Path of the [`Context`] file.
pub const CONTEXT_ENV: &str = "YARN_ML_CONTEXT";
/// Number of the inherited socket's file descriptor.
pub const SOCKET_ENV: &str = "YARN_ML_SOCKET";
/// Number of the inherited input ring's file descriptor; absent without input.
pub const INPUT_RING_ENV: &str = "YARN_ML_RING_INPUT";

/// Everything `yarn_ml.context()` tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Context {
    pub application_id: String,
    pub job: String,
    pub role: String,
    pub index: u32,
    /// Number of the cluster spec.
    pub epoch: u32,
    /// Number of the application attempt.
    pub attempt: u32,
    /// Role → addresses as known at start; the harness asks for the bound ones.
    pub cluster: BTreeMap<String, Vec<String>>,
    pub strategy: Strategy,
    pub params: Map<String, Value>,
    /// Role → what it reads; a chief builds its graph from its workers' entry.
    pub inputs: BTreeMap<String, InputContext>,
    pub work_dir: String,
    /// Local folders; the agent carries them to their final places.
    pub checkpoint_dir: String,
    pub model_dir: String,
    pub log_dir: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputContext {
    pub stream: String,
    pub columns: Vec<Column>,
    pub batch: u32,
    pub epochs: u32,
    pub instances: u32,
}

/// Trainer → agent, one JSON object per line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TrainerMessage {
    /// My server listens on this port.
    Bound { port: u16 },
    /// Tell me when every server listens: answered by [`AgentReply::Cluster`].
    Cluster,
    /// The optimizer applied every batch of these ranks up to `seq`, inclusive.
    Ack { acks: Vec<AckLine> },
    /// For people and watchdogs.
    Report { values: Map<String, Value> },
    /// An early end, on purpose; the program still exits by itself.
    Stop { reason: String },
    /// A complete checkpoint lies in this folder below `checkpoint_dir`; answered by [`AgentReply::CheckpointPublished`].
    Checkpoint { path: String, step: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckLine {
    #[serde(flatten)]
    pub rank: Rank,
    pub seq: u64,
}

/// Agent → trainer, one JSON object per line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AgentReply {
    Cluster {
        cluster: BTreeMap<String, Vec<String>>,
    },
    CheckpointPublished {
        step: u64,
        uri: String,
    },
    CheckpointFailed {
        step: u64,
        message: String,
    },
    /// Come to an end by yourself: save, then exit.
    Drain,
}
