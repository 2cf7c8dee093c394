//! What the container tells its agent, checked before anything is opened.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use hadoop_rpc::Credentials;
use yarn_ml_control::pki::{Identity, Leaf};
use yarn_ml_fs::{FileSystems, Timeouts};
use yarn_ml_protocol::{
    ids::ApplicationId,
    plan::{HADOOP_CONF_FILE, Master, PLAN_FILE, Plan},
};
use yarn_xml::Configuration;

pub struct Setting {
    pub application: ApplicationId,
    pub container: String,
    pub plan: Plan,
    pub identity: Identity,
    pub files: FileSystems,
    /// By which others reach this machine.
    pub host: String,
    pub work_dir: PathBuf,
    pub log_dir: PathBuf,
    /// The cluster asks for no Kerberos.
    pub unsecured: bool,
}

impl Setting {
    pub fn from_environment() -> Result<Self> {
        let variable =
            |name: &str| env::var(name).with_context(|| format!("the environment has no {name}; is this a container?"));
        let work_dir = env::current_dir().context("failed to find the working directory")?;
        let plan_file = work_dir.join(PLAN_FILE);
        let text =
            std::fs::read_to_string(&plan_file).with_context(|| format!("failed to read {}", plan_file.display()))?;
        let plan: Plan = serde_json::from_str(&text)
            .with_context(|| format!("{} is no plan of this version", plan_file.display()))?;
        ensure!(
            plan.version == Plan::VERSION,
            "the plan has version {}; this agent reads {}",
            plan.version,
            Plan::VERSION
        );
        let configuration = configuration(&work_dir, &plan)?;
        let tokens = variable("HADOOP_TOKEN_FILE_LOCATION")?;
        let bytes = std::fs::read(&tokens).with_context(|| format!("failed to read the credentials {tokens}"))?;
        let credentials =
            Credentials::read(&bytes).with_context(|| format!("failed to read the credentials {tokens}"))?;
        // YARN names several disks; logs go to the first.
        let log_dirs = variable("LOG_DIRS")?;
        let log_dir = log_dirs.split(',').next().unwrap_or_default();
        Ok(Self {
            application: ApplicationId(plan.application_id.clone()),
            container: variable("CONTAINER_ID")?,
            identity: Identity::from_secrets(Leaf::Agent, &credentials.secret_bytes())?,
            files: FileSystems::new(configuration.resolved(), Some(plan.user.clone()), Timeouts::default()),
            host: match plan.master {
                Master::Yarn => variable("NM_HOST")?,
                Master::Local => "127.0.0.1".to_owned(),
            },
            unsecured: plan.master == Master::Yarn
                && configuration.get("hadoop.security.authentication")?.as_deref() == Some("simple"),
            log_dir: PathBuf::from(log_dir),
            work_dir,
            plan,
        })
    }
}

/// What the submitter resolved; a NodeManager's own HADOOP_CONF_DIR may be another cluster's.
fn configuration(work_dir: &Path, plan: &Plan) -> Result<Configuration> {
    match plan.master {
        Master::Yarn => Ok(yarn_xml::discover::load_file(&work_dir.join(HADOOP_CONF_FILE), &plan.user)?),
        Master::Local => Ok(Configuration::new([("user.name".to_owned(), plan.user.clone())].into())),
    }
}
