//! Generates the gRPC services over the hand-written messages of `yarn-ml-protocol`; no protoc.

use tonic_build::manual::{Builder, Method, Service};

fn method(name: &str, route: &str, input: &str, output: &str) -> tonic_build::manual::MethodBuilder {
    Method::builder()
        .name(name)
        .route_name(route)
        .input_type(format!("yarn_ml_protocol::messages::{input}"))
        .output_type(format!("yarn_ml_protocol::messages::{output}"))
        .codec_path("tonic_prost::ProstCodec")
}

fn main() {
    // Of the AM, for agents.
    let agents = Service::builder()
        .name("Agents")
        .package("yarnml.v1")
        .method(method("attach", "Attach", "AgentMessage", "AmMessage").client_streaming().server_streaming().build())
        .build();
    // Of the AM, for the submitter.
    let job = Service::builder()
        .name("Job")
        .package("yarnml.v1")
        .method(method("follow", "Follow", "FollowRequest", "JobStatus").server_streaming().build())
        .method(method("stop", "Stop", "StopRequest", "StopResponse").build())
        .build();
    // Of an agent, for an AM attempt that did not start it.
    let agent = Service::builder()
        .name("Agent")
        .package("yarnml.v1")
        .method(method("reattach", "Reattach", "ReattachRequest", "ReattachResponse").build())
        .build();
    Builder::new().compile(&[agents, job, agent]);
}
