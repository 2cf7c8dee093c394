//! The site files of the test cluster.

use std::{fs, path::Path};

use anyhow::{Context, Result};

/// Ports of the daemons, free when the cluster was made.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Ports {
    pub name_node: u16,
    pub name_node_http: u16,
    pub data_node: [u16; 3],
    pub rm_client: u16,
    pub rm_scheduler: u16,
    pub rm_tracker: u16,
    pub rm_admin: u16,
    pub rm_web: u16,
    /// Of each NodeManager: RPC, localizer, web, collector.
    pub node_managers: Vec<[u16; 4]>,
}

impl Ports {
    /// All of them are held until the last one is chosen, so that none is given twice.
    pub fn choose(node_managers: usize) -> Result<Self> {
        let mut held = Vec::new();
        let mut next = || -> Result<u16> {
            let listener = std::net::TcpListener::bind(("0.0.0.0", 0)).context("failed to find a free port")?;
            let port = listener.local_addr()?.port();
            held.push(listener);
            Ok(port)
        };
        Ok(Self {
            name_node: next()?,
            name_node_http: next()?,
            data_node: [next()?, next()?, next()?],
            rm_client: next()?,
            rm_scheduler: next()?,
            rm_tracker: next()?,
            rm_admin: next()?,
            rm_web: next()?,
            node_managers: (0..node_managers)
                .map(|_| Ok([next()?, next()?, next()?, next()?]))
                .collect::<Result<_>>()?,
        })
    }
}

/// NodeManager `n` has a loopback address of its own.
pub fn node_host(n: usize) -> String {
    format!("127.0.0.{}", n + 2)
}

type Pairs = Vec<(String, String)>;

fn pairs(list: &[(&str, String)]) -> Pairs {
    list.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect()
}

/// Writes the folder which every client and daemon but the NodeManagers reads.
pub fn write_common(conf: &Path, home: &Path, ports: &Ports) -> Result<()> {
    let data = |name: &str| format!("file://{}", home.join(name).display());
    site(
        conf,
        "core-site.xml",
        &pairs(&[
            ("fs.defaultFS", format!("hdfs://localhost:{}", ports.name_node)),
            ("hadoop.tmp.dir", home.join("tmp").display().to_string()),
            ("hadoop.proxyuser.root.hosts", "*".into()),
        ]),
    )?;
    site(
        conf,
        "hdfs-site.xml",
        &pairs(&[
            ("dfs.replication", "1".into()),
            ("dfs.namenode.name.dir", data("name")),
            ("dfs.datanode.data.dir", data("data")),
            ("dfs.namenode.http-address", format!("localhost:{}", ports.name_node_http)),
            ("dfs.datanode.address", format!("127.0.0.1:{}", ports.data_node[0])),
            ("dfs.datanode.http.address", format!("127.0.0.1:{}", ports.data_node[1])),
            ("dfs.datanode.ipc.address", format!("127.0.0.1:{}", ports.data_node[2])),
            ("dfs.namenode.fs-limits.min-block-size", "1024".into()),
            ("dfs.namenode.safemode.extension", "0".into()),
            ("dfs.permissions.superusergroup", "supergroup".into()),
        ]),
    )?;
    site(conf, "yarn-site.xml", &yarn(home, ports))?;
    site(conf, "capacity-scheduler.xml", &capacity())?;
    for empty in ["webapps/hdfs", "webapps/datanode"] {
        fs::create_dir_all(conf.join(empty)).context("failed to make the web folders")?;
    }
    fs::write(conf.join("log4j.properties"), LOG4J).context("failed to write log4j.properties")
}

/// A NodeManager reads its own folder.
pub fn write_node_manager(conf: &Path, home: &Path, ports: &Ports, n: usize) -> Result<()> {
    write_common(conf, home, ports)?;
    let [rpc, localizer, web, collector] = ports.node_managers[n];
    let host = node_host(n);
    let own = |name: &str| home.join(format!("nm{n}-{name}")).display().to_string();
    let mut all = yarn(home, ports);
    all.extend(pairs(&[
        ("yarn.nodemanager.hostname", host.clone()),
        ("yarn.nodemanager.address", format!("{host}:{rpc}")),
        ("yarn.nodemanager.localizer.address", format!("{host}:{localizer}")),
        ("yarn.nodemanager.webapp.address", format!("{host}:{web}")),
        ("yarn.nodemanager.collector-service.address", format!("{host}:{collector}")),
        ("yarn.nodemanager.local-dirs", own("local")),
        ("yarn.nodemanager.log-dirs", own("logs")),
        ("yarn.nodemanager.recovery.dir", own("recovery")),
    ]));
    site(conf, "yarn-site.xml", &all)
}

