//! `cluster up`, `cluster down`, `cluster status`: the test cluster for people.

use anyhow::{Result, bail};
use yarn_ml_integration::{Cluster, cluster::DEFAULT_VERSION};

const HELP: &str =
    "A Hadoop cluster on this machine: one NameNode, one DataNode, one ResourceManager, three NodeManagers.

  cluster up [VERSION]      start it, or find it running; prints the line to export
  cluster down [VERSION]    stop it
  cluster status [VERSION]  say which daemons run
  cluster put USER LOCAL REMOTE     copy a file to HDFS, in place of what is there
  cluster get USER REMOTE LOCAL     copy a folder from HDFS";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let version = arguments.get(1).map_or(DEFAULT_VERSION, String::as_str);
    match arguments.first().map(String::as_str) {
        Some("up") => {
            let cluster = Cluster::up(version, 3)?;
            eprintln!("Hadoop {version} runs: {} for people, files at {}", cluster.rm_web(), cluster.default_fs());
            eprintln!("hint: paste the next line into your shell; `export HADOOP_USER_NAME=alice` makes you alice");
            println!("export HADOOP_CONF_DIR={}", cluster.conf_dir().display());
        }
        Some("down") => match Cluster::down(version)? {
            true => eprintln!("Hadoop {version} is stopped"),
            false => eprintln!("Hadoop {version} does not run"),
        },
        Some("status") => {
            let Some(cluster) = Cluster::find(version)? else { bail!("Hadoop {version} does not run") };
            for process in cluster.processes() {
                println!(
                    "{:<16} {:>8} {}",
                    process.name,
                    process.pid,
                    if process.is_alive() { "alive" } else { "dead" }
                );
            }
        }
        Some("put") => {
            let [_, user, local, remote] = &arguments[..] else { bail!("{HELP}") };
            Cluster::shared()?.put(user, remote, std::fs::read(local)?)?;
        }
        Some("get") => {
            let [_, user, remote, local] = &arguments[..] else { bail!("{HELP}") };
            Cluster::shared()?.get_tree(user, remote, std::path::Path::new(local))?;
        }
        _ => bail!("{HELP}"),
    }
    Ok(())
}
