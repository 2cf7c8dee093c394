//! What happened, and what is to be done.

use std::{collections::BTreeMap, time::Duration};

use yarn_ml_protocol::{
    ids::{ContainerId, Rank},
    messages::{AgentEvent, AmCommand, Hello},
};

/// An event and when it happened, counted from the application master's start.
#[derive(Clone, Debug, PartialEq)]
pub struct Stamped<E> {
    pub at: Duration,
    pub event: E,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The ResourceManager knows this attempt. The largest container there can be, and the resource types besides memory
    /// and vcores.
    Registered {
        memory_mb: u64,
        vcores: u32,
        resource_types: Vec<String>,
    },
    ContainersAllocated(Vec<Container>),
    ContainerStarted {
        container: ContainerId,
    },
    ContainerStartFailed {
        container: ContainerId,
        message: String,
    },
    /// May repeat, and may name containers that never ran.
    ContainerCompleted {
        container: ContainerId,
        exit_status: i32,
        diagnostics: String,
    },
    /// An agent opened a stream. A later stream of the same container replaces it.
    AgentAttached {
        container: ContainerId,
        stream: u64,
        hello: Hello,
    },
    AgentDetached {
        container: ContainerId,
        stream: u64,
    },
    AgentSaid {
        container: ContainerId,
        stream: u64,
        event: AgentEvent,
    },
    FilesDiscovered {
        stream: String,
        files: Vec<SourceFile>,
    },
    DiscoveryFinished {
        stream: String,
    },
    DiscoveryFailed {
        stream: String,
        message: String,
    },
    /// Somebody wants the job to end.
    StopRequested {
        reason: String,
        drain: bool,
    },
    /// The ResourceManager wants this attempt to end without a word.
    ShutdownOrdered,
    BackendFailed {
        message: String,
    },
    TimerFired {
        timer: Timer,
        generation: u64,
    },
    Unregistered,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    pub id: ContainerId,
    /// `host:port` of the NodeManager.
    pub node: String,
    pub allocation_request_id: i64,
    pub memory_mb: u64,
    pub vcores: u32,
    pub resources: BTreeMap<String, u64>,
    /// URL or folder.
    pub logs: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    pub uri: String,
    pub length: u64,
    /// Milliseconds since the epoch.
    pub modification_time: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Ask {
        allocation_request_id: i64,
        /// Absolute, as YARN counts: it replaces what was asked under this id before; 0 takes it back.
        count: u32,
        memory_mb: u64,
        vcores: u32,
        resources: BTreeMap<String, u64>,
    },
    Release {
        container: ContainerId,
    },
    StartContainer {
        container: ContainerId,
        rank: Rank,
    },
    StopContainer {
        container: ContainerId,
    },
    Send {
        container: ContainerId,
        stream: u64,
        command: AmCommand,
    },
    /// List the files of a stream.
    Discover {
        stream: String,
    },
    SetTimer {
        timer: Timer,
        generation: u64,
        after: Duration,
    },
    Unregister {
        status: FinalStatus,
        diagnostics: String,
    },
    /// End the process; the report is final.
    End {
        exit_code: i32,
    },
}

/// YARN's `FinalApplicationStatus`, as far as an application master may choose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalStatus {
    Succeeded,
    Failed,
    Killed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// All trainers must have started.
    Start,
    /// The job must have ended.
    Lifetime,
    /// An agent without a stream must be back, or its container must have been reported as completed.
    Lost,
    /// One rung of the ladder down: trainers, agents, containers.
    Ladder,
}
