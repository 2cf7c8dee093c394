//! The control channel: gRPC services between client, application master and agents, under a certificate authority made for
//! one job. What is said on it is in `yarn_ml_protocol::messages`.
//!
//! A service belongs to one caller (`Agents` to agents, `Job` to the submitter, `Agent` to the application master), and its
//! server lets in only that caller's leaf: see [`tls::only`].

pub mod pki;
pub mod tls;

mod generated {
    #![allow(clippy::all, rust_2018_idioms)]
    pub mod agents {
        include!(concat!(env!("OUT_DIR"), "/yarnml.v1.Agents.rs"));
    }
    pub mod job {
        include!(concat!(env!("OUT_DIR"), "/yarnml.v1.Job.rs"));
    }
    pub mod agent {
        include!(concat!(env!("OUT_DIR"), "/yarnml.v1.Agent.rs"));
    }
}

pub use generated::{
    agent::{agent_client, agent_server},
    agents::{agents_client, agents_server},
    job::{job_client, job_server},
};
