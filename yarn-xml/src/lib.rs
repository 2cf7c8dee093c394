//! Hadoop's configuration files with Java's semantics, and the ResourceManager's REST models. Pure, but for `discover`, which
//! reads files.

pub mod addresses;
pub mod configuration;
mod defaults;
pub mod discover;
pub mod rest;
pub mod submission;

pub use configuration::{Configuration, ConfigurationError, Origin};
pub use discover::{DiscoverError, discover};
