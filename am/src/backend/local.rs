//! Containers as child processes of the application master, with YARN's environment, exit codes, memory limit and way of
//! ending: SIGTERM to the group, 250 ms, SIGKILL.

use std::{collections::BTreeMap, os::unix::process::ExitStatusExt, time::Duration};

use anyhow::{Result, bail};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{process::Child, sync::mpsc};
use yarn_ml_local::{ContainerSpec, Layout, spawn};
use yarn_ml_protocol::ids::ContainerId;

use super::{Capability, Channels, Container, Launch, Order, Told};
use yarn_ml_processes as processes;

/// YARN's `ContainerExitStatus.KILLED_EXCEEDED_PMEM`.
const KILLED_EXCEEDED_PMEM: i32 = -104;
/// YARN's `ContainerExitStatus.ABORTED`, for a container that was released before it ran.
const ABORTED: i32 = -100;
/// YARN's `yarn.nodemanager.sleep-delay-before-sigkill.ms`.
const KILL_DELAY: Duration = Duration::from_millis(250);
/// How often memory is looked at; YARN's monitor looks every 3 s.
const MONITOR: Duration = Duration::from_secs(1);

pub struct LocalBackend {
    layout: Layout,
    channels: Channels,
    next: u64,
    granted: BTreeMap<ContainerId, Container>,
    running: BTreeMap<ContainerId, mpsc::Sender<()>>,
    /// From the Tokio tasks that wait for processes.
    ended: mpsc::Receiver<(ContainerId, i32, String)>,
    end: mpsc::Sender<(ContainerId, i32, String)>,
}

impl LocalBackend {
    pub fn new(layout: Layout, channels: Channels) -> Self {
        let (end, ended) = mpsc::channel(64);
        Self { layout, channels, next: 2, granted: BTreeMap::new(), running: BTreeMap::new(), ended, end }
    }

    /// Must run on the thread that lives as long as the process: children die with the thread that forked them.
    pub async fn run(mut self) {
        let capability = Capability {
            memory_mb: processes::machine_memory() >> 20,
            vcores: std::thread::available_parallelism().map_or(1, |n| n.get() as u32).max(64),
            resource_types: Vec::new(),
        };
        self.tell(Told::Registered(capability)).await;
        loop {
            tokio::select! {
                order = self.channels.orders.recv() => match order {
                    Some(Order::Unregister(_)) => {
                        self.tell(Told::Unregistered).await;
                        break;
                    }
                    Some(order) => self.obey(order).await,
                    None => break,
                },
                Some((container, exit_status, diagnostics)) = self.ended.recv() => {
                    self.running.remove(&container);
                    self.tell(Told::Completed { container, exit_status, diagnostics }).await;
                }
            }
        }
        self.end_all().await;
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Ask(ask) => {
                let containers: Vec<Container> = (0..ask.count)
                    .map(|_| {
                        let id = self.layout.container_id(self.next);
                        self.next += 1;
                        Container {
                            logs: self.layout.log_dir(&id).display().to_string(),
                            id,
                            node: "localhost:0".into(),
                            node_http: String::new(),
                            allocation_request_id: ask.allocation_request_id,
                            memory_mb: ask.memory_mb,
                            vcores: ask.vcores,
                            resources: ask.resources.clone(),
                        }
                    })
                    .collect();
                for container in &containers {
                    self.granted.insert(container.id.clone(), container.clone());
                }
                self.tell(Told::Allocated(containers)).await;
            }
            // Everything asked for is granted at once.
            Order::CancelAsk { .. } => {}
            Order::Release { container } => {
                if self.granted.remove(&container).is_some() {
                    let diagnostics = "released before it was started".into();
                    self.tell(Told::Completed { container, exit_status: ABORTED, diagnostics }).await;
                }
            }
            Order::Start { container, launch } => {
                let told = match self.start(&container, &launch) {
                    Ok(stop) => {
                        self.running.insert(container.clone(), stop);
                        Told::Started { container }
                    }
                    Err(error) => Told::StartFailed { container, message: format!("{error:#}") },
                };
                self.tell(told).await;
            }
            Order::Stop { container } => {
                if let Some(stop) = self.running.get(&container) {
                    // Full means that it is being stopped already.
                    let _ = stop.try_send(());
                }
            }
            Order::Unregister(_) => {}
        }
    }

    fn start(&mut self, id: &ContainerId, launch: &Launch) -> Result<mpsc::Sender<()>> {
        let Some(container) = self.granted.remove(id) else {
            bail!("{id} was not allocated, or is started already");
        };
        let spec = ContainerSpec {
            command: &launch.command,
            environment: &launch.environment,
            resources: &launch.resources,
            credentials: &launch.credentials.to_writable(),
        };
        let child = spawn(&self.layout, id, &spec)?;
        let (stop, stopped) = mpsc::channel(1);
        let limit = container.memory_mb << 20;
        tokio::spawn(supervise(id.clone(), child, limit, stopped, self.end.clone()));
        Ok(stop)
    }

    async fn end_all(&mut self) {
        for stop in self.running.values() {
            let _ = stop.try_send(());
        }
        while !self.running.is_empty() {
            let Some((container, ..)) = self.ended.recv().await else {
                return;
            };
            self.running.remove(&container);
        }
    }

    async fn tell(&self, told: Told) {
        // The driver is gone only when the process ends.
        let _ = self.channels.told.send(told).await;
    }
}

/// Waits for the end, which may be an order or the memory limit.
async fn supervise(
    id: ContainerId,
    mut child: Child,
    limit: u64,
    mut stop: mpsc::Receiver<()>,
    end: mpsc::Sender<(ContainerId, i32, String)>,
) {
    // A child that is not yet awaited has a pid.
    let pid = child.id().unwrap_or_default();
    let group = Pid::from_raw(pid.cast_signed());
    let mut look = tokio::time::interval(MONITOR);
    let mut verdict = None;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            _ = stop.recv(), if verdict.is_none() => {
                verdict = Some((-105, "killed by the application master".to_owned()));
                terminate(group);
            }
            _ = look.tick(), if verdict.is_none() => {
                let used = processes::tree_pss(pid);
                if used > limit {
                    verdict = Some((KILLED_EXCEEDED_PMEM, format!(
                        "container {id} uses {} MiB of {} MiB of memory; killed",
                        used >> 20, limit >> 20
                    )));
                    terminate(group);
                }
            }
        }
    };
    processes::kill_session(pid);
    let (code, diagnostics) = match (verdict, status) {
        (Some((code, text)), _) => (code, text),
        (None, Ok(status)) => {
            let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
            (code, if code == 0 { String::new() } else { format!("exit code {code}") })
        }
        (None, Err(error)) => (-1000, format!("failed to wait for {id}: {error}")),
    };
    let _ = end.send((id, code, diagnostics)).await;
}

fn terminate(group: Pid) {
    let _ = killpg(group, Signal::SIGTERM);
    tokio::spawn(async move {
        tokio::time::sleep(KILL_DELAY).await;
        let _ = killpg(group, Signal::SIGKILL);
    });
}
