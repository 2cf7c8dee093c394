//! One application on this machine: its folders, and containers as child processes in YARN's environment. Used by the client,
//! which starts the application master, and by the application master, which starts agents.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{OpenOptionsExt, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};
use yarn_ml_protocol::{
    ids::ContainerId,
    plan::{Resource, ResourceKind},
};

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

/// What a container runs, and with what.
pub struct ContainerSpec<'a> {
    /// For `bash -c`; `<LOG_DIR>` stands for the log folder.
    pub command: &'a str,
    pub environment: &'a BTreeMap<String, String>,
    pub resources: &'a [Resource],
    /// A credentials file in Hadoop's format.
    pub credentials: &'a [u8],
}

/// Makes the container's folders as a NodeManager does and starts its command.
pub fn spawn(layout: &Layout, id: &ContainerId, spec: &ContainerSpec<'_>) -> Result<Child> {
    let (work_dir, log_dir) = (layout.work_dir(id), layout.log_dir(id));
    for folder in [&work_dir, &log_dir] {
        fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    }
    for resource in spec.resources {
        localize(resource, &work_dir)?;
    }
    let tokens = work_dir.join("container_tokens");
    write_private(&tokens, spec.credentials)?;
    let logs = log_dir.display().to_string();
    let text = |path: &Path| path.display().to_string();
    let open = |name: &str| {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(log_dir.join(name))
            .with_context(|| format!("failed to open {logs}/{name}"))
    };
    let user = spec.environment.get("USER").cloned().unwrap_or_default();
    // A session of its own, as under YARN: whatever stays in it can be found and ended.
    Command::new("setsid")
        .args(["bash", "-c"])
        .arg(format!("exec {}", spec.command.replace("<LOG_DIR>", &logs)))
        .env("CONTAINER_ID", &id.0)
        .env("NM_HOST", "localhost")
        .env("LOCAL_DIRS", text(&layout.root.join("containers")))
        .env("LOG_DIRS", &logs)
        .env("LOGNAME", &user)
        .env("PWD", text(&work_dir))
        .env("HADOOP_TOKEN_FILE_LOCATION", text(&tokens))
        .envs(spec.environment)
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

/// Where applications of this machine have their folders: `YARN_ML_STATE`, else `XDG_STATE_HOME/yarn-ml`, else
/// `HOME/.local/state/yarn-ml`.
pub fn state_dir(environment: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf> {
    let set = |name: &str| environment(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("YARN_ML_STATE")
        .or_else(|| Some(set("XDG_STATE_HOME")?.join("yarn-ml")))
        .or_else(|| Some(set("HOME")?.join(".local/state/yarn-ml")))
        .context("there is no place for the state of local jobs: set HOME or YARN_ML_STATE")
}

impl Layout {
    /// Makes the folder of a new application. `now`: milliseconds since the epoch.
    pub fn create(state: &Path, now: u64) -> Result<Self> {
        fs::create_dir_all(state).with_context(|| format!("failed to make {}", state.display()))?;
        for number in 1..10_000u32 {
            let application = format!("local_{now}_{number:04}");
            let root = state.join(&application);
            match fs::create_dir(&root) {
                Ok(()) => {
                    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
                    fs::set_permissions(&root, private)
                        .with_context(|| format!("failed to close {}", root.display()))?;
                    return Ok(Self { root, application, attempt: 1 });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("failed to make {}", root.display())),
            }
        }
        bail!("{} is full of applications of this millisecond", state.display())
    }

    /// Finds the folder of an application.
    pub fn find(state: &Path, application: &str) -> Option<Self> {
        let is_id =
            application.strip_prefix("local_").is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '_'));
        let root = state.join(application);
        (is_id && root.is_dir()).then(|| Self { root, application: application.to_owned(), attempt: 1 })
    }

    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    pub fn report(&self) -> PathBuf {
        self.root.join("report.json")
    }

    /// Pid of the application master, which leads its session.
    pub fn pid_file(&self) -> PathBuf {
        self.root.join("am.pid")
    }
}
