//! Hadoop RPC as an application master speaks it: protobuf over SASL, without Java.
//!
//! `wire`, `sasl`, `digest`, `credentials` and `response_id` are pure: bytes and values in, bytes and values out. `client` owns
//! the sockets, and the typed clients stand on it.

pub mod application_client;
pub mod application_master;
pub mod client;
pub mod container_management;
pub mod credentials;
pub mod digest;
pub mod ids;
pub mod proto;
pub mod response_id;
pub mod sasl;
pub mod wire;

pub use application_client::ApplicationClient;
pub use application_master::ApplicationMasterClient;
pub use client::{Auth, Options, RpcClient, RpcError};
pub use container_management::ContainerManagement;
pub use credentials::{Credentials, Token};
