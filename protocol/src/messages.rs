//! What AM, agents and clients tell each other over gRPC (the services are in `control`).
//!
//! An agent opens one stream to its AM: `AgentMessage`s up, `AmMessage`s down, both in order. Everything that happens in an
//! epoch carries it, so that the other side can drop what is stale.

use prost::{Enumeration, Message, Oneof};

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Rank {
    #[prost(string, tag = "1")]
    pub role: String,
    #[prost(uint32, tag = "2")]
    pub index: u32,
}

// ---- agent → AM

#[derive(Clone, PartialEq, Message)]
pub struct AgentMessage {
    #[prost(oneof = "AgentEvent", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    pub event: Option<AgentEvent>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum AgentEvent {
    /// Always first on a stream.
    #[prost(message, tag = "1")]
    Hello(Hello),
    #[prost(message, tag = "2")]
    TrainerStarted(TrainerStarted),
    /// A trainer's server listens (TensorFlow: ps and workers of the harness).
    #[prost(message, tag = "3")]
    PortBound(PortBound),
    #[prost(message, tag = "4")]
    Progress(Progress),
    #[prost(message, tag = "5")]
    SplitRequest(SplitRequest),
    #[prost(message, tag = "6")]
    SplitDone(SplitDone),
    /// Batches which the optimizer applied, told by a chief for other ranks.
    #[prost(message, tag = "7")]
    Acknowledged(Acknowledged),
    /// The last message of a rank's epoch: the trainer is gone, the counters are final.
    #[prost(message, tag = "8")]
    TrainerExited(TrainerExited),
    /// The agent itself cannot go on: source, ring, upload.
    #[prost(message, tag = "9")]
    Failed(Failed),
    #[prost(message, tag = "10")]
    Published(Published),
    /// The program asked for an early, honest end: `yarn_ml.stop(reason)`.
    #[prost(message, tag = "11")]
    StopRequested(StopRequested),
}

