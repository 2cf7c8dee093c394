//! `submit` and `run`.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hadoop_rpc::{Credentials, credentials::Secret};
use sha2::{Digest, Sha256};
use yarn_ml_control::pki::{self, Identity};
use yarn_ml_fs::{Attempt, FileSystem, Location, publish_file};
use yarn_ml_protocol::{
    exit::ExitCode,
    ids::ApplicationId,
    job::Job,
    plan::{HADOOP_CONF_FILE, PLAN_FILE, Plan, Resource, ResourceKind, Visibility},
};
use yarn_xml::{
    rest::{App, Capability},
    submission::{LocalResource, Submission},
};

use crate::{
    cli::{Format, JobFile, Master},
    failure::{OrExit, failure},
    files::{self, Shipped, Source},
    follow, local,
    prepare::{Prepared, prepare, refused},
    rest::Rest,
    setting::{Setting, binary},
};

/// How long the ResourceManager may think about a submission.
const ACCEPT: Duration = Duration::from_secs(120);

pub const AM: &str = "yarn-ml-am";
pub const AGENT: &str = "yarn-ml-agent";
/// The submitter's certificate and key, in the staging folder.
pub const CLIENT_FILE: &str = "client.credentials";

pub async fn submit(
    setting: &Setting,
    file: &JobFile,
    detach: bool,
    report: Option<&Path>,
    format: Format,
) -> Result<i32> {
    let prepared = prepare(setting, file).await?;
    eprint!("{}", prepared.schemas());
    match setting.master {
        Master::Local => local::run(setting, &prepared, detach, report, format).await,
        Master::Yarn => {
            let rest = Rest::new(setting)?;
            let id = put_on_cluster(setting, &rest, &prepared, format).await?;
            if detach {
                return Ok(ExitCode::Success.code());
            }
            follow::follow(setting, &rest, &id, report, format).await
        }
    }
}

/// Returns the id of an application that the cluster has accepted.
async fn put_on_cluster(setting: &Setting, rest: &Rest, prepared: &Prepared, format: Format) -> Result<String> {
    let new = rest.new_application().await?;
    let id = new.application_id;
    // First of all: whatever happens now, people know what to look for.
    match format {
        Format::Text => println!("{id}"),
        Format::Json => println!("{}", serde_json::json!({"application_id": id})),
    }
    let places = Places::of(setting, &id)?;
    let submitted = async {
        places.prepare(setting).await?;
        places.sweep(setting, rest, &id).await;
        let mut resources = vec![places.upload_file(setting, &binary(AGENT)?, AGENT).await?];
        for shipped in &prepared.shipped {
            resources.push(places.ship(setting, shipped).await?);
        }
        let am = places.upload_file(setting, &binary(AM)?, AM).await?;
        let plan = prepared.plan(setting, &id, places.staging.to_string(), places.report.to_string(), resources)?;
        too_large(&plan, new.maximum)?;
        let identities = pki::generate(&ApplicationId(id.clone())).context("failed to make the keys of the job")?;
        let staged = places.stage(setting, &plan, &identities[2]).await?;
        let submission = submission(&id, &prepared.job, setting, am, staged, &identities);
        rest.submit(submission.to_xml()).await?;
        wait_until_accepted(setting, rest, &id).await
    };
    if let Err(error) = submitted.await {
        // Nothing of a job that was refused is left.
        let _ = places.files(setting)?.delete(&places.staging.path, true).await;
        return Err(error);
    }
    Ok(id)
}

/// Refused here rather than after a wait in the queue.
fn too_large(plan: &Plan, maximum: Capability) -> Result<()> {
    for (name, role) in &plan.roles {
        let wanted = role.memory.container_mb();
        if maximum.memory > 0 && wanted > maximum.memory {
            return Err(failure(
                ExitCode::Refused,
                format!(
                    "roles.{name}.memory: its container needs {wanted} MiB ({} for the trainer), and the largest container of this cluster is {} MiB",
                    role.memory.trainer_mb, maximum.memory
                ),
            ));
        }
    }
    Ok(())
}

fn submission(
    id: &str,
    job: &Job,
    setting: &Setting,
    am: Resource,
    staged: Vec<Resource>,
    identities: &[Identity; 3],
) -> Submission {
    let mut environment = job.am.env.clone();
    environment.insert("HADOOP_USER_NAME".to_owned(), setting.user.clone());
    let secrets: BTreeMap<String, Vec<u8>> =
        identities[..2].iter().flat_map(|identity| identity.to_secrets()).collect();
    Submission {
        application_id: id.to_owned(),
        name: job.name.clone(),
        queue: job.queue.clone(),
        application_type: "yarn-ml".to_owned(),
        max_app_attempts: job.am.max_attempts,
        memory_mb: job.am.memory.as_mebibytes_up(),
        vcores: job.am.vcores,
        tags: job.tags.clone(),
        command: format!("./{AM} 1><LOG_DIR>/am.stdout 2><LOG_DIR>/am.stderr"),
        environment: environment.into_iter().collect(),
        local_resources: std::iter::once(am)
            .chain(staged)
            .map(|resource| (resource.name.clone(), local_resource(&resource)))
            .collect(),
        tokens: Vec::new(),
        secrets: secrets.into_iter().map(|(alias, bytes)| (alias, BASE64_STANDARD.encode(bytes))).collect(),
    }
}

