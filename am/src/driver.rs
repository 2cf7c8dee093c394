//! The loop around the core: one Tokio task owns it; everything else only sends events or carries out actions.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
};
use yarn_ml_am_core::{Action, Container, Event, FinalStatus, JobCore, JobStateMachine, Limits, Stamped, machine_for};
use yarn_ml_fs::{Attempt, Location, publish_file};
use yarn_ml_local::Layout;
use yarn_ml_protocol::plan::{AM_FILE, AmAddress, Master};

use crate::{
    backend::{self, Ask, Channels, Order, Told, Unregister, local::LocalBackend, yarn::YarnBackend},
    enumerate,
    launch::Launcher,
    server::{self, Outboxes},
    setting::Setting,
};

/// Runs the job to its end; the exit code is that of the job.
pub async fn run(setting: Setting, machine: Option<Box<dyn JobStateMachine>>) -> Result<i32> {
    let began = Instant::now();
    let setting = Arc::new(setting);
    let plan = setting.plan.clone();
    let machine = machine.unwrap_or_else(|| machine_for(plan.job_type));
    let core = JobCore::with_machine(plan, setting.application.clone(), setting.attempt, machine, Limits::default());
    tracing::info!(application = %setting.application, attempt = setting.attempt, container = %setting.container, "began");

    let (events, inbox) = mpsc::channel(1024);
    let (report, reports) = watch::channel(report_json(&core, began));
    let (port, outboxes) = server::serve(&setting, events.clone(), reports).await?;
    tell_address(&setting, port).await?;
    let launcher = Launcher::new(&setting).await?;
    let (orders, told) = start_backend(&setting, port)?;
    stop_on_signals(events.clone())?;
    let driver = Driver { setting: setting.clone(), core, began, events, outboxes, orders, launcher, report };
    let (code, core) = driver.run(inbox, told).await;

    let report = core.report(began.elapsed());
    tracing::info!(state = ?report.state, code, "ended");
    leave_report(&setting, &report).await;
    if setting.is_last_attempt() || code == 0 || report.state.is_terminal() {
        remove_staging(&setting).await;
    }
    Ok(code)
}

struct Driver {
    setting: Arc<Setting>,
    core: JobCore,
    began: Instant,
    events: mpsc::Sender<Event>,
    outboxes: Outboxes,
    orders: mpsc::Sender<Order>,
    launcher: Launcher,
    report: watch::Sender<String>,
}

impl Driver {
    async fn run(mut self, mut inbox: mpsc::Receiver<Event>, mut told: mpsc::Receiver<Told>) -> (i32, JobCore) {
        let mut second = tokio::time::interval(std::time::Duration::from_secs(1));
        loop {
            let event = tokio::select! {
                // `self.events` keeps the inbox open.
                Some(event) = inbox.recv() => event,
                said = told.recv() => match said {
                    Some(said) => event_of(said),
                    None => Event::BackendFailed { message: "the backend ended".into() },
                },
                _ = second.tick() => {
                    self.report.send_replace(report_json(&self.core, self.began));
                    continue;
                }
            };
            tracing::debug!(?event);
            let before = self.core.report(self.began.elapsed()).state;
            let actions = self.core.on_event(Stamped { at: self.began.elapsed(), event });
            for action in actions {
                if let Some(code) = self.act(action).await {
                    self.report.send_replace(report_json(&self.core, self.began));
                    // Let followers read the last report.
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    return (code, self.core);
                }
            }
            let report = self.core.report(self.began.elapsed());
            if report.state != before {
                tracing::info!(from = ?before, to = ?report.state, diagnostics = report.diagnostics, "the job changed its state");
                self.report.send_replace(report_json(&self.core, self.began));
            }
        }
    }

    /// Some exit code when this was the last action.
    async fn act(&mut self, action: Action) -> Option<i32> {
        tracing::debug!(?action);
        match action {
            Action::Ask { allocation_request_id, count: 0, .. } => {
                self.order(Order::CancelAsk { allocation_request_id }).await;
            }
            Action::Ask { allocation_request_id, count, memory_mb, vcores, resources } => {
                self.order(Order::Ask(Ask { allocation_request_id, count, memory_mb, vcores, resources })).await;
            }
            Action::Release { container } => self.order(Order::Release { container }).await,
            Action::StartContainer { container, rank } => {
                tracing::info!(%container, %rank, "starting a container");
                let launch = Box::new(self.launcher.launch(&rank));
                self.order(Order::Start { container, launch }).await;
            }
            Action::StopContainer { container } => self.order(Order::Stop { container }).await,
            Action::Send { stream, command, .. } => self.outboxes.send(stream, command),
            Action::Discover { stream } => {
                let (setting, events) = (self.setting.clone(), self.events.clone());
                // The core only asks for streams of the plan.
                let uri = setting.plan.streams.get(&stream).map(|s| s.path.clone()).unwrap_or_default();
                tokio::spawn(async move { enumerate::discover(&setting.files, &stream, &uri, &events).await });
            }
            Action::SetTimer { timer, generation, after } => {
                let events = self.events.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    let _ = events.send(Event::TimerFired { timer, generation }).await;
                });
            }
            Action::Unregister { status, diagnostics } => {
                let status = match status {
                    FinalStatus::Succeeded => backend::FinalStatus::Succeeded,
                    FinalStatus::Failed => backend::FinalStatus::Failed,
                    FinalStatus::Killed => backend::FinalStatus::Killed,
                };
                // Before the ResourceManager tells anybody that the job is over.
                leave_report(&self.setting, &ended(self.core.report(self.began.elapsed()))).await;
                self.order(Order::Unregister(Unregister { status, diagnostics })).await;
            }
            Action::End { exit_code } => return Some(exit_code),
        }
        None
    }

    async fn order(&self, order: Order) {
        if self.orders.send(order).await.is_err() {
            tracing::warn!("the backend takes no more orders");
        }
    }
}

