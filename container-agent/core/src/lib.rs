//! The agent's brain. Pure: events with their time in, actions out; the driver next door owns processes, sockets and rings.

mod agent;
mod ledger;

pub use agent::{Action, AgentCore, AgentLimits, EndOfFeed, Event, ExitStatus, FeedCounters, Stamped, Timer, Upload};
pub use ledger::{AckError, Ledger};
