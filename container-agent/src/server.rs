//! The agent's own server, on a port which its first message tells: a newer AM attempt calls here.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};
use yarn_ml_control::{
    agent_server::{Agent, AgentServer},
    pki::{Identity, Leaf},
    tls,
};
use yarn_ml_protocol::{
    ids::ApplicationId,
    messages::{ReattachRequest, ReattachResponse},
    plan::AmAddress,
};

struct Service {
    told: watch::Sender<Option<AmAddress>>,
}

#[tonic::async_trait]
impl Agent for Service {
    async fn reattach(&self, request: Request<ReattachRequest>) -> Result<Response<ReattachResponse>, Status> {
        let ReattachRequest { am_address, application_attempt } = request.into_inner();
        if am_address.parse::<SocketAddr>().is_err() && !am_address.contains(':') {
            return Err(Status::invalid_argument(format!("`{am_address}` is not host:port")));
        }
        let mut accepted = false;
        self.told.send_if_modified(|told| {
            let newest = told.as_ref().map_or(0, |am| am.attempt);
            accepted = application_attempt > newest;
            if accepted {
                *told = Some(AmAddress { address: am_address.clone(), attempt: application_attempt });
            }
            accepted
        });
        let application_attempt = self.told.borrow().as_ref().map_or(0, |am| am.attempt);
        Ok(Response::new(ReattachResponse { accepted, application_attempt }))
    }
}

/// Listens and serves until the process ends; returns the port.
pub async fn serve(
    identity: &Identity,
    application: &ApplicationId,
    host: &str,
    told: watch::Sender<Option<AmAddress>>,
) -> Result<u16> {
    let listener = TcpListener::bind((host, 0)).await.with_context(|| format!("failed to listen on {host}"))?;
    let port = listener.local_addr().context("failed to read the agent's own port")?.port();
    let server = Server::builder()
        .tls_config(tls::server(identity))
        .context("failed to set up TLS")?
        .add_service(AgentServer::with_interceptor(Service { told }, tls::only(Leaf::Am, application)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "the agent's server ended");
        }
    });
    Ok(port)
}
