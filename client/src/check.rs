//! `check` and `explain`: everything that can be known before submitting.

use std::path::Path;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use yarn_ml_protocol::{exit::ExitCode, plan::Plan};

use crate::{
    cli::{Check, Format, Master},
    failure::failure,
    prepare::{Prepared, prepare},
    rest::Rest,
    setting::{Setting, binary},
    submit::{AGENT, AM},
};

pub async fn check(arguments: &Check, conf: Option<&Path>, format: Format) -> Result<i32> {
    let setting = Setting::new(arguments.master, conf)?;
    let prepared = prepare(&setting, &arguments.file).await?;
    let plan = plan(&setting, &prepared)?;
    binary(AM)?;
    binary(AGENT)?;
    if arguments.master == Master::Yarn {
        check_cluster(&setting, &plan).await?;
    }
    match format {
        Format::Json => println!("{}", serde_json::json!({"ok": true, "containers": memory_rows(&plan)})),
        Format::Text => {
            print!("{}", prepared.schemas());
            println!("{}", memory(&plan));
            println!("{} can be submitted", arguments.file.job.display());
        }
    }
    Ok(ExitCode::Success.code())
}

pub async fn explain(arguments: &Check, conf: Option<&Path>) -> Result<i32> {
    let setting = Setting::new(arguments.master, conf)?;
    let prepared = prepare(&setting, &arguments.file).await?;
    println!("{}", serde_json::to_string_pretty(&plan(&setting, &prepared)?)?);
    Ok(ExitCode::Success.code())
}

fn plan(setting: &Setting, prepared: &Prepared) -> Result<Plan> {
    prepared.plan(setting, "application_0_0000", String::new(), String::new(), Vec::new())
}

/// Limits, queue, resource types: what the ResourceManager tells without a submission.
async fn check_cluster(setting: &Setting, plan: &Plan) -> Result<()> {
    let rest = Rest::new(setting)?;
    let largest = rest.nodes().await?.iter().map(|node| node.avail_memory_mb).max().unwrap_or(0);
    if let Some(queue) = &plan.job.queue {
        let queues = rest.queues().await?;
        let leaf = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
        match queues.iter().find(|q| q.is_leaf && (q.name == *queue || leaf(&q.name) == *queue)) {
            None => {
                let names: Vec<String> = queues.iter().filter(|q| q.is_leaf).map(|q| leaf(&q.name)).collect();
                return Err(failure(
                    ExitCode::Refused,
                    format!("queue: there is no {queue}; there are {}", names.join(", ")),
                ));
            }
            Some(found) if !found.state.is_empty() && found.state != "RUNNING" => {
                return Err(failure(ExitCode::Refused, format!("queue: {queue} is {}", found.state)));
            }
            Some(_) => {}
        }
    }
    for (name, role) in &plan.roles {
        let wanted = role.memory.container_mb();
        if wanted > largest {
            eprintln!(
                "warning: no node has {wanted} MiB free for a container of {name} now; the largest has {largest} MiB"
            );
        }
    }
    Ok(())
}

fn memory_rows(plan: &Plan) -> Vec<serde_json::Value> {
    plan.roles
        .iter()
        .map(|(name, role)| {
            serde_json::json!({"role": name, "instances": role.instances, "vcores": role.vcores, "memory": role.memory, "container_mb": role.memory.container_mb()})
        })
        .collect()
}

/// What each container is made of.
fn memory(plan: &Plan) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["role", "instances", "vcores", "trainer", "agent", "rings", "transforms", "container"]);
    for (name, role) in &plan.roles {
        let m = role.memory;
        let cells =
            [m.trainer_mb, m.agent_mb, m.rings_mb, m.transforms_mb, m.container_mb()].map(|mb| format!("{mb} MiB"));
        let mut row = vec![name.clone(), role.instances.to_string(), role.vcores.to_string()];
        row.extend(cells);
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}
