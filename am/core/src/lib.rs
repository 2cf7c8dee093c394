//! The application master's brain. Pure: `JobCore::on_event` takes events with their time and returns actions; the driver next
//! door owns the ResourceManager, the NodeManagers, the agents and the clock.
//!
//! [`job`] holds what no state machine may break: containers, epochs, fencing, splits, accounting, drain. A
//! [`JobStateMachine`] decides what the job is about: order and readiness of roles, what a failure means, when it is finished.

mod accounting;
mod asks;
mod diagnostics;
mod event;
mod generic;
mod job;
mod machine;
mod ranks;
mod report;
mod splits;
mod tensorflow_batch;

pub use event::{Action, Container, Event, FinalStatus, SourceFile, Stamped, Timer};
pub use generic::Generic;
pub use job::{JobCore, Limits};
pub use machine::{Decision, JobStateMachine, JobView, Notice, RankView, machine_for};
pub use report::Verdict;
pub use tensorflow_batch::TensorFlowBatch;
