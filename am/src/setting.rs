//! What the container tells its application master, checked before anything is opened.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use hadoop_rpc::Credentials;
use yarn_ml_control::pki::{Identity, Leaf};
use yarn_ml_fs::{FileSystems, Timeouts};
use yarn_ml_protocol::{
    ids::{ApplicationId, ContainerId},
    plan::{HADOOP_CONF_FILE, Master, PLAN_FILE, Plan},
};
use yarn_xml::Configuration;

/// Everything that an application master knows when it begins.
pub struct Setting {
    pub application: ApplicationId,
    pub container: ContainerId,
    pub attempt: u32,
    pub plan: Plan,
    pub configuration: Configuration,
    pub files: FileSystems,
    pub credentials: Credentials,
    pub identity: Identity,
    /// By which agents reach this machine.
    pub host: String,
    pub work_dir: PathBuf,
}

impl Setting {
    pub fn from_environment() -> Result<Self> {
        let variable =
            |name: &str| env::var(name).with_context(|| format!("the environment has no {name}; is this a container?"));
        let container = ContainerId(variable("CONTAINER_ID")?);
        let work_dir = env::current_dir().context("failed to find the working directory")?;
        let plan = read_plan(&work_dir)?;
        let configuration = read_configuration(&work_dir, &plan)?;
        let tokens = variable("HADOOP_TOKEN_FILE_LOCATION")?;
        let bytes = std::fs::read(&tokens).with_context(|| format!("failed to read the credentials {tokens}"))?;
        let credentials =
            Credentials::read(&bytes).with_context(|| format!("failed to read the credentials {tokens}"))?;
        let identity = Identity::from_secrets(Leaf::Am, &credentials.secret_bytes())?;
        let files = FileSystems::new(configuration.resolved(), Some(plan.user.clone()), Timeouts::default());
        Ok(Self {
            application: ApplicationId(plan.application_id.clone()),
            attempt: attempt_of(&container)?,
            host: match plan.master {
                Master::Yarn => variable("NM_HOST")?,
                Master::Local => "127.0.0.1".to_owned(),
            },
            container,
            plan,
            configuration,
            files,
            credentials,
            identity,
            work_dir,
        })
    }

    /// YARN counts attempts against the smaller of the application's and the cluster's limit.
    pub fn is_last_attempt(&self) -> bool {
        let cluster = self.configuration.get_u64("yarn.resourcemanager.am.max-attempts").ok().flatten();
        let limit = cluster.map_or(u32::MAX, |n| u32::try_from(n).unwrap_or(u32::MAX));
        self.attempt >= self.plan.job.am.max_attempts.min(limit)
    }
}

fn read_plan(work_dir: &Path) -> Result<Plan> {
    let path = work_dir.join(PLAN_FILE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let plan: Plan =
        serde_json::from_str(&text).with_context(|| format!("{} is no plan of this version", path.display()))?;
    ensure!(
        plan.version == Plan::VERSION,
        "the plan has version {}; this application master reads {}",
        plan.version,
        Plan::VERSION
    );
    Ok(plan)
}

fn read_configuration(work_dir: &Path, plan: &Plan) -> Result<Configuration> {
    match plan.master {
        Master::Yarn => Ok(yarn_xml::discover::load_file(&work_dir.join(HADOOP_CONF_FILE), &plan.user)?),
        Master::Local => Ok(Configuration::new([("user.name".to_owned(), plan.user.clone())].into())),
    }
}

/// `container_[eNN_]TIMESTAMP_APPLICATION_ATTEMPT_NUMBER`
fn attempt_of(container: &ContainerId) -> Result<u32> {
    let attempt = container.0.rsplit('_').nth(1).and_then(|text| text.parse().ok());
    attempt.with_context(|| format!("CONTAINER_ID is `{container}`, in which there is no attempt"))
}
