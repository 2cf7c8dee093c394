//! One trainer process: its group, its two inherited descriptors, its output, its end.

use std::{
    collections::BTreeMap,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{net::UnixStream as StdUnixStream, process::ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::Stdio,
    time::Instant,
};

use anyhow::{Context, Result};
use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    process::{Child, Command},
    sync::mpsc,
    task::JoinHandle,
};
use yarn_ml_agent_core::{Event, ExitStatus};
use yarn_ml_protocol::trainer::{AgentReply, TrainerMessage};

use crate::{
    logs::{RotatingLog, cause},
    shim,
};

/// Longest line that a trainer may send.
const MAX_LINE: u64 = 1 << 20;

/// What to run.
pub struct Launch {
    pub epoch: u32,
    pub program: String,
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub work_dir: PathBuf,
    pub log_dir: PathBuf,
    pub log_max_size: u64,
    pub log_keep: u32,
    /// Inherited besides the socket.
    pub ring: Option<OwnedFd>,
}

/// A running trainer. Dropping it kills its group.
pub struct Trainer {
    group: Pid,
    replies: mpsc::Sender<AgentReply>,
}

/// The trainer's end of the socket, made before its environment, which names the descriptor.
pub struct Socket {
    ours: StdUnixStream,
    theirs: StdUnixStream,
}

impl Socket {
    pub fn pair() -> io::Result<Self> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok(Self { ours, theirs })
    }

    /// Number of the descriptor in the trainer.
    pub fn descriptor(&self) -> i32 {
        self.theirs.as_raw_fd()
    }
}

impl Trainer {
    /// Starts the process. Its events arrive in `events`, `TrainerReaped` last.
    ///
    /// Must be called on the main thread: the kernel sends the parent-death signal when the *thread* that forked ends.
    pub fn spawn(launch: Launch, socket: Socket, events: mpsc::Sender<Event>) -> Result<Self> {
        let Launch { epoch, .. } = launch;
        let log = |name: &str| {
            let path = launch.log_dir.join(name);
            RotatingLog::create(path.clone(), launch.log_max_size, launch.log_keep)
                .with_context(|| format!("failed to open the log {}", path.display()))
        };
        let (stdout_log, stderr_log) = (log("stdout")?, log("stderr")?);
        let ours = UnixStream::from_std(socket.ours).context("failed to register the trainer's socket")?;
        let me = std::env::current_exe().context("failed to find the agent's own binary")?;
        let mut command = Command::new(me);
        command
            .arg(shim::VERB)
            .arg(std::process::id().to_string())
            .arg("--")
            .arg(&launch.program)
            .args(&launch.arguments)
            .env_clear()
            .envs(&launch.environment)
            .current_dir(&launch.work_dir)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Nothing else is spawned while these two may be inherited.
        inheritable(&socket.theirs, true)?;
        if let Some(ring) = &launch.ring {
            inheritable(ring, true)?;
        }
        let spawned = command.spawn();
        drop(socket.theirs);
        if let Some(ring) = &launch.ring {
            inheritable(ring, false)?;
        }
        let mut child = spawned.with_context(|| format!("failed to start {}", launch.program))?;
        // A child that was just spawned and not awaited has a pid.
        let pid = child.id().context("the trainer has no pid")?;
        let group = Pid::from_raw(i32::try_from(pid)?);

        let stdout = tokio::spawn(copy(child.stdout.take(), stdout_log));
        let stderr = tokio::spawn(copy(child.stderr.take(), stderr_log));
        let (replies, outbox) = mpsc::channel(16);
        let (reading, writing) = ours.into_split();
        let listen = tokio::spawn(listen(epoch, reading, events.clone()));
        tokio::spawn(answer(writing, outbox));
        tokio::spawn(wait(epoch, child, group, stdout, stderr, listen, events, launch.log_dir));
        Ok(Self { group, replies })
    }

    pub fn pid(&self) -> u32 {
        self.group.as_raw().unsigned_abs()
    }

    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// Never blocks: a trainer that reads nothing loses what it would not read.
    pub fn reply(&self, reply: AgentReply) {
        if let Err(error) = self.replies.try_send(reply) {
            tracing::warn!(%error, "the trainer takes no replies");
        }
    }

    fn signal(&self, signal: Signal) {
        // The group may be gone already; its end is told by `TrainerReaped`.
        if let Err(error) = killpg(self.group, signal) {
            tracing::debug!(%error, %signal, group = %self.group, "no signal was sent");
        }
    }
}

