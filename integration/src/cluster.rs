//! The cluster: made, found again, stopped.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::Signal,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    configuration::{Ports, write_common, write_node_manager},
    daemon::{Jvm, Process},
    http, jars, root,
};

pub const DEFAULT_VERSION: &str = "3.4.2";
const START_DEADLINE: Duration = Duration::from_secs(120);

/// One process of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    NameNode,
    DataNode,
    ResourceManager,
    NodeManager(usize),
}

/// A cluster that runs, described by a file so that other processes find it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cluster {
    pub version: String,
    pub home: PathBuf,
    ports: Ports,
    daemons: Vec<(Jvm, Process)>,
    /// Dropping it stops the daemons.
    #[serde(skip)]
    owned: bool,
}

impl Cluster {
    /// The cluster that the tests share: `HADOOP_VERSION` or the default version; found if it runs, else started. It goes on
    /// running until `cluster down`.
    pub fn shared() -> Result<Self> {
        let version = std::env::var("HADOOP_VERSION").unwrap_or_else(|_| DEFAULT_VERSION.to_owned());
        Self::up(&version, 3)
    }

    /// Finds the shared cluster of a version, or starts it.
    pub fn up(version: &str, node_managers: usize) -> Result<Self> {
        let place = Self::place(version);
        fs::create_dir_all(&place).with_context(|| format!("failed to make {}", place.display()))?;
        let lock = File::create(place.join("lock")).context("failed to make a lock file")?;
        let _held =
            Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, e)| e).context("failed to lock the cluster")?;
        if let Some(found) = Self::find(version)? {
            if found.is_healthy() {
                return Ok(found);
            }
            found.stop();
        }
        let mut cluster = Self::start(version, node_managers, &place.join("home"))?;
        cluster.owned = false;
        let text = serde_json::to_string_pretty(&cluster)?;
        fs::write(place.join("cluster.json"), text).context("failed to describe the cluster")?;
        Ok(cluster)
    }

    /// Stops the shared cluster of a version; false when there was none.
    pub fn down(version: &str) -> Result<bool> {
        let Some(cluster) = Self::find(version)? else {
            return Ok(false);
        };
        cluster.stop();
        fs::remove_file(Self::place(version).join("cluster.json")).context("failed to forget the cluster")?;
        Ok(true)
    }

    pub fn find(version: &str) -> Result<Option<Self>> {
        let file = Self::place(version).join("cluster.json");
        match fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text).with_context(|| format!("{} is damaged", file.display())).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("failed to read {}", file.display())),
        }
    }

    fn place(version: &str) -> PathBuf {
        root().join("target/cluster").join(version)
    }

    /// A new cluster in `home`, which is emptied; stopped when it is dropped.
    pub fn start(version: &str, node_managers: usize, home: &Path) -> Result<Self> {
        let lib = jars::fetch(&root(), version)?;
        if home.exists() {
            fs::remove_dir_all(home).with_context(|| format!("failed to empty {}", home.display()))?;
        }
        fs::create_dir_all(home.join("logs")).with_context(|| format!("failed to make {}", home.display()))?;
        let ports = Ports::choose(node_managers)?;
        let conf = home.join("conf");
        write_common(&conf, home, &ports)?;
        let jvm = |name: &str, main: &str, heap_mb: u32, conf: PathBuf| Jvm {
            name: name.to_owned(),
            main: format!("org.apache.hadoop.{main}"),
            heap_mb,
            conf,
            lib: lib.clone(),
            home: home.to_owned(),
        };
        let name_node = jvm("namenode", "hdfs.server.namenode.NameNode", 256, conf.clone());
        name_node.run(&["-format", "-force", "-nonInteractive"])?;
        let mut jvms = vec![
            name_node,
            jvm("datanode", "hdfs.server.datanode.DataNode", 256, conf.clone()),
            jvm("resourcemanager", "yarn.server.resourcemanager.ResourceManager", 512, conf),
        ];
        for n in 0..node_managers {
            let conf = home.join(format!("conf-nm{n}"));
            write_node_manager(&conf, home, &ports, n)?;
            jvms.push(jvm(&format!("nodemanager{n}"), "yarn.server.nodemanager.NodeManager", 256, conf));
        }
        let mut cluster =
            Self { version: version.to_owned(), home: home.to_owned(), ports, daemons: Vec::new(), owned: true };
        for jvm in jvms {
            let process = jvm.start()?;
            cluster.daemons.push((jvm, process));
        }
        cluster.wait_until("all daemons are ready", START_DEADLINE, |c| Ok(c.is_healthy()))?;
        cluster.mkdirs("/tmp", "root", "1777")?;
        for user in ["alice", "bob"] {
            cluster.mkdirs(&format!("/user/{user}"), user, "755")?;
        }
        Ok(cluster)
    }

    pub fn is_healthy(&self) -> bool {
        self.daemons.iter().all(|(_, process)| process.is_alive())
            && self.active_nodes().is_ok_and(|n| n == self.ports.node_managers.len() as u64)
            && self.is_hdfs_ready().unwrap_or(false)
    }

    fn active_nodes(&self) -> Result<u64> {
        let metrics = http::get_json(&format!("{}/ws/v1/cluster/metrics", self.rm_web()))?;
        Ok(metrics.pointer("/clusterMetrics/activeNodes").and_then(Value::as_u64).unwrap_or(0))
    }

    fn is_hdfs_ready(&self) -> Result<bool> {
        let query = "jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState";
        let found = http::get_json(&format!("http://localhost:{}/{query}", self.ports.name_node_http))?;
        let bean = found.pointer("/beans/0").cloned().unwrap_or_default();
        Ok(bean["NumLiveDataNodes"] == 1 && bean["FSState"] == "Operational")
    }

    /// Polls until it holds. A daemon that dies in the meantime ends the wait with its log.
    pub fn wait_until(&self, what: &str, limit: Duration, mut holds: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            if holds(self)? {
                return Ok(());
            }
            if let Some((_, dead)) = self.daemons.iter().find(|(_, process)| !process.is_alive()) {
                bail!("{} ended while waiting until {what}:\n{}", dead.name, dead.log_tail());
            }
            if Instant::now() > deadline {
                bail!("{what}: not within {limit:?}; logs are in {}", self.home.join("logs").display());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn stop(&self) {
        for (_, process) in self.daemons.iter().rev() {
            process.kill();
        }
    }

    fn index(daemon: Daemon) -> usize {
        match daemon {
            Daemon::NameNode => 0,
            Daemon::DataNode => 1,
            Daemon::ResourceManager => 2,
            Daemon::NodeManager(n) => 3 + n,
        }
    }

    pub fn process(&self, daemon: Daemon) -> &Process {
        &self.daemons[Self::index(daemon)].1
    }

    /// As the power cord would.
    pub fn kill(&self, daemon: Daemon) {
        self.process(daemon).kill();
    }

    pub fn freeze(&self, daemon: Daemon) {
        self.process(daemon).signal(Signal::SIGSTOP);
    }

    pub fn thaw(&self, daemon: Daemon) {
        self.process(daemon).signal(Signal::SIGCONT);
    }

    pub fn restart(&mut self, daemon: Daemon) -> Result<()> {
        let (jvm, process) = &mut self.daemons[Self::index(daemon)];
        process.kill();
        *process = jvm.start()?;
        self.wait_until("the daemon is back", START_DEADLINE, |c| Ok(c.is_healthy()))
    }

    /// What a client sets as HADOOP_CONF_DIR.
    pub fn conf_dir(&self) -> PathBuf {
        self.home.join("conf")
    }

    pub fn default_fs(&self) -> String {
        format!("hdfs://localhost:{}", self.ports.name_node)
    }

    pub fn rm_web(&self) -> String {
        format!("http://localhost:{}", self.ports.rm_web)
    }

    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.daemons.iter().map(|(_, process)| process)
    }

    // ---- HDFS by WebHDFS, which is nothing of ours

    fn web_hdfs(&self, path: &str, user: &str, query: &str) -> String {
        format!("http://localhost:{}/webhdfs/v1{path}?user.name={user}&{query}", self.ports.name_node_http)
    }

    /// As the superuser: a folder, its owner and its permission.
    pub fn mkdirs(&self, path: &str, owner: &str, permission: &str) -> Result<()> {
        let superuser = superuser();
        http::put(&self.web_hdfs(path, &superuser, "op=MKDIRS"), Vec::new())?;
        http::put(&self.web_hdfs(path, &superuser, &format!("op=SETPERMISSION&permission={permission}")), Vec::new())?;
        http::put(&self.web_hdfs(path, &superuser, &format!("op=SETOWNER&owner={owner}")), Vec::new())
    }

    pub fn put(&self, user: &str, path: &str, bytes: Vec<u8>) -> Result<()> {
        http::put(&self.web_hdfs(path, user, "op=CREATE&overwrite=true"), bytes)
    }

    pub fn get(&self, user: &str, path: &str) -> Result<Vec<u8>> {
        http::get_bytes(&self.web_hdfs(path, user, "op=OPEN"))
    }

    /// A folder of HDFS, complete, as a local one.
    pub fn get_tree(&self, user: &str, path: &str, to: &Path) -> Result<()> {
        let path = format!("/{}", path.trim_start_matches('/'));
        let systems = yarn_ml_fs::FileSystems::new(Default::default(), Some(user.to_owned()), Default::default());
        http::block_on(async {
            let (files, location) = systems.resolve(&format!("{}{path}", self.default_fs()))?;
            yarn_ml_fs::download_tree(&*files, &location.path, to).await?;
            Ok(())
        })
    }

    pub fn chmod(&self, path: &str, permission: &str) -> Result<()> {
        http::put(&self.web_hdfs(path, &superuser(), &format!("op=SETPERMISSION&permission={permission}")), Vec::new())
    }

    pub fn delete(&self, path: &str) -> Result<()> {
        http::delete(&self.web_hdfs(path, &superuser(), "op=DELETE&recursive=true"))
    }

    /// WebHDFS's `FileStatus`.
    pub fn stat(&self, path: &str) -> Result<Value> {
        let found = http::get_json(&self.web_hdfs(path, &superuser(), "op=GETFILESTATUS"))?;
        Ok(found["FileStatus"].clone())
    }

    /// Names below a folder; none when there is no such folder.
    pub fn list(&self, path: &str) -> Vec<String> {
        let Ok(found) = http::get_json(&self.web_hdfs(path, &superuser(), "op=LISTSTATUS")) else {
            return Vec::new();
        };
        let statuses = found.pointer("/FileStatuses/FileStatus").and_then(Value::as_array).cloned().unwrap_or_default();
        statuses.iter().filter_map(|s| s["pathSuffix"].as_str().map(str::to_owned)).collect()
    }

    // ---- YARN by REST

    pub fn app(&self, id: &str) -> Result<Value> {
        let found = http::get_json(&format!("{}/ws/v1/cluster/apps/{id}", self.rm_web()))?;
        Ok(found["app"].clone())
    }

    pub fn apps(&self) -> Result<Vec<Value>> {
        let found = http::get_json(&format!("{}/ws/v1/cluster/apps", self.rm_web()))?;
        Ok(found.pointer("/apps/app").and_then(Value::as_array).cloned().unwrap_or_default())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.owned {
            self.stop();
        }
    }
}

/// Whoever runs the NameNode.
fn superuser() -> String {
    nix::unistd::User::from_uid(nix::unistd::getuid())
        .ok()
        .flatten()
        .map_or_else(|| "root".to_owned(), |user| user.name)
}
