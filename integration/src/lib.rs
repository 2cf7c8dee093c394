//! A real Hadoop cluster on one machine, and what tests do with it: NameNode, DataNode, ResourceManager and NodeManagers, each
//! in a JVM of its own, from Maven's jars.

pub mod backend;
pub mod cluster;
mod configuration;
pub mod daemon;
pub mod http;
pub mod jars;

pub use cluster::{Cluster, Daemon};

use std::path::PathBuf;

/// The workspace's root.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}
