//! The AM's own services: agents attach, the submitter follows and stops.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result};
use futures::{Stream, StreamExt};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream, WatchStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};
use yarn_ml_am_core::Event;
use yarn_ml_control::{
    agents_server::{Agents, AgentsServer},
    job_server::{Job, JobServer},
    pki::Leaf,
    tls,
};
use yarn_ml_protocol::{
    ids::ContainerId,
    messages::{AgentEvent, AgentMessage, AmCommand, AmMessage, FollowRequest, JobStatus, StopRequest, StopResponse},
};

use crate::setting::Setting;

/// Commands that wait for an agent to take them; beyond it the agent is hanging, and its stream is closed.
const OUTBOX: usize = 1024;

type Outbox = mpsc::Sender<Result<AmMessage, Status>>;

/// The streams that agents have open.
#[derive(Clone, Default)]
pub struct Outboxes(Arc<Mutex<BTreeMap<u64, Outbox>>>);

impl Outboxes {
    /// Never waits. A stream that is gone tells so itself.
    pub fn send(&self, stream: u64, command: AmCommand) {
        let mut open = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(outbox) = open.get(&stream)
            && outbox.try_send(Ok(AmMessage { command: Some(command) })).is_err()
        {
            open.remove(&stream);
        }
    }

    fn insert(&self, stream: u64, outbox: Outbox) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(stream, outbox);
    }

    fn remove(&self, stream: u64) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&stream);
    }
}

#[derive(Clone)]
struct Service {
    events: mpsc::Sender<Event>,
    report: watch::Receiver<String>,
    outboxes: Outboxes,
    streams: Arc<AtomicU64>,
}

#[tonic::async_trait]
impl Agents for Service {
    type AttachStream = ReceiverStream<Result<AmMessage, Status>>;

    async fn attach(&self, request: Request<Streaming<AgentMessage>>) -> Result<Response<Self::AttachStream>, Status> {
        let mut incoming = request.into_inner();
        let first = incoming.message().await?.and_then(|message| message.event);
        let Some(AgentEvent::Hello(hello)) = first else {
            return Err(Status::invalid_argument("the first message of a stream must be Hello"));
        };
        let container = ContainerId(hello.container_id.clone());
        let stream = self.streams.fetch_add(1, Ordering::Relaxed);
        let (outbox, outgoing) = mpsc::channel(OUTBOX);
        self.outboxes.insert(stream, outbox);
        let service = self.clone();
        let attached = Event::AgentAttached { container: container.clone(), stream, hello };
        self.tell(attached).await?;
        tokio::spawn(async move {
            loop {
                match incoming.message().await {
                    Ok(Some(AgentMessage { event: Some(event) })) => {
                        let said = Event::AgentSaid { container: container.clone(), stream, event };
                        if service.tell(said).await.is_err() {
                            break;
                        }
                    }
                    Ok(Some(AgentMessage { event: None })) => {
                        tracing::warn!(%container, "an agent said what this application master does not know");
                    }
                    Ok(None) => break,
                    Err(status) => {
                        tracing::info!(%container, code = ?status.code(), message = status.message(), "an agent's stream broke");
                        break;
                    }
                }
            }
            service.outboxes.remove(stream);
            let _ = service.tell(Event::AgentDetached { container, stream }).await;
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

#[tonic::async_trait]
impl Job for Service {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<JobStatus, Status>> + Send>>;

    async fn follow(&self, _: Request<FollowRequest>) -> Result<Response<Self::FollowStream>, Status> {
        let reports = WatchStream::new(self.report.clone()).map(|report| Ok(JobStatus { report }));
        Ok(Response::new(Box::pin(reports)))
    }

    async fn stop(&self, request: Request<StopRequest>) -> Result<Response<StopResponse>, Status> {
        let StopRequest { reason, drain } = request.into_inner();
        self.tell(Event::StopRequested { reason, drain }).await?;
        Ok(Response::new(StopResponse {}))
    }
}

impl Service {
    async fn tell(&self, event: Event) -> Result<(), Status> {
        self.events.send(event).await.map_err(|_| Status::unavailable("the job has ended"))
    }
}

/// Listens and serves until the process ends. Returns the port, and where commands to agents go.
pub async fn serve(
    setting: &Setting,
    events: mpsc::Sender<Event>,
    report: watch::Receiver<String>,
) -> Result<(u16, Outboxes)> {
    let interface = if setting.host == "127.0.0.1" { "127.0.0.1" } else { "0.0.0.0" };
    let listener = TcpListener::bind((interface, 0)).await.context("failed to listen for agents")?;
    let port = listener.local_addr().context("failed to read the own port")?.port();
    let outboxes = Outboxes::default();
    let service = Service { events, report, outboxes: outboxes.clone(), streams: Arc::default() };
    let server = Server::builder()
        .http2_keepalive_interval(Some(std::time::Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(std::time::Duration::from_secs(20)))
        .tls_config(tls::server(&setting.identity))
        .context("failed to set up TLS")?
        .add_service(AgentsServer::with_interceptor(service.clone(), tls::only(Leaf::Agent, &setting.application)))
        .add_service(JobServer::with_interceptor(service, tls::only(Leaf::Client, &setting.application)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "the server ended");
        }
    });
    Ok((port, outboxes))
}
