//! The trainer's environment. Pure, so that one golden test shows all of it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::json;
use yarn_ml_protocol::{
    ids::Rank,
    messages::RoleAddresses,
    plan::{Plan, RolePlan},
    trainer::{CONTEXT_ENV, INPUT_RING_ENV, SOCKET_ENV},
};

/// What the environment is made of.
pub struct Facts<'a> {
    /// The agent's own environment, as YARN or the local backend made it.
    pub inherited: BTreeMap<String, String>,
    pub plan: &'a Plan,
    pub role: &'a RolePlan,
    pub rank: &'a Rank,
    pub cluster: &'a [RoleAddresses],
    pub work_dir: &'a Path,
    /// Folder with the `yarn_ml` package.
    pub package_dir: &'a Path,
    pub context_file: &'a Path,
    pub home_is_writable: bool,
    /// The cluster asks for no Kerberos: whoever is named is believed.
    pub unsecured: bool,
    pub socket_fd: i32,
    pub ring_fd: Option<i32>,
}

/// Inherited, then ours, then the user's: a later one wins.
pub fn environment(facts: &Facts<'_>) -> BTreeMap<String, String> {
    let mut env = facts.inherited.clone();
    // YARN's default of 4 or fewer arenas costs a trainer with many threads more than it saves.
    env.remove("MALLOC_ARENA_MAX");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let inside = |name: &str| text(&facts.work_dir.join(name));
    let mut set = |key: &str, value: String| {
        env.insert(key.to_owned(), value);
    };
    if !facts.home_is_writable {
        set("HOME", text(facts.work_dir));
    }
    set("TMPDIR", inside("tmp"));
    set("XDG_CACHE_HOME", inside("cache"));
    set("MPLCONFIGDIR", inside("cache/matplotlib"));
    set("PYTHONUNBUFFERED", "1".into());
    set("PYTHONPYCACHEPREFIX", inside("pycache"));
    let vcores = facts.role.vcores;
    for threads in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"] {
        set(threads, vcores.to_string());
    }
    // With one thread, a step that waits for its batch keeps the op that would bring it from running.
    set("TF_NUM_INTEROP_THREADS", vcores.max(2).to_string());
    if facts.unsecured {
        set("HADOOP_USER_NAME", facts.plan.user.clone());
    }
    set("YARN_ML_ROLE", facts.rank.role.clone());
    set("YARN_ML_INDEX", facts.rank.index.to_string());
    set("YARN_ML_INSTANCES", facts.role.instances.to_string());
    set(CONTEXT_ENV, text(facts.context_file));
    set(SOCKET_ENV, facts.socket_fd.to_string());
    if let Some(fd) = facts.ring_fd {
        set(INPUT_RING_ENV, fd.to_string());
    }
    if let Some(tf_config) = tf_config(facts) {
        set("TF_CONFIG", tf_config);
    }
    env.extend(facts.role.env.clone());
    // In front of the user's own, so that the package is the agent's.
    let path = [Some(text(facts.package_dir)), Some(text(facts.work_dir)), env.get("PYTHONPATH").cloned()];
    let path: Vec<String> = path.into_iter().flatten().filter(|p| !p.is_empty()).collect();
    env.insert("PYTHONPATH".into(), path.join(":"));
    env
}

/// Folders which the environment promises.
pub fn folders(work_dir: &Path) -> [PathBuf; 4] {
    ["tmp", "cache", "cache/matplotlib", "pycache"].map(|name| work_dir.join(name))
}

/// An evaluator stands outside of the cluster spec, but names its own task.
fn tf_config(facts: &Facts<'_>) -> Option<String> {
    use yarn_ml_protocol::job::JobType;
    if facts.plan.job_type != JobType::TensorFlowBatch {
        return None;
    }
    let cluster: BTreeMap<&str, &[String]> = facts
        .cluster
        .iter()
        .filter(|role| role.role != "evaluator" || facts.rank.role == "evaluator")
        .map(|role| (role.role.as_str(), role.addresses.as_slice()))
        .collect();
    let task = json!({"type": facts.rank.role, "index": facts.rank.index});
    Some(json!({"cluster": cluster, "task": task}).to_string())
}

#[cfg(test)]
mod tests {
    use yarn_ml_protocol::{
        parse,
        plan::Master,
        resolve::{Surroundings, plan},
    };

    use super::*;

    const JOB: &str = "
name: x
type: tensorflow/batch
program: {entry: train.py, env: {A: '1', TMPDIR: /fast}}
roles:
  chief: {memory: 1GiB}
  worker: {memory: 1GiB, vcores: 3, instances: 2, env: {A: '2', PYTHONPATH: /theirs}}
";

    #[test]
    fn all_of_it() {
        let job = parse::job(JOB, "job.yaml", &[]).unwrap();
        let around = Surroundings {
            application_id: "application_1_0001".into(),
            master: Master::Yarn,
            user: "alice".into(),
            default_fs: "hdfs://n:1".into(),
            working_dir: "/user/alice".into(),
            staging: String::new(),
            report: String::new(),
            streams: Default::default(),
            checkpoints: None,
            model: None,
            resources: Vec::new(),
        };
        let plan = plan(&job, around).unwrap();
        let inherited = [("HOME", "/root"), ("MALLOC_ARENA_MAX", "4"), ("PATH", "/bin"), ("PYTHONPATH", "/old")];
        let cluster =
            ["chief", "worker"].map(|role| RoleAddresses { role: role.into(), addresses: vec![format!("{role}:1")] });
        let made = environment(&Facts {
            inherited: inherited.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            plan: &plan,
            role: &plan.roles["worker"],
            rank: &Rank::new("worker", 1),
            cluster: &cluster,
            work_dir: Path::new("/w"),
            package_dir: Path::new("/w/p"),
            context_file: Path::new("/w/context.json"),
            home_is_writable: false,
            unsecured: true,
            socket_fd: 5,
            ring_fd: Some(6),
        });
        let lines: Vec<String> = made.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            lines,
            [
                "A=2",
                "HADOOP_USER_NAME=alice",
                "HOME=/w",
                "MKL_NUM_THREADS=3",
                "MPLCONFIGDIR=/w/cache/matplotlib",
                "OMP_NUM_THREADS=3",
                "OPENBLAS_NUM_THREADS=3",
                "PATH=/bin",
                "PYTHONPATH=/w/p:/w:/theirs",
                "PYTHONPYCACHEPREFIX=/w/pycache",
                "PYTHONUNBUFFERED=1",
                r#"TF_CONFIG={"cluster":{"chief":["chief:1"],"worker":["worker:1"]},"task":{"type":"worker","index":1}}"#,
                "TF_NUM_INTEROP_THREADS=3",
                "TF_NUM_INTRAOP_THREADS=3",
                "TMPDIR=/fast",
                "XDG_CACHE_HOME=/w/cache",
                "YARN_ML_CONTEXT=/w/context.json",
                "YARN_ML_INDEX=1",
                "YARN_ML_INSTANCES=2",
                "YARN_ML_RING_INPUT=6",
                "YARN_ML_ROLE=worker",
                "YARN_ML_SOCKET=5",
            ]
        );
    }
}