#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// Where the agent's own server listens.
    #[prost(string, tag = "2")]
    pub host: String,
    #[prost(uint32, tag = "3")]
    pub port: u32,
    /// A port for the trainer, free a moment ago; it stands in `TF_CONFIG` for programs that want it beforehand.
    #[prost(uint32, tag = "4")]
    pub trainer_port: u32,
    #[prost(string, tag = "5")]
    pub version: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct TrainerStarted {
    #[prost(uint32, tag = "1")]
    pub epoch: u32,
    #[prost(uint32, tag = "2")]
    pub pid: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct PortBound {
    #[prost(uint32, tag = "1")]
    pub epoch: u32,
    #[prost(uint32, tag = "2")]
    pub port: u32,
}

/// Sent about once a second, and at once when something stands still or ends.
#[derive(Clone, PartialEq, Message)]
pub struct Progress {
    #[prost(uint32, tag = "1")]
    pub epoch: u32,
    #[prost(message, optional, tag = "2")]
    pub rows: Option<Rows>,
    /// What the program reported last, JSON object: `{"step": 10, "loss": 0.4}`.
    #[prost(string, tag = "3")]
    pub report: String,
    /// Proportional memory of agent and trainer, bytes.
    #[prost(uint64, tag = "4")]
    pub agent_pss: u64,
    #[prost(uint64, tag = "5")]
    pub trainer_pss: u64,
}

/// Rows of one rank in one epoch of the cluster spec.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Rows {
    /// Taken out of files.
    #[prost(uint64, tag = "1")]
    pub read: u64,
    /// Dropped by a transform that the user wrote.
    #[prost(uint64, tag = "2")]
    pub filtered: u64,
    /// In batches ready for the trainer.
    #[prost(uint64, tag = "3")]
    pub produced: u64,
    /// Taken by the trainer.
    #[prost(uint64, tag = "4")]
    pub fed: u64,
    /// In steps that finished.
    #[prost(uint64, tag = "5")]
    pub acknowledged: u64,
    #[prost(uint64, tag = "6")]
    pub skipped: u64,
    #[prost(uint64, tag = "7")]
    pub replayed: u64,
    /// Highest sequence number put into the ring and highest acknowledged, each plus one: 0 is none.
    #[prost(uint64, tag = "8")]
    pub produced_batches: u64,
    #[prost(uint64, tag = "9")]
    pub acknowledged_batches: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct SplitRequest {
    #[prost(uint32, tag = "1")]
    pub epoch: u32,
    /// Splits wanted now.
    #[prost(uint32, tag = "2")]
    pub count: u32,
}

/// Every record of the split was taken. First and end offset let the AM see that neighbours meet: nothing torn, nothing missed.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct SplitDone {
    #[prost(uint32, tag = "1")]
    pub epoch: u32,
    #[prost(uint64, tag = "2")]
    pub split: u64,
    /// Where the first record (or, if none begins here, the next one) begins.
    #[prost(uint64, tag = "3")]
    pub first_offset: u64,
    /// Where the record after the last one begins, or the file ends.
    #[prost(uint64, tag = "4")]
    pub end_offset: u64,
    #[prost(uint64, tag = "5")]
    pub rows: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Acknowledged {
    #[prost(uint32, tag = "1")]
    pub epoch: u32,
    #[prost(message, repeated, tag = "2")]
    pub ranks: Vec<RankAck>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct RankAck {
    #[prost(message, optional, tag = "1")]
    pub rank: Option<Rank>,
    /// Every batch up to this one, inclusive.
    #[prost(uint64, tag = "2")]
    pub seq: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct TrainerExited {
    #[prost(uint32, tag = "1")]
    pub epoch: u32,
    /// Exit code, or 128 + signal.
    #[prost(int32, tag = "2")]
    pub exit_code: i32,
    /// 0 unless a signal ended it.
    #[prost(int32, tag = "3")]
    pub signal: i32,
    /// The agent ended it on the AM's order.
    #[prost(bool, tag = "4")]
    pub ordered: bool,
    #[prost(message, optional, tag = "5")]
    pub rows: Option<Rows>,
    /// Every split and batch of this rank was delivered, and the trainer saw the end.
    #[prost(bool, tag = "6")]
    pub end_of_data_seen: bool,
    /// Last Python traceback, or the last lines of stderr.
    #[prost(string, tag = "7")]
    pub traceback: String,
    /// Path of the log on the node.
    #[prost(string, tag = "8")]
    pub log: String,
    /// Wall time, milliseconds.
    #[prost(uint64, tag = "9")]
    pub millis: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Failed {
    #[prost(uint32, tag = "1")]
    pub epoch: u32,
    #[prost(enumeration = "FailureClass", tag = "2")]
    pub class: i32,
    /// Cause first.
    #[prost(string, tag = "3")]
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum FailureClass {
    Unspecified = 0,
    /// The user's program or data.
    Program = 1,
    Data = 2,
    /// File system, network, node.
    Infrastructure = 3,
    /// Ours.
    Internal = 4,
}

#[derive(Clone, PartialEq, Message)]
pub struct Published {
    #[prost(uint32, tag = "1")]
    pub epoch: u32,
    #[prost(enumeration = "Artifact", tag = "2")]
    pub artifact: i32,
    #[prost(string, tag = "3")]
    pub uri: String,
    #[prost(uint64, tag = "4")]
    pub files: u64,
    #[prost(uint64, tag = "5")]
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Artifact {
    Unspecified = 0,
    Checkpoint = 1,
    Model = 2,
}

#[derive(Clone, PartialEq, Message)]
pub struct StopRequested {
    #[prost(uint32, tag = "1")]
    pub epoch: u32,
    #[prost(string, tag = "2")]
    pub reason: String,
}

// ---- AM → agent

#[derive(Clone, PartialEq, Message)]
pub struct AmMessage {
    #[prost(oneof = "AmCommand", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub command: Option<AmCommand>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum AmCommand {
    /// Answer to Hello: who you are.
    #[prost(message, tag = "1")]
    Assign(Assign),
    #[prost(message, tag = "2")]
    StartTrainer(StartTrainer),
    /// Every server of the epoch listens; the true addresses.
    #[prost(message, tag = "3")]
    ClusterReady(ClusterReady),
    #[prost(message, tag = "4")]
    Splits(Splits),
    /// A chief acknowledged batches of this rank.
    #[prost(message, tag = "5")]
    Acknowledged(RankAcked),
    /// SIGTERM, grace, SIGKILL; answered by TrainerExited.
    #[prost(message, tag = "6")]
    StopTrainer(StopTrainer),
    /// Upload what the trainer left and rename it into place; answered by Published or Failed.
    #[prost(message, tag = "7")]
    Publish(Publish),
    /// Nothing more to do: end with this exit code.
    #[prost(message, tag = "8")]
    Shutdown(Shutdown),
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct Assign {
    #[prost(message, optional, tag = "1")]
    pub rank: Option<Rank>,
    #[prost(uint32, tag = "2")]
    pub application_attempt: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct StartTrainer {
    #[prost(uint32, tag = "1")]
    pub epoch: u32,
    #[prost(message, repeated, tag = "2")]
    pub cluster: Vec<RoleAddresses>,
}

/// Addresses of one role, `host:port`, in the order of their indices.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RoleAddresses {
    #[prost(string, tag = "1")]
    pub role: String,
    #[prost(string, repeated, tag = "2")]
    pub addresses: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ClusterReady {
    #[prost(uint32, tag = "1")]
    pub epoch: u32,
    #[prost(message, repeated, tag = "2")]
    pub cluster: Vec<RoleAddresses>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Splits {
    #[prost(uint32, tag = "1")]
    pub epoch: u32,
    #[prost(message, repeated, tag = "2")]
    pub splits: Vec<Split>,
    /// No split is left for this rank, now or later.
    #[prost(bool, tag = "3")]
    pub end: bool,
}

/// Bytes of one file, for one pass over the data.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Split {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub stream: String,
    #[prost(string, tag = "3")]
    pub uri: String,
    #[prost(uint64, tag = "4")]
    pub start: u64,
    #[prost(uint64, tag = "5")]
    pub length: u64,
    /// Of the whole file, as discovered; a changed file fails the job.
    #[prost(uint64, tag = "6")]
    pub file_length: u64,
    #[prost(int64, tag = "7")]
    pub modification_time: i64,
    /// Which pass over the data (Keras: epoch), from 0.
    #[prost(uint32, tag = "8")]
    pub data_epoch: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct RankAcked {
    #[prost(uint32, tag = "1")]
    pub epoch: u32,
    #[prost(uint64, tag = "2")]
    pub seq: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct StopTrainer {
    #[prost(uint32, tag = "1")]
    pub epoch: u32,
    #[prost(uint64, tag = "2")]
    pub grace_millis: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Publish {
    #[prost(uint32, tag = "1")]
    pub epoch: u32,
    #[prost(enumeration = "Artifact", tag = "2")]
    pub artifact: i32,
    /// Final place.
    #[prost(string, tag = "3")]
    pub uri: String,
    /// Goes into the temporary name.
    #[prost(uint32, tag = "4")]
    pub application_attempt: u32,
    #[prost(bool, tag = "5")]
    pub overwrite: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Shutdown {
    #[prost(int32, tag = "1")]
    pub exit_code: i32,
}

// ---- client ↔ AM, and AM → agent's own server

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct FollowRequest {}

/// State of the job: [`crate::report::JobReport`] as JSON, sent on every change and about once a second.
#[derive(Clone, PartialEq, Message)]
pub struct JobStatus {
    #[prost(string, tag = "1")]
    pub report: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct StopRequest {
    #[prost(string, tag = "1")]
    pub reason: String,
    /// True: the program is told to end by itself first. False: killed.
    #[prost(bool, tag = "2")]
    pub drain: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct StopResponse {}

/// A newer AM attempt calls an agent that an older one started.
#[derive(Clone, PartialEq, Message)]
pub struct ReattachRequest {
    #[prost(string, tag = "1")]
    pub am_address: String,
    #[prost(uint32, tag = "2")]
    pub application_attempt: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct ReattachResponse {
    #[prost(bool, tag = "1")]
    pub accepted: bool,
    #[prost(uint32, tag = "2")]
    pub application_attempt: u32,
}
