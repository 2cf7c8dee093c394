//! Containers as child processes of the application master, with YARN's environment, exit codes, memory limit and way of
//! ending: SIGTERM to the group, 250 ms, SIGKILL.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write,
    os::unix::{
        fs::{OpenOptionsExt, symlink},
        process::ExitStatusExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    sync::mpsc,
};
use yarn_ml_protocol::{
    ids::ContainerId,
    plan::{Resource, ResourceKind},
};

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

/// One application's folder on this machine.
#[derive(Clone, Debug)]
pub struct Layout {
    /// `…/local_1700000000000_0001`
    pub root: PathBuf,
    /// `local_1700000000000_0001`
    pub application: String,
    pub attempt: u32,
}

impl Layout {
    pub fn work_dir(&self, container: &ContainerId) -> PathBuf {
        self.root.join("containers").join(&container.0)
    }

    pub fn log_dir(&self, container: &ContainerId) -> PathBuf {
        self.root.join("logs").join(&container.0)
    }

    /// `container_1700000000000_0001_01_000002`; the application master's own is number 1.
    pub fn container_id(&self, number: u64) -> ContainerId {
        let ids = self.application.trim_start_matches("local_");
        ContainerId(format!("container_{ids}_{:02}_{number:06}", self.attempt))
    }
}

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
        let child = spawn(&self.layout, id, launch)?;
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

/// Makes the container's folders as a NodeManager does and starts its command.
pub fn spawn(layout: &Layout, id: &ContainerId, launch: &Launch) -> Result<Child> {
    let (work_dir, log_dir) = (layout.work_dir(id), layout.log_dir(id));
    for folder in [&work_dir, &log_dir] {
        fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    }
    for resource in &launch.resources {
        localize(resource, &work_dir)?;
    }
    let tokens = work_dir.join("container_tokens");
    write_private(&tokens, &launch.credentials.to_writable())?;
    let logs = log_dir.display().to_string();
    let text = |path: &Path| path.display().to_string();
    let open = |name: &str| {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(log_dir.join(name))
            .with_context(|| format!("failed to open {logs}/{name}"))
    };
    let user = launch.environment.get("USER").cloned().unwrap_or_default();
    // A session of its own, as under YARN: whatever stays in it can be found and ended.
    Command::new("setsid")
        .args(["bash", "-c"])
        .arg(format!("exec {}", launch.command.replace("<LOG_DIR>", &logs)))
        .env("CONTAINER_ID", &id.0)
        .env("NM_HOST", "localhost")
        .env("LOCAL_DIRS", text(&layout.root.join("containers")))
        .env("LOG_DIRS", &logs)
        .env("LOGNAME", &user)
        .env("PWD", text(&work_dir))
        .env("HADOOP_TOKEN_FILE_LOCATION", text(&tokens))
        .envs(&launch.environment)
        .current_dir(&work_dir)
        .stdin(std::process::Stdio::null())
        .stdout(open("prelaunch.out")?)
        .stderr(open("prelaunch.err")?)
        .spawn()
        .context("failed to start bash")
}

/// A link for a file, an unpacked folder for an archive: what a NodeManager leaves in the working directory.
fn localize(resource: &Resource, work_dir: &Path) -> Result<()> {
    let Some(source) = resource.uri.strip_prefix("file://") else {
        bail!("{} is not on the local disk", resource.uri);
    };
    let link = work_dir.join(&resource.name);
    let describe = || format!("failed to localize {} as {}", resource.uri, resource.name);
    match resource.kind {
        ResourceKind::File => symlink(source, &link).with_context(describe),
        ResourceKind::Archive => {
            fs::create_dir_all(&link).with_context(describe)?;
            let status = if source.ends_with(".zip") {
                std::process::Command::new("unzip").arg("-q").arg(source).arg("-d").arg(&link).status()
            } else {
                std::process::Command::new("tar").arg("-xzf").arg(source).arg("-C").arg(&link).status()
            };
            match status.with_context(describe)? {
                status if status.success() => Ok(()),
                status => bail!("{}: {status}", describe()),
            }
        }
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .with_context(|| format!("failed to write {}", path.display()))
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