/// The report as it will be once the ResourceManager has confirmed.
fn ended(mut report: yarn_ml_protocol::report::JobReport) -> yarn_ml_protocol::report::JobReport {
    use yarn_ml_protocol::report::JobState;
    report.state = match report.state {
        JobState::Failing => JobState::Failed,
        JobState::Canceling => JobState::Killed,
        JobState::Executing => JobState::Finished,
        other => other,
    };
    report
}

fn event_of(told: Told) -> Event {
    match told {
        Told::Registered(capability) => Event::Registered {
            memory_mb: capability.memory_mb,
            vcores: capability.vcores,
            resource_types: capability.resource_types,
        },
        Told::Allocated(containers) => Event::ContainersAllocated(containers.into_iter().map(container_of).collect()),
        Told::Started { container } => Event::ContainerStarted { container },
        Told::StartFailed { container, message } => Event::ContainerStartFailed { container, message },
        Told::Completed { container, exit_status, diagnostics } => {
            Event::ContainerCompleted { container, exit_status, diagnostics }
        }
        Told::ShutdownOrdered => Event::ShutdownOrdered,
        Told::Failed { message } => Event::BackendFailed { message },
        Told::Unregistered => Event::Unregistered,
    }
}

fn container_of(container: backend::Container) -> Container {
    Container {
        id: container.id,
        node: container.node,
        allocation_request_id: container.allocation_request_id,
        memory_mb: container.memory_mb,
        vcores: container.vcores,
        resources: container.resources,
        logs: container.logs,
    }
}

fn start_backend(setting: &Setting, port: u16) -> Result<(mpsc::Sender<Order>, mpsc::Receiver<Told>)> {
    let (orders, taken) = mpsc::channel(256);
    let (tell, told) = mpsc::channel(256);
    let channels = Channels { orders: taken, told: tell };
    match setting.plan.master {
        Master::Local => {
            let root = Location::parse(&setting.plan.staging)?;
            let layout = Layout {
                // The staging folder lies in the application's own.
                root: yarn_ml_fs::parent(&root.path).into(),
                application: setting.application.0.clone(),
                attempt: setting.attempt,
            };
            tokio::spawn(LocalBackend::new(layout, channels).run());
        }
        Master::Yarn => {
            tokio::spawn(YarnBackend::new(setting, port, channels)?.run());
        }
    }
    Ok((orders, told))
}

/// Agents and clients find this attempt through a small file.
async fn tell_address(setting: &Setting, port: u16) -> Result<()> {
    let address = AmAddress { address: format!("{}:{port}", setting.host), attempt: setting.attempt };
    let location = Location::parse(&setting.plan.staging)?.join(AM_FILE);
    let files = setting.files.at(&location)?;
    let bytes = Bytes::from(serde_json::to_vec(&address)?);
    publish_file(&*files, &location.path, bytes, 0o600, true, &attempt(setting))
        .await
        .context("failed to say where this application master listens")
}

fn attempt(setting: &Setting) -> Attempt {
    Attempt(format!("attempt{}", setting.attempt))
}

fn report_json(core: &JobCore, began: Instant) -> String {
    serde_json::to_string(&core.report(began.elapsed())).unwrap_or_default()
}

/// For `status` after the end. A job is not failed by a report that cannot be left.
async fn leave_report(setting: &Setting, report: &yarn_ml_protocol::report::JobReport) {
    let left = async {
        let location = Location::parse(&setting.plan.report)?;
        let bytes = Bytes::from(serde_json::to_vec_pretty(report).unwrap_or_default());
        let files = setting.files.at(&location)?;
        publish_file(&*files, &location.path, bytes, 0o600, true, &attempt(setting)).await
    };
    if let Err(error) = left.await {
        tracing::error!(%error, "the report could not be left");
    }
}

async fn remove_staging(setting: &Setting) {
    let removed = async {
        let location = Location::parse(&setting.plan.staging)?;
        setting.files.at(&location)?.delete(&location.path, true).await
    };
    if let Err(error) = removed.await {
        tracing::warn!(%error, "the staging folder could not be removed");
    }
}

/// SIGTERM and SIGINT, as the local client forwards them: the first drains, the second is the client's own to enforce.
fn stop_on_signals(events: mpsc::Sender<Event>) -> Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).context("failed to listen for signals")?;
        let events = events.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                let reason = "the application master was told to end".to_owned();
                let _ = events.send(Event::StopRequested { reason, drain: true }).await;
            }
        });
    }
    Ok(())
}
