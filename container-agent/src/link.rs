//! The agent's stream to its AM: found through the staging folder, kept open, re-opened with back-off when it breaks.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use yarn_ml_agent_core::Event;
use yarn_ml_control::{
    agents_client::AgentsClient,
    pki::{Identity, Leaf},
    tls,
};
use yarn_ml_fs::FileSystem;
use yarn_ml_protocol::{
    ids::ApplicationId,
    messages::{AgentEvent, AgentMessage, Hello},
    plan::AmAddress,
};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Finds the AM: what a newer attempt told us directly, else what the newest one left in the staging folder.
pub struct Resolver {
    pub files: Arc<dyn FileSystem>,
    /// Path of the AM's address file on `files`.
    pub path: String,
    pub told: watch::Receiver<Option<AmAddress>>,
}

impl Resolver {
    async fn resolve(&self) -> Result<AmAddress> {
        let told = self.told.borrow().clone();
        let left = self.read().await;
        match (told, left) {
            (Some(told), Ok(left)) if left.attempt > told.attempt => Ok(left),
            (Some(told), _) => Ok(told),
            (None, left) => left,
        }
    }

    async fn read(&self) -> Result<AmAddress> {
        let bytes = yarn_ml_fs::read_small(&*self.files, &self.path, 64 << 10)
            .await
            .with_context(|| format!("failed to look up the application master in {}", self.path))?;
        serde_json::from_slice(&bytes).with_context(|| format!("{} does not name an address", self.path))
    }
}

pub struct Link {
    pub resolver: Resolver,
    pub identity: Identity,
    pub application: ApplicationId,
    pub hello: Hello,
    pub events: mpsc::Sender<Event>,
    pub outbox: mpsc::Receiver<AgentEvent>,
}

impl Link {
    /// Runs until the agent drops the sender of its outbox and everything in it is delivered, or the agent is gone.
    pub async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        let mut unsent = None;
        loop {
            match self.session(&mut unsent).await {
                Ok(Ended::OutboxClosed) => return,
                Ok(Ended::StreamBroke) => pause = FIRST_PAUSE,
                Err(error) => tracing::warn!("{error:#}"),
            }
            if self.events.send(Event::AmDetached).await.is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = self.resolver.told.changed() => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One connection, from greeting to break.
    async fn session(&mut self, unsent: &mut Option<AgentEvent>) -> Result<Ended> {
        let am = self.resolver.resolve().await?;
        let channel = tls::endpoint(&self.identity, &self.application, Leaf::Am, &am.address)?
            .connect()
            .await
            .with_context(|| format!("failed to reach the application master at {}", am.address))?;
        let (up, upstream) = mpsc::channel(64);
        let send = |event| AgentMessage { event: Some(event) };
        up.send(send(AgentEvent::Hello(self.hello.clone()))).await.ok();
        let mut down = AgentsClient::new(channel)
            .attach(ReceiverStream::new(upstream))
            .await
            .with_context(|| format!("the application master at {} refused this agent", am.address))?
            .into_inner();
        tracing::info!(address = %am.address, attempt = am.attempt, "attached");
        if self.events.send(Event::AmAttached).await.is_err() {
            return Ok(Ended::OutboxClosed);
        }
        if let Some(event) = unsent.take() {
            up.send(send(event)).await.ok();
        }
        loop {
            tokio::select! {
                message = down.message() => match message {
                    Ok(Some(message)) => {
                        let Some(command) = message.command else {
                            tracing::warn!("the application master sent a command this agent does not know");
                            continue;
                        };
                        if self.events.send(Event::Commanded(command)).await.is_err() {
                            return Ok(Ended::OutboxClosed);
                        }
                    }
                    Ok(None) => return Ok(Ended::StreamBroke),
                    Err(status) => {
                        tracing::warn!(code = ?status.code(), message = status.message(), "the stream broke");
                        return Ok(Ended::StreamBroke);
                    }
                },
                event = self.outbox.recv() => match event {
                    Some(event) => {
                        if let Err(returned) = up.send(send(event)).await {
                            *unsent = returned.0.event;
                            return Ok(Ended::StreamBroke);
                        }
                    }
                    None => {
                        // Closing our half lets the AM read all of it; its own end tells that it did.
                        drop(up);
                        while let Ok(Some(_)) = down.message().await {}
                        return Ok(Ended::OutboxClosed);
                    }
                },
                // A newer attempt called: leave this one.
                Ok(()) = self.resolver.told.changed() => return Ok(Ended::StreamBroke),
            }
        }
    }
}

enum Ended {
    StreamBroke,
    OutboxClosed,
}
