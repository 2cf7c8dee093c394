//! `logs`: of containers that run, from their nodes; of ended ones, from what YARN has gathered on HDFS.

use std::path::Path;

use anyhow::{Context, Result};
use yarn_ml_protocol::{exit::ExitCode, report::JobReport};

use crate::{
    cli::{Logs, Master},
    failure::failure,
    local,
    setting::Setting,
};

pub async fn logs(arguments: &Logs, conf: Option<&Path>) -> Result<i32> {
    if arguments.id.starts_with("local_") {
        return local_logs(arguments).await;
    }
    let _ = Setting::new(Master::Yarn, conf)?;
    Err(failure(ExitCode::Internal, "logs of a cluster's jobs are read by a later version; use `yarn logs` until then"))
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
