//! What the binaries share: the job file and the plan made of it, ids, what AM, agents and trainers tell each other,
//! and the report of a job. Pure: no sockets, files, clock or environment.

pub mod check;
pub mod exit;
pub mod ids;
pub mod job;
pub mod messages;
pub mod parse;
pub mod plan;
pub mod report;
pub mod resolve;
pub mod schema;
pub mod trainer;
pub mod units;
