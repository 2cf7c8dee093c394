//! One end-to-end test on both backends.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Cluster, root};

/// A place where jobs run.
pub enum Backend {
    Local,
    Yarn(Box<Cluster>),
}

/// A folder with a job file, and where the job's data lies.
pub struct Place {
    pub backend: Backend,
    pub folder: TempDir,
    /// Of this test alone, on the cluster.
    name: String,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// Of a job that was followed to its end.
    pub report: Value,
}

impl Ended {
    /// The id that was printed first.
    pub fn id(&self) -> &str {
        self.stdout.lines().next().unwrap_or_default()
    }

    pub fn diagnostics(&self) -> &str {
        self.report["diagnostics"].as_str().unwrap_or_default()
    }
}

/// Runs a test locally, then on the shared cluster.
pub fn on_both(name: &str, test: impl Fn(&Place)) {
    test(&Place::local(name));
    test(&Place::yarn(name));
}

impl Place {
    pub fn local(name: &str) -> Self {
        Self { backend: Backend::Local, folder: TempDir::new().expect("a temporary folder"), name: name.to_owned() }
    }

    pub fn yarn(name: &str) -> Self {
        let cluster = Cluster::shared().expect("the test cluster");
        let backend = Backend::Yarn(Box::new(cluster));
        Self { backend, folder: TempDir::new().expect("a temporary folder"), name: name.to_owned() }
    }

    /// A file beside the job file.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("a file in a temporary folder");
    }

    /// Data at a path relative to where the job's paths begin.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        match &self.backend {
            Backend::Local => {
                std::fs::write(self.folder.path().join(name), bytes).expect("a file in a temporary folder")
            }
            Backend::Yarn(cluster) => {
                cluster
                    .put("alice", &format!("/user/alice/{}/{name}", self.name), bytes.to_vec())
                    .expect("a file on HDFS");
            }
        }
    }

    /// How a job file names such a path.
    pub fn path(&self, name: &str) -> String {
        match &self.backend {
            Backend::Local => name.to_owned(),
            Backend::Yarn(_) => format!("{}/{name}", self.name),
        }
    }

    pub fn master(&self) -> &'static str {
        match self.backend {
            Backend::Local => "local",
            Backend::Yarn(_) => "yarn",
        }
    }

    pub fn cluster(&self) -> Option<&Cluster> {
        match &self.backend {
            Backend::Local => None,
            Backend::Yarn(cluster) => Some(cluster),
        }
    }

    /// Folder of local jobs.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// `yarn-ml` in this place, as alice.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("yarn-ml"));
        command.args(arguments).current_dir(self.folder.path()).env("YARN_ML_STATE", self.state()).stdin(Stdio::null());
        // A proxy of the machine is nothing that the cluster's own addresses go through.
        command.env("http_proxy", "http://127.0.0.1:1");
        if let Backend::Yarn(cluster) = &self.backend {
            command.env("HADOOP_CONF_DIR", cluster.conf_dir()).env("HADOOP_USER_NAME", "alice");
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output().expect("yarn-ml is built");
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            report: Value::Null,
        }
    }

    /// Writes the job file, submits it and follows it to its end.
    pub fn submit(&self, job: &str, sets: &[&str]) -> Ended {
        self.write("job.yaml", job);
        let mut arguments = vec!["submit", "--master", self.master(), "job.yaml", "--report", "report.json"];
        sets.iter().for_each(|set| arguments.extend(["--set", set]));
        let mut ended = self.run(&arguments);
        ended.report = self.report().unwrap_or(Value::Null);
        ended
    }

    fn report(&self) -> Result<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("report.json")).context("there is no report")?;
        Ok(serde_json::from_str(&text)?)
    }
}

/// A binary that cargo has built beside the tests.
pub fn binary(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("the test has a path");
    // target/debug/deps/test-hash
    tests
        .parent()
        .and_then(Path::parent)
        .map(|folder| folder.join(name))
        .unwrap_or_else(|| root().join("target/debug").join(name))
}

/// A Python with NumPy and TensorFlow: `YARN_ML_TEST_PYTHON`, else the one that `make` installs.
pub fn python() -> String {
    std::env::var("YARN_ML_TEST_PYTHON").unwrap_or_else(|_| root().join("target/venv/bin/python").display().to_string())
}
