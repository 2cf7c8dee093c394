//! The job as it will run: everything resolved at submission, nothing left to guess. The client makes it, prints it
//! (`explain`) and ships it; the application master and every agent read the same file.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::{
    job::{Input, Job, JobType, Program},
    schema::{Column, Metadata},
};

/// Name under which the plan lies in every container.
pub const PLAN_FILE: &str = "plan.json";
/// Name of the file in the staging folder by which an AM attempt says where it listens.
pub const AM_FILE: &str = "am.json";
/// Name under which the resolved Hadoop configuration lies in every container.
pub const HADOOP_CONF_FILE: &str = "hadoop-conf.xml";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Of this file's shape: [`Plan::VERSION`].
    pub version: u32,
    pub application_id: String,
    pub master: Master,
    /// Who submitted, and owns what the job writes.
    pub user: String,
    pub name: String,
    pub job_type: JobType,
    /// The job file with every `--set` applied.
    pub job: Job,
    pub streams: IndexMap<String, StreamPlan>,
    pub roles: IndexMap<String, RolePlan>,
    /// Files that agents find in their working directory.
    pub resources: Vec<Resource>,
    /// Folder of this application alone, a URI; removed at the end.
    pub staging: String,
    /// Where the report is left for `status` after the end, a URI.
    pub report: String,
    /// Folder for checkpoints, a URI.
    pub checkpoints: Option<String>,
    pub model: Option<ModelPlan>,
    /// `fs.defaultFS` and the folder which paths are relative to.
    pub default_fs: String,
    pub working_dir: String,
}

/// Content of [`AM_FILE`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AmAddress {
    /// `host:port`
    pub address: String,
    pub attempt: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Master {
    Yarn,
    Local,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelPlan {
    /// URI with `{version}` already replaced.
    pub path: String,
    pub overwrite: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamPlan {
    /// Qualified URI of the file, folder or glob.
    pub path: String,
    /// Every column of the files, in their order.
    pub file_schema: Vec<Column>,
    /// What the trainer gets, in its order.
    pub columns: Vec<OutputColumn>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputColumn {
    pub column: Column,
    pub from: ColumnSource,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnSource {
    /// Name of a column of the file.
    Field(String),
    Metadata(Metadata),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolePlan {
    pub instances: u32,
    pub program: Program,
    /// The job's and the role's own environment, merged.
    pub env: BTreeMap<String, String>,
    pub input: Option<Input>,
    pub memory: MemoryPlan,
    pub vcores: u32,
    pub resources: BTreeMap<String, u64>,
}

/// What a container of the role is made of, in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPlan {
    pub trainer_mb: u64,
    pub agent_mb: u64,
    /// Both processes map the rings, and YARN's monitor counts them in each.
    pub rings_mb: u64,
    /// Shuffle window and batches in the making.
    pub transforms_mb: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// Link name in the container's working directory.
    pub name: String,
    pub uri: String,
    /// Bytes; NodeManagers compare it.
    pub size: u64,
    /// Milliseconds since the epoch; NodeManagers compare it.
    pub modification_time: i64,
    pub kind: ResourceKind,
    pub visibility: Visibility,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ResourceKind {
    File,
    Archive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Visibility {
    Public,
    Private,
    Application,
}

impl Plan {
    pub const VERSION: u32 = 1;

    /// Ranks that read samples, as (role, instances).
    pub fn readers(&self) -> impl Iterator<Item = (&str, &RolePlan, &Input)> {
        self.roles.iter().filter_map(|(name, role)| Some((name.as_str(), role, role.input.as_ref()?)))
    }
}

impl MemoryPlan {
    pub fn container_mb(&self) -> u64 {
        self.trainer_mb + self.agent_mb + self.rings_mb + self.transforms_mb
    }
}

impl StreamPlan {
    /// What the trainer sees.
    pub fn output_schema(&self) -> Vec<Column> {
        self.columns.iter().map(|c| c.column.clone()).collect()
    }
}