fn yarn(home: &Path, ports: &Ports) -> Pairs {
    let rm = |port: u16| format!("localhost:{port}");
    pairs(&[
        ("yarn.resourcemanager.address", rm(ports.rm_client)),
        ("yarn.resourcemanager.scheduler.address", rm(ports.rm_scheduler)),
        ("yarn.resourcemanager.resource-tracker.address", rm(ports.rm_tracker)),
        ("yarn.resourcemanager.admin.address", rm(ports.rm_admin)),
        ("yarn.resourcemanager.webapp.address", rm(ports.rm_web)),
        ("yarn.resourcemanager.am.max-attempts", "4".into()),
        ("yarn.resourcemanager.recovery.enabled", "true".into()),
        (
            "yarn.resourcemanager.store.class",
            "org.apache.hadoop.yarn.server.resourcemanager.recovery.FileSystemRMStateStore".into(),
        ),
        ("yarn.resourcemanager.fs.state-store.uri", format!("file://{}", home.join("rmstore").display())),
        ("yarn.nodemanager.resource.memory-mb", "4096".into()),
        ("yarn.nodemanager.resource.cpu-vcores", "8".into()),
        ("yarn.scheduler.minimum-allocation-mb", "64".into()),
        ("yarn.scheduler.maximum-allocation-mb", "4096".into()),
        ("yarn.nodemanager.pmem-check-enabled", "true".into()),
        // Its default, true, means that cgroups enforce the limit, and the check above is skipped whether they do or not.
        ("yarn.nodemanager.resource.memory.enforced", "false".into()),
        ("yarn.nodemanager.vmem-check-enabled", "false".into()),
        ("yarn.nodemanager.container-monitor.interval-ms", "1000".into()),
        ("yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage", "100".into()),
        ("yarn.nodemanager.delete.debug-delay-sec", "600".into()),
        ("yarn.nodemanager.recovery.enabled", "true".into()),
        ("yarn.nodemanager.env-whitelist", "JAVA_HOME,HADOOP_COMMON_HOME,HADOOP_CONF_DIR,PATH,LANG,TZ".into()),
        ("yarn.log-aggregation-enable", "true".into()),
        ("yarn.nodemanager.remote-app-log-dir", "/tmp/logs".into()),
        ("yarn.acl.enable", "false".into()),
    ])
}

/// `default` for everybody, `stopped` for nobody, and `tiny`, where an application master does not fit.
fn capacity() -> Pairs {
    let key = |name: &str| format!("yarn.scheduler.capacity.{name}");
    [
        ("maximum-am-resource-percent", "0.5"),
        ("resource-calculator", "org.apache.hadoop.yarn.util.resource.DominantResourceCalculator"),
        ("root.queues", "default,stopped,tiny"),
        ("root.default.capacity", "98"),
        ("root.default.maximum-capacity", "100"),
        ("root.default.user-limit-factor", "10"),
        ("root.stopped.capacity", "1"),
        ("root.stopped.state", "STOPPED"),
        ("root.tiny.capacity", "1"),
        ("root.tiny.maximum-capacity", "1"),
        ("root.tiny.maximum-am-resource-percent", "0.01"),
    ]
    .map(|(name, value)| (key(name), value.to_owned()))
    .into()
}

fn site(conf: &Path, file: &str, properties: &Pairs) -> Result<()> {
    fs::create_dir_all(conf).with_context(|| format!("failed to make {}", conf.display()))?;
    let mut text = String::from("<?xml version=\"1.0\"?>\n<configuration>\n");
    for (name, value) in properties {
        text.push_str(&format!("  <property><name>{name}</name><value>{value}</value></property>\n"));
    }
    text.push_str("</configuration>\n");
    fs::write(conf.join(file), text).with_context(|| format!("failed to write {file}"))
}

const LOG4J: &str = "log4j.rootLogger=INFO,out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\nlog4j.appender.out.layout=org.apache.log4j.PatternLayout\nlog4j.appender.out.layout.ConversionPattern=%d{ISO8601} %p %c: %m%n\n";
