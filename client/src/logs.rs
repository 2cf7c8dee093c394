//! `logs`: of containers that run, from their nodes; of ended ones, from what YARN has gathered on HDFS.

use std::path::Path;

use anyhow::{Context, Result};
use yarn_ml_protocol::{exit::ExitCode, ids::ApplicationId, report::JobReport};
use yarn_xml::rest::log_files;

use crate::{
    cli::{Logs, Master},
    failure::failure,
    follow::Reach,
    local,
    rest::Rest,
    setting::Setting,
    submit::Places,
};

pub async fn logs(arguments: &Logs, conf: Option<&Path>) -> Result<i32> {
    if arguments.id.starts_with("local_") {
        return local_logs(arguments).await;
    }
    cluster_logs(arguments, conf).await
}

/// From the nodes while the job runs. What YARN has gathered of ended jobs is not read yet, and said so.
async fn cluster_logs(arguments: &Logs, conf: Option<&Path>) -> Result<i32> {
    let setting = Setting::new(Master::Yarn, conf)?;
    let rest = Rest::new(&setting)?;
    let id = &arguments.id;
    let Some(app) = rest.app(id).await? else {
        return Err(failure(ExitCode::NotFound, format!("the ResourceManager does not know {id}")));
    };
    if app.is_ended() {
        return Err(failure(
            ExitCode::NotFound,
            format!("{id} has ended, and its logs are what YARN has gathered\n\nhint: yarn logs -applicationId {id}"),
        ));
    }
    let places = Places::of(&setting, id)?;
    let reach =
        Reach { files: &setting.files, staging: places.staging.clone(), application: ApplicationId(id.clone()) };
    let report = reach.report().await?;
    for rank in &report.roles {
        let container = &rank.container_id;
        // `http://HOST:PORT/node/containerlogs/CONTAINER/USER`
        let Some((node, _)) = rank.logs.split_once("/node/containerlogs/") else { continue };
        if !wanted(arguments, container, Some(&report)) {
            continue;
        }
        let base = format!("{node}/ws/v1/node/containers/{container}/logs");
        for name in log_files(&rest.fetch(&base).await?)? {
            if arguments.file.as_ref().is_some_and(|wanted| *wanted != name) {
                continue;
            }
            let text = rest.fetch(&format!("{base}/{name}")).await?;
            if !text.is_empty() {
                println!("==> {container}/{name} <==\n{text}");
            }
        }
    }
    Ok(ExitCode::Success.code())
}

async fn local_logs(arguments: &Logs) -> Result<i32> {
    let layout = local::find(&arguments.id)?;
    let report = local::ended(&layout).ok();
    let folder = layout.root.join("logs");
    let mut containers: Vec<_> = std::fs::read_dir(&folder)
        .with_context(|| format!("failed to list {}", folder.display()))?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    containers.sort();
    for container in containers {
        let id = container.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if !wanted(arguments, &id, report.as_ref()) {
            continue;
        }
        let mut files: Vec<_> = std::fs::read_dir(&container)?.flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            if arguments.file.as_ref().is_some_and(|wanted| *wanted != name) {
                continue;
            }
            let text = std::fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?;
            if !text.is_empty() {
                println!("==> {id}/{name} <==\n{}", String::from_utf8_lossy(&text));
            }
        }
    }
    Ok(ExitCode::Success.code())
}

fn wanted(arguments: &Logs, container: &str, report: Option<&JobReport>) -> bool {
    if let Some(only) = &arguments.container {
        return only == container;
    }
    let Some(rank) = &arguments.rank else { return true };
    report.is_some_and(|report| {
        report
            .roles
            .iter()
            .any(|r| r.container_id == container && (r.rank.to_string() == *rank || r.rank.role == *rank))
    })
}