fn local_resource(resource: &Resource) -> LocalResource {
    LocalResource {
        uri: resource.uri.clone(),
        kind: match resource.kind {
            ResourceKind::File => "FILE",
            ResourceKind::Archive => "ARCHIVE",
        },
        visibility: match resource.visibility {
            Visibility::Public => "PUBLIC",
            Visibility::Private => "PRIVATE",
            Visibility::Application => "APPLICATION",
        },
        size: resource.size,
        timestamp: resource.modification_time,
    }
}

async fn wait_until_accepted(setting: &Setting, rest: &Rest, id: &str) -> Result<()> {
    let deadline = tokio::time::Instant::now() + ACCEPT;
    loop {
        let app = rest.app(id).await?.unwrap_or_default();
        if app.is_accepted() {
            if app.state == "ACCEPTED" && !app.diagnostics.trim().is_empty() {
                eprintln!("accepted, and waiting: {}", first_line(&app.diagnostics));
            }
            return Ok(());
        }
        if app.is_ended() {
            return Err(failure(ExitCode::Refused, why_refused(setting, rest, &app).await));
        }
        if tokio::time::Instant::now() > deadline {
            return Err(failure(
                ExitCode::Refused,
                format!(
                    "{id} is {} and was not accepted within {ACCEPT:?}: {}",
                    app.state,
                    first_line(&app.diagnostics)
                ),
            ));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The ResourceManager's own words, and what the queues say.
async fn why_refused(_setting: &Setting, rest: &Rest, app: &App) -> String {
    let mut text = format!("the cluster refused the application: {}", first_line(&app.diagnostics));
    if let Ok(queues) = rest.queues().await {
        let leaf = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
        let asked = leaf(&app.queue);
        match queues.iter().find(|queue| leaf(&queue.name) == asked) {
            Some(queue) if !queue.state.is_empty() && queue.state != "RUNNING" => {
                text.push_str(&format!("\n\nhint: the queue {asked} is {}", queue.state));
            }
            Some(_) => {}
            None => {
                let names: Vec<String> = queues.iter().filter(|q| q.is_leaf).map(|q| leaf(&q.name)).collect();
                text.push_str(&format!("\n\nhint: there is no queue {asked}; there are {}", names.join(", ")));
            }
        }
    }
    text
}

pub fn first_line(text: &str) -> &str {
    text.trim().lines().next().unwrap_or_default()
}

/// Folders of a user, and of one application, on the cluster's file system.
pub struct Places {
    home: Location,
    cache: Location,
    pub staging: Location,
    pub report: Location,
}

impl Places {
    pub fn of(setting: &Setting, id: &str) -> Result<Self> {
        let home = setting
            .base
            .qualify(".yarn-ml")
            .or_exit(ExitCode::BadConfiguration, || "there is no home folder".into())?;
        Ok(Self {
            cache: home.join("cache"),
            staging: home.join("staging").join(id),
            report: home.join("reports").join(&format!("{id}.json")),
            home,
        })
    }

    pub fn files(&self, setting: &Setting) -> Result<std::sync::Arc<dyn FileSystem>> {
        setting.files.at(&self.home).or_exit(ExitCode::BadConfiguration, || format!("{} cannot be used", self.home))
    }

    /// Private folders, whoever made them before.
    async fn prepare(&self, setting: &Setting) -> Result<()> {
        let files = self.files(setting)?;
        for folder in [&self.home, &self.cache, &self.home.join("staging"), &self.home.join("reports"), &self.staging] {
            let wrong = || format!("{folder} cannot be used");
            files.mkdirs(&folder.path, 0o700).await.map_err(|error| refused(error, wrong()))?;
            let found = files.status(&folder.path).await.map_err(|error| refused(error, wrong()))?;
            if found.owner != setting.user {
                return Err(failure(
                    ExitCode::Refused,
                    format!(
                        "{folder} belongs to {}, and not to {}: what lies there cannot be trusted",
                        found.owner, setting.user
                    ),
                ));
            }
            if found.permission & 0o777 != 0o700 {
                files.set_permission(&folder.path, 0o700).await.map_err(|error| refused(error, wrong()))?;
            }
        }
        Ok(())
    }

    /// Removes what applications left behind that are dead: killed ones cannot clean up.
    async fn sweep(&self, setting: &Setting, rest: &Rest, own: &str) {
        use futures::TryStreamExt;
        let Ok(files) = self.files(setting) else { return };
        let folder = self.home.join("staging");
        let Ok(found) = files.list(&folder.path).try_collect::<Vec<_>>().await else { return };
        for left in found {
            let id = left.path.rsplit('/').next().unwrap_or_default();
            if !id.starts_with("application_") || id == own {
                continue;
            }
            let dead = match rest.app(id).await {
                Ok(Some(app)) => app.is_ended(),
                Ok(None) => true,
                Err(_) => false,
            };
            if dead {
                let _ = files.delete(&left.path, true).await;
            }
        }
    }

    async fn ship(&self, setting: &Setting, shipped: &Shipped) -> Result<Resource> {
        match &shipped.source {
            Source::File(path) => {
                let mut resource = self.upload_file(setting, path, &shipped.name).await?;
                resource.kind = shipped.kind;
                Ok(resource)
            }
            Source::Folder(path) => {
                let bytes = Bytes::from(files::pack(path)?);
                let mut resource = self.upload(setting, bytes, &format!("{}.tar.gz", shipped.name)).await?;
                resource.name = shipped.name.clone();
                resource.kind = ResourceKind::Archive;
                Ok(resource)
            }
        }
    }

    async fn upload_file(&self, setting: &Setting, path: &Path, name: &str) -> Result<Resource> {
        let bytes = std::fs::read(path).or_exit(ExitCode::BadInput, || format!("failed to read {}", path.display()))?;
        self.upload(setting, Bytes::from(bytes), name).await
    }

    /// Content is the address: what is there already is what we would write. It is never written again, since NodeManagers
    /// compare modification times.
    async fn upload(&self, setting: &Setting, bytes: Bytes, name: &str) -> Result<Resource> {
        let files = self.files(setting)?;
        let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        let location = self.cache.join(&format!("{hash}.{name}"));
        let wrong = || format!("failed to upload {name}");
        let found = match files.status(&location.path).await {
            Ok(found) if found.length == bytes.len() as u64 => found,
            Ok(found) => {
                return Err(failure(
                    ExitCode::Refused,
                    format!("{location} has {} bytes in place of {}; remove it", found.length, bytes.len()),
                ));
            }
            Err(error) if error.is_not_found() => {
                let permission = if name == AM || name == AGENT { 0o700 } else { 0o600 };
                let attempt = Attempt(format!("{}-{}", std::process::id(), &hash[..8]));
                match publish_file(&*files, &location.path, bytes, permission, false, &attempt).await {
                    // Two submissions at once wrote the same.
                    Err(error) if error.kind == yarn_ml_fs::ErrorKind::AlreadyExists => {}
                    written => written.map_err(|error| refused(error, wrong()))?,
                }
                files.status(&location.path).await.map_err(|error| refused(error, wrong()))?
            }
            Err(error) => return Err(refused(error, wrong())),
        };
        Ok(Resource {
            name: name.to_owned(),
            uri: location.to_string(),
            size: found.length,
            modification_time: found.modification_time,
            kind: ResourceKind::File,
            visibility: Visibility::Private,
        })
    }

    /// What belongs to this application alone.
    async fn stage(&self, setting: &Setting, plan: &Plan, client: &Identity) -> Result<Vec<Resource>> {
        let files = self.files(setting)?;
        let plan = Bytes::from(serde_json::to_vec_pretty(plan)?);
        let configuration = Bytes::from(setting.configuration.to_xml());
        let credentials = Bytes::from(credentials_of(std::slice::from_ref(client)).to_writable());
        let mut staged = Vec::new();
        for (name, bytes) in [(PLAN_FILE, plan), (HADOOP_CONF_FILE, configuration), (CLIENT_FILE, credentials)] {
            let location = self.staging.join(name);
            let wrong = || format!("failed to write {location}");
            publish_file(&*files, &location.path, bytes, 0o600, false, &Attempt("submit".into()))
                .await
                .map_err(|error| refused(error, wrong()))?;
            if name == CLIENT_FILE {
                continue;
            }
            let found = files.status(&location.path).await.map_err(|error| refused(error, wrong()))?;
            staged.push(Resource {
                name: name.to_owned(),
                uri: location.to_string(),
                size: found.length,
                modification_time: found.modification_time,
                kind: ResourceKind::File,
                visibility: Visibility::Application,
            });
        }
        Ok(staged)
    }
}

/// A credentials file with these leaves.
pub fn credentials_of(identities: &[Identity]) -> Credentials {
    let secrets = identities.iter().flat_map(|identity| identity.to_secrets());
    Credentials { secrets: secrets.map(|(alias, bytes)| (alias, Secret(bytes))).collect(), ..Credentials::default() }
}