impl Drop for Trainer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn inheritable(descriptor: &impl std::os::fd::AsFd, yes: bool) -> Result<()> {
    let flags = if yes { FdFlag::empty() } else { FdFlag::FD_CLOEXEC };
    fcntl(descriptor, FcntlArg::F_SETFD(flags)).context("failed to set FD_CLOEXEC")?;
    Ok(())
}

/// Copies to the log until the pipe closes. A log that cannot be written must not stop the trainer.
async fn copy(pipe: Option<impl tokio::io::AsyncRead + Unpin>, mut log: RotatingLog) -> RotatingLog {
    let Some(mut pipe) = pipe else { return log };
    let mut buffer = vec![0; 32 << 10];
    let mut broken = false;
    loop {
        match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => return log,
            Ok(n) => {
                if let Err(error) = log.write(&buffer[..n])
                    && !std::mem::replace(&mut broken, true)
                {
                    tracing::error!(%error, path = %log.path().display(), "the log cannot be written");
                }
            }
        }
    }
}

/// Lines from the trainer, each checked, until it closes the socket.
async fn listen(epoch: u32, reading: tokio::net::unix::OwnedReadHalf, events: mpsc::Sender<Event>) {
    let mut reader = BufReader::new(reading);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).await;
        let event = match read {
            Ok(0) | Err(_) => return,
            Ok(_) if !line.ends_with(b"\n") => Event::TrainerGarbled {
                epoch,
                message: format!("a line of {} bytes without an end; allowed are {MAX_LINE}", line.len()),
            },
            Ok(_) => match serde_json::from_slice::<TrainerMessage>(&line) {
                Ok(message) => Event::TrainerSaid { epoch, message },
                Err(error) => Event::TrainerGarbled {
                    epoch,
                    message: format!("{error} in {:?}", String::from_utf8_lossy(&line[..line.len().min(200)])),
                },
            },
        };
        let over = matches!(event, Event::TrainerGarbled { .. });
        if events.send(event).await.is_err() || over {
            return;
        }
    }
}

async fn answer(mut writing: tokio::net::unix::OwnedWriteHalf, mut outbox: mpsc::Receiver<AgentReply>) {
    while let Some(reply) = outbox.recv().await {
        // An `AgentReply` is plain data: it always becomes JSON.
        let mut line = serde_json::to_vec(&reply).unwrap_or_default();
        line.push(b'\n');
        if writing.write_all(&line).await.is_err() {
            return;
        }
    }
}

/// Reaps the trainer, ends what it left behind, and tells its end when all it said has been heard.
#[allow(clippy::too_many_arguments)]
async fn wait(
    epoch: u32,
    mut child: Child,
    group: Pid,
    stdout: JoinHandle<RotatingLog>,
    stderr: JoinHandle<RotatingLog>,
    listen: JoinHandle<()>,
    events: mpsc::Sender<Event>,
    log_dir: PathBuf,
) {
    let began = Instant::now();
    let status = child.wait().await;
    // Children of the trainer hold its pipes open: they end with it.
    let _ = killpg(group, Signal::SIGKILL);
    end_descendants();
    let _ = stdout.await;
    let tail = stderr.await.map(|log| log.tail()).unwrap_or_default();
    let _ = listen.await;
    let (code, signal) = match &status {
        Ok(status) => {
            let signal = status.signal().unwrap_or(0);
            (status.code().unwrap_or(128 + signal), signal)
        }
        Err(_) => (-1, 0),
    };
    let traceback = if code == 0 { String::new() } else { cause(&tail) };
    let status =
        ExitStatus { code, signal, traceback, log: log_dir.join("stderr").display().to_string(), ran: began.elapsed() };
    let _ = events.send(Event::TrainerReaped { epoch, status }).await;
}

/// As a subreaper the agent inherits whatever the trainer's descendants left; nothing of it may live on.
fn end_descendants() {
    let me = std::process::id();
    for pid in yarn_ml_processes::tree(me).into_iter().skip(1) {
        let Ok(pid) = i32::try_from(pid) else { continue };
        let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
        let _ = nix::sys::wait::waitpid(Pid::from_raw(pid), Some(nix::sys::wait::WaitPidFlag::WNOHANG));
    }
}

/// A port that was free a moment ago, for programs that want one in `TF_CONFIG` before they listen.
pub fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind(("0.0.0.0", 0))?.local_addr()?.port())
}

/// True if a file can be made in the folder.
pub fn is_writable(folder: &Path) -> bool {
    nix::unistd::access(folder, nix::unistd::AccessFlags::W_OK).is_ok()
}
