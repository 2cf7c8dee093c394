//! Who submits, from where, and to what.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use yarn_ml_fs::{Base, FileSystems, Timeouts};
use yarn_ml_protocol::exit::ExitCode;
use yarn_xml::Configuration;

use crate::{cli::Master, failure::OrExit};

pub struct Setting {
    pub master: Master,
    pub user: String,
    pub configuration: Configuration,
    pub files: FileSystems,
    /// What paths of a job file are relative to.
    pub base: Base,
}

impl Setting {
    pub fn new(master: Master, conf: Option<&Path>) -> Result<Self> {
        let environment: BTreeMap<String, String> = env::vars().collect();
        let user = user(master, &environment)?;
        let (configuration, default_fs, working_dir) = match master {
            Master::Yarn => {
                let (configuration, _) = yarn_xml::discover(conf, &environment, &user)
                    .or_exit(ExitCode::BadConfiguration, || "the Hadoop configuration cannot be used".into())?;
                let default_fs = configuration
                    .get("fs.defaultFS")
                    .or_exit(ExitCode::BadConfiguration, || "fs.defaultFS cannot be used".into())?
                    .unwrap_or_else(|| "file:///".into());
                (configuration, default_fs, format!("/user/{user}"))
            }
            Master::Local => {
                let here = env::current_dir().context("failed to find the working directory")?;
                let names = BTreeMap::from([("user.name".to_owned(), user.clone())]);
                (Configuration::new(names), "file:///".to_owned(), here.display().to_string())
            }
        };
        let base = Base::new(&default_fs, &working_dir)
            .or_exit(ExitCode::BadConfiguration, || format!("fs.defaultFS is {default_fs}"))?;
        // A dead NameNode must be told within 15 seconds.
        let timeouts = Timeouts { metadata: Duration::from_secs(10), ..Timeouts::default() };
        let files = FileSystems::new(configuration.resolved(), Some(user.clone()), timeouts);
        Ok(Self { master, user, configuration, files, base })
    }
}

/// On an unsecured cluster whoever HADOOP_USER_NAME says, as Java's clients have it.
fn user(master: Master, environment: &BTreeMap<String, String>) -> Result<String> {
    if master == Master::Yarn
        && let Some(name) = environment.get("HADOOP_USER_NAME").filter(|name| !name.is_empty())
    {
        return Ok(name.clone());
    }
    let me = nix::unistd::User::from_uid(nix::unistd::geteuid()).context("failed to find out who you are")?;
    Ok(me.map_or_else(|| nix::unistd::geteuid().to_string(), |user| user.name))
}

/// The other binaries lie beside this one.
pub fn binary(name: &str) -> Result<PathBuf> {
    let me = env::current_exe().context("failed to find the own binary")?;
    let folder = me.parent().map(Path::to_owned).unwrap_or_default();
    let found = folder.join(name);
    found.is_file().then_some(found.clone()).or_exit(ExitCode::BadConfiguration, || {
        format!("{name} is not beside yarn-ml in {}; the installation is incomplete", folder.display())
    })
}

/// Folder of local applications.
pub fn state_dir() -> Result<PathBuf> {
    yarn_ml_local::state_dir(&|name| env::var(name).ok())
}

trait Present<T> {
    fn or_exit(self, code: ExitCode, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Present<T> for Option<T> {
    fn or_exit(self, code: ExitCode, message: impl FnOnce() -> String) -> Result<T> {
        self.ok_or_else(|| crate::failure::failure(code, message()))
    }
}
