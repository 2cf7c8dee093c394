//! A job on this machine: the same application master and agents, as child processes.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context, Result};
use yarn_ml_control::pki;
use yarn_ml_fs::Location;
use yarn_ml_local::{ContainerSpec, Layout, spawn};
use yarn_ml_protocol::{
    exit::ExitCode,
    ids::ApplicationId,
    plan::{PLAN_FILE, Resource, ResourceKind, Visibility},
    report::JobReport,
};

use crate::{
    cli::Format,
    failure::failure,
    files::{self, Shipped, Source},
    follow::{Live, Reach, finish},
    prepare::Prepared,
    setting::{Setting, binary, state_dir},
    show,
    submit::{AGENT, AM, CLIENT_FILE, credentials_of, first_line},
};

pub async fn run(
    setting: &Setting,
    prepared: &Prepared,
    detach: bool,
    report: Option<&Path>,
    format: Format,
) -> Result<i32> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let layout = Layout::create(&state_dir()?, now.as_millis() as u64)?;
    let id = layout.application.clone();
    match format {
        Format::Text => println!("{id}"),
        Format::Json if detach => println!("{}", serde_json::json!({"application_id": id})),
        Format::Json => eprintln!("{id}"),
    }
    let pid = start(setting, prepared, &layout)?;
    if detach {
        return Ok(ExitCode::Success.code());
    }
    let ended = follow(setting, &layout, pid).await?;
    finish(&ended, report, format)
}

fn start(setting: &Setting, prepared: &Prepared, layout: &Layout) -> Result<u32> {
    let staging = layout.staging();
    std::fs::create_dir_all(&staging).with_context(|| format!("failed to make {}", staging.display()))?;
    let uri = |path: &Path| format!("file://{}", path.display());
    let mut resources = vec![resource(AGENT, &binary(AGENT)?, ResourceKind::File)?];
    for shipped in &prepared.shipped {
        resources.push(localized(shipped, &staging)?);
    }
    let plan = prepared.plan(setting, &layout.application, uri(&staging), uri(&layout.report()), resources)?;
    let plan_file = staging.join(PLAN_FILE);
    std::fs::write(&plan_file, serde_json::to_vec_pretty(&plan)?).context("failed to write the plan")?;

    let identities =
        pki::generate(&ApplicationId(layout.application.clone())).context("failed to make the keys of the job")?;
    let client = staging.join(CLIENT_FILE);
    write_private(&client, &credentials_of(&identities[2..]).to_writable())?;
    let mut environment: BTreeMap<String, String> = prepared.job.am.env.clone();
    environment.insert("USER".to_owned(), setting.user.clone());
    let spec = ContainerSpec {
        command: &format!("./{AM} 1><LOG_DIR>/am.stdout 2><LOG_DIR>/am.stderr"),
        environment: &environment,
        resources: &[
            resource(AM, &binary(AM)?, ResourceKind::File)?,
            resource(PLAN_FILE, &plan_file, ResourceKind::File)?,
        ],
        credentials: &credentials_of(&identities[..2]).to_writable(),
    };
    let child = spawn(layout, &layout.container_id(1), &spec)?;
    let pid = child.id().context("the application master ended at once")?;
    std::fs::write(layout.pid_file(), pid.to_string()).context("failed to write the application master's pid")?;
    Ok(pid)
}

async fn follow(setting: &Setting, layout: &Layout, pid: u32) -> Result<JobReport> {
    let reach = reach(setting, layout)?;
    let mut live = Live::new();
    let mut interrupts = 0;
    loop {
        let watched = async {
            if let Err(error) = reach.watch(|report| live.show(show::line(report))).await {
                tracing::debug!("{error:#}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = watched => {}
            _ = tokio::signal::ctrl_c() => {
                interrupts += 1;
                if interrupts > 1 {
                    eprintln!("\nkilling {}", layout.application);
                    yarn_ml_processes::kill_session(pid);
                    wait_until_gone(pid).await;
                    return killed(layout);
                }
                eprintln!("\nending {}; once more kills it", layout.application);
                let _ = reach.stop("interrupted", true).await;
            }
        }
        if !is_alive(pid) {
            live.end();
            return ended(layout);
        }
    }
}

/// How another command reaches a local job.
pub fn reach<'a>(setting: &'a Setting, layout: &Layout) -> Result<Reach<'a>> {
    Ok(Reach {
        files: &setting.files,
        staging: Location::parse(&format!("file://{}", layout.staging().display()))?,
        application: ApplicationId(layout.application.clone()),
    })
}

