//! Who may call what, over real sockets.

use tokio::net::TcpListener;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming, transport::Server};
use yarn_ml_control::{
    agents_server::{Agents, AgentsServer},
    job_client::JobClient,
    job_server::{Job, JobServer},
    pki::{self, Identity, Leaf},
    tls,
};
use yarn_ml_protocol::{
    ids::ApplicationId,
    messages::{AgentMessage, AmMessage, FollowRequest, JobStatus, StopRequest, StopResponse},
};

struct Am;

#[tonic::async_trait]
impl Job for Am {
    type FollowStream = ReceiverStream<Result<JobStatus, Status>>;

    async fn follow(&self, _: Request<FollowRequest>) -> Result<Response<Self::FollowStream>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn stop(&self, _: Request<StopRequest>) -> Result<Response<StopResponse>, Status> {
        Ok(Response::new(StopResponse {}))
    }
}

#[tonic::async_trait]
impl Agents for Am {
    type AttachStream = ReceiverStream<Result<AmMessage, Status>>;

    async fn attach(&self, _: Request<Streaming<AgentMessage>>) -> Result<Response<Self::AttachStream>, Status> {
        Err(Status::unimplemented("not in this test"))
    }
}

async fn serve(identity: &Identity, application: &ApplicationId) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = Server::builder()
        .tls_config(tls::server(identity))
        .unwrap()
        .add_service(JobServer::with_interceptor(Am, tls::only(Leaf::Client, application)))
        .add_service(AgentsServer::with_interceptor(Am, tls::only(Leaf::Agent, application)));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

async fn stop(identity: &Identity, application: &ApplicationId, peer: Leaf, address: &str) -> Result<(), Status> {
    let channel = tls::endpoint(identity, application, peer, address)
        .unwrap()
        .connect()
        .await
        .map_err(|e| Status::unavailable(format!("{e:?}")))?;
    let request = StopRequest { reason: "test".into(), drain: false };
    JobClient::new(channel).stop(request).await.map(drop)
}

#[tokio::test]
async fn the_submitter_may_stop_the_job_and_an_agent_may_not() {
    let application = ApplicationId("application_1700000000000_0001".into());
    let [am, agent, client] = pki::generate(&application).unwrap();
    let address = serve(&am, &application).await;
    stop(&client, &application, Leaf::Am, &address).await.unwrap();
    let refused = stop(&agent, &application, Leaf::Am, &address).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("client") && refused.message().contains("agent"));
}

#[tokio::test]
async fn another_jobs_leaves_and_another_server_are_refused() {
    let application = ApplicationId("application_1700000000000_0001".into());
    let [am, _, client] = pki::generate(&application).unwrap();
    let [other_am, _, other_client] = pki::generate(&application).unwrap();
    let address = serve(&am, &application).await;
    assert!(stop(&other_client, &application, Leaf::Am, &address).await.is_err());
    let impostor = serve(&other_am, &application).await;
    assert!(stop(&client, &application, Leaf::Am, &impostor).await.is_err());
    // An agent that listens cannot pass for the application master either.
    assert!(stop(&client, &application, Leaf::Agent, &address).await.is_err());
}
