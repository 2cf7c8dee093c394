//! Where containers come from. Both backends take the same orders and tell the same events; only ask, start, stop and the
//! file system differ.

pub mod local;
pub mod yarn;

use std::collections::BTreeMap;

use hadoop_rpc::credentials::Credentials;
use yarn_ml_protocol::{ids::ContainerId, plan::Resource};

use tokio::sync::mpsc;

/// What the core orders of a backend.
#[derive(Clone, Debug)]
pub enum Order {
    Ask(Ask),
    /// Nothing more is wanted under this id.
    CancelAsk {
        allocation_request_id: i64,
    },
    Release {
        container: ContainerId,
    },
    Start {
        container: ContainerId,
        launch: Box<Launch>,
    },
    Stop {
        container: ContainerId,
    },
    /// Answered by `Told::Unregistered`; the backend's last act.
    Unregister(Unregister),
}

/// So many containers of one shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub allocation_request_id: i64,
    pub count: u32,
    pub memory_mb: u64,
    pub vcores: u32,
    pub resources: BTreeMap<String, u64>,
}

/// YARN's `ContainerLaunchContext`.
#[derive(Clone)]
pub struct Launch {
    /// For `bash -c`; `<LOG_DIR>` stands for the log folder.
    pub command: String,
    pub environment: BTreeMap<String, String>,
    pub resources: Vec<Resource>,
    pub credentials: Credentials,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unregister {
    pub status: FinalStatus,
    pub diagnostics: String,
}

/// YARN's `FinalApplicationStatus`, as far as an application master may choose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalStatus {
    Succeeded,
    Failed,
    Killed,
}

/// What a backend tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    Registered(Capability),
    Allocated(Vec<Container>),
    Started {
        container: ContainerId,
    },
    StartFailed {
        container: ContainerId,
        message: String,
    },
    Completed {
        container: ContainerId,
        exit_status: i32,
        diagnostics: String,
    },
    /// The ResourceManager wants this attempt to end.
    ShutdownOrdered,
    /// Nothing more can be got from it.
    Failed {
        message: String,
    },
    Unregistered,
}

/// The largest container there can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    pub memory_mb: u64,
    pub vcores: u32,
    /// Names of the resource types that exist besides memory and vcores.
    pub resource_types: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub id: ContainerId,
    /// `host:port` of the NodeManager; the machine itself locally.
    pub node: String,
    /// `host:port` of its web server; empty locally.
    pub node_http: String,
    pub allocation_request_id: i64,
    pub memory_mb: u64,
    pub vcores: u32,
    pub resources: BTreeMap<String, u64>,
    /// Where people find its logs: a URL or a folder.
    pub logs: String,
}

/// Both ends of a backend's Tokio task.
pub struct Channels {
    pub orders: mpsc::Receiver<Order>,
    pub told: mpsc::Sender<Told>,
}

impl std::fmt::Debug for Launch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Launch").field("command", &self.command).finish_non_exhaustive()
    }
}