pub fn find(id: &str) -> Result<Layout> {
    let state = state_dir()?;
    Layout::find(&state, id).ok_or_else(|| {
        failure(ExitCode::NotFound, format!("there is no local application {id} in {}", state.display()))
    })
}

/// Pid of the application master, if it lives and is ours.
pub fn living(layout: &Layout) -> Option<u32> {
    let pid = std::fs::read_to_string(layout.pid_file()).ok()?.trim().parse().ok()?;
    is_am(layout, pid).then_some(pid)
}

/// A pid may have been given to another process: ours runs in its own folder.
fn is_am(layout: &Layout, pid: u32) -> bool {
    let here = std::fs::read_link(format!("/proc/{pid}/cwd"));
    here.is_ok_and(|here| here.starts_with(&layout.root)) && is_alive(pid)
}

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Our own child is a zombie until it is reaped.
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

pub async fn wait_until_gone(pid: u32) {
    while is_alive(pid) || !yarn_ml_processes::session(pid).is_empty() {
        yarn_ml_processes::kill_session(pid);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What a dead application master left.
pub fn ended(layout: &Layout) -> Result<JobReport> {
    match std::fs::read(layout.report()) {
        Ok(bytes) => serde_json::from_slice(&bytes).context("the report cannot be read"),
        Err(_) => {
            let log = layout.log_dir(&layout.container_id(1)).join("am.stderr");
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let last = text.lines().rev().find(|line| line.contains("ERROR")).unwrap_or("it left no report");
            Err(failure(
                ExitCode::Internal,
                format!("the application master ended without a report: {}\nlog: {}", first_line(last), log.display()),
            ))
        }
    }
}

fn killed(layout: &Layout) -> Result<JobReport> {
    use yarn_ml_protocol::report::JobState;
    let app = yarn_xml::rest::App { state: "KILLED".into(), diagnostics: "killed".into(), ..Default::default() };
    let report = crate::follow::of_app(&layout.application, &app);
    debug_assert_eq!(report.state, JobState::Killed);
    std::fs::write(layout.report(), serde_json::to_vec_pretty(&report)?).context("failed to write the report")?;
    Ok(report)
}

/// Kills everything of a local job; the report says so.
pub async fn kill(layout: &Layout) -> Result<()> {
    if let Some(pid) = living(layout) {
        yarn_ml_processes::kill_session(pid);
        wait_until_gone(pid).await;
        // Agents lead sessions of their own and end with the application master, which is their parent.
        end_containers(layout).await;
        killed(layout)?;
    }
    Ok(())
}

async fn end_containers(layout: &Layout) {
    let within =
        |pid: u32| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&layout.root));
    loop {
        let Ok(entries) = std::fs::read_dir("/proc") else { return };
        let left: Vec<u32> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| within(*pid) && is_alive(*pid))
            .collect();
        if left.is_empty() {
            return;
        }
        for pid in left {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid.cast_signed()),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn localized(shipped: &Shipped, staging: &Path) -> Result<Resource> {
    match &shipped.source {
        Source::File(path) => resource(&shipped.name, path, shipped.kind),
        Source::Folder(folder) => {
            let packed = staging.join(format!("{}.tar.gz", shipped.name));
            std::fs::write(&packed, files::pack(folder)?)
                .with_context(|| format!("failed to write {}", packed.display()))?;
            resource(&shipped.name, &packed, ResourceKind::Archive)
        }
    }
}

fn resource(name: &str, path: &Path, kind: ResourceKind) -> Result<Resource> {
    let found = std::fs::metadata(path).with_context(|| format!("failed to look at {}", path.display()))?;
    Ok(Resource {
        name: name.to_owned(),
        uri: format!("file://{}", path.display()),
        size: found.len(),
        modification_time: 0,
        kind,
        visibility: Visibility::Application,
    })
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .with_context(|| format!("failed to write {}", path.display()))
}
