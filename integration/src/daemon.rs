//! One JVM in a process group of its own, known by pid and start time.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

const OPENED: [&str; 10] = [
    "java.lang",
    "java.util",
    "java.io",
    "java.net",
    "java.util.concurrent",
    "sun.nio.ch",
    "java.lang.reflect",
    "java.text",
    "java.util.zip",
    "sun.security.util",
];

/// A process that was started here, perhaps by an earlier program.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Process {
    pub name: String,
    pub pid: i32,
    /// From `/proc/PID/stat`: a pid that was given to another process is not ours.
    pub start_time: u64,
    pub log: PathBuf,
}

/// How to start a daemon; restarting is doing it again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Jvm {
    pub name: String,
    pub main: String,
    pub heap_mb: u32,
    pub conf: PathBuf,
    pub lib: PathBuf,
    pub home: PathBuf,
}

impl Jvm {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut java =
            Command::new(std::env::var("JAVA_HOME").map_or("java".into(), |home| format!("{home}/bin/java")));
        java.arg(format!("-Xmx{}m", self.heap_mb))
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Dhadoop.id.str=x"])
            .arg(format!("-Dhadoop.log.dir={}", self.home.join("logs").display()))
            .args(OPENED.map(|package| format!("--add-opens=java.base/{package}=ALL-UNNAMED")))
            .arg("-cp")
            .arg(format!("{}:{}/*", self.conf.display(), self.lib.display()))
            .arg(&self.main)
            .args(arguments)
            // The daemons' users are told by name; whoever runs the tests is the superuser.
            .env("HADOOP_CONF_DIR", &self.conf)
            .current_dir(&self.home)
            .stdin(Stdio::null());
        java
    }

    /// Runs to its end.
    pub fn run(&self, arguments: &[&str]) -> Result<()> {
        let output =
            self.command(arguments).output().with_context(|| format!("failed to run java for {}", self.name))?;
        anyhow::ensure!(
            output.status.success(),
            "{}: {}\n{}",
            self.name,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    pub fn start(&self) -> Result<Process> {
        let log = self.home.join("logs").join(format!("{}.log", self.name));
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("failed to open {}", log.display()))?;
        let child = self
            .command(&[])
            .process_group(0)
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("failed to start java for {}; the test cluster needs JDK 17", self.name))?;
        let pid = i32::try_from(child.id())?;
        let start_time =
            start_time(pid).with_context(|| format!("{} ended at once; see {}", self.name, log.display()))?;
        Ok(Process { name: self.name.clone(), pid, start_time, log })
    }
}

impl Process {
    pub fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.start_time)
    }

    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            let _ = killpg(Pid::from_raw(self.pid), signal);
        }
    }

    /// SIGKILL, and until it is gone.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.is_alive() && Instant::now() < deadline {
            let _ = nix::sys::wait::waitpid(Pid::from_raw(self.pid), Some(nix::sys::wait::WaitPidFlag::WNOHANG));
            std::thread::yield_now();
        }
    }

    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

/// In clock ticks since boot; nothing for a process that is gone or a zombie.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}
