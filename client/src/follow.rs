//! Watching a job to its end, through its application master while there is one.

use std::{io::IsTerminal, path::Path, time::Duration};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use yarn_ml_control::{
    job_client::JobClient,
    pki::{Identity, Leaf},
    tls,
};
use yarn_ml_fs::{FileSystems, Location, read_small};
use yarn_ml_protocol::{
    exit::ExitCode,
    ids::ApplicationId,
    messages::{FollowRequest, StopRequest},
    plan::{AM_FILE, AmAddress},
    report::JobReport,
};

use crate::{
    cli::Format,
    failure::failure,
    rest::Rest,
    setting::Setting,
    show,
    submit::{CLIENT_FILE, Places, first_line},
};

const POLL: Duration = Duration::from_millis(500);

/// One line that is rewritten on a terminal; a line a change, at most one in five seconds, elsewhere.
pub struct Live {
    bar: Option<ProgressBar>,
    last: String,
    printed: Option<std::time::Instant>,
}

impl Live {
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            // The template is a constant.
            bar.set_style(
                ProgressStyle::with_template("{spinner} {wide_msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar
        });
        Self { bar, last: String::new(), printed: None }
    }

    pub fn show(&mut self, line: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(line);
            bar.tick();
            return;
        }
        let due = self.printed.is_none_or(|at| at.elapsed() > Duration::from_secs(5));
        if due && line != self.last {
            eprintln!("{line}");
            self.last = line;
            self.printed = Some(std::time::Instant::now());
        }
    }

    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// How a job is reached: the folder where its application master says where it listens, and who we are.
pub struct Reach<'a> {
    pub files: &'a FileSystems,
    pub staging: Location,
    pub application: ApplicationId,
}

impl Reach<'_> {
    async fn file(&self, name: &str) -> Result<bytes::Bytes> {
        let location = self.staging.join(name);
        Ok(read_small(&*self.files.at(&location)?, &location.path, 1 << 20).await?)
    }

    /// A connection to the attempt that runs now.
    pub async fn connect(&self) -> Result<JobClient<tonic::transport::Channel>> {
        let address: AmAddress =
            serde_json::from_slice(&self.file(AM_FILE).await?).context("the AM's address cannot be read")?;
        let credentials = hadoop_rpc::Credentials::read(&self.file(CLIENT_FILE).await?)?;
        let identity = Identity::from_secrets(Leaf::Client, &credentials.secret_bytes())?;
        let channel = tls::endpoint(&identity, &self.application, Leaf::Am, &address.address)?.connect().await?;
        Ok(JobClient::new(channel).max_decoding_message_size(64 << 20))
    }

    /// Shows reports until the stream ends; the last one.
    pub async fn watch(&self, mut seen: impl FnMut(&JobReport)) -> Result<Option<JobReport>> {
        let mut stream = self.connect().await?.follow(FollowRequest {}).await?.into_inner();
        let mut last = None;
        while let Ok(Some(status)) = stream.message().await {
            let report: JobReport = serde_json::from_str(&status.report).context("the AM's report cannot be read")?;
            seen(&report);
            let ended = report.state.is_terminal();
            last = Some(report);
            if ended {
                break;
            }
        }
        Ok(last)
    }

    /// The report of now.
    pub async fn report(&self) -> Result<JobReport> {
        let mut stream = self.connect().await?.follow(FollowRequest {}).await?.into_inner();
        let status = stream.message().await?.context("the AM said nothing")?;
        serde_json::from_str(&status.report).context("the AM's report cannot be read")
    }

    pub async fn stop(&self, reason: &str, drain: bool) -> Result<()> {
        self.connect().await?.stop(StopRequest { reason: reason.to_owned(), drain }).await?;
        Ok(())
    }
}

/// Follows an application on the cluster; the exit code is that of the job.
pub async fn follow(setting: &Setting, rest: &Rest, id: &str, report: Option<&Path>, format: Format) -> Result<i32> {
    tokio::select! {
        ended = follow_to_end(setting, rest, id) => {
            let ended = ended?;
            finish(&ended, report, format)
        }
        _ = tokio::signal::ctrl_c() => {
            eprintln!("\n{id} goes on.\n\nhint: yarn-ml status {id}, yarn-ml logs {id}, yarn-ml kill {id}");
            Ok(ExitCode::Interrupted.code())
        }
    }
}

async fn follow_to_end(setting: &Setting, rest: &Rest, id: &str) -> Result<JobReport> {
    let places = Places::of(setting, id)?;
    let reach =
        Reach { files: &setting.files, staging: places.staging.clone(), application: ApplicationId(id.to_owned()) };
    let mut live = Live::new();
    loop {
        if let Err(error) = reach.watch(|report| live.show(show::line(report))).await {
            tracing::debug!("{error:#}");
        }
        let Some(app) = rest.app(id).await? else {
            return Err(failure(ExitCode::NotFound, format!("the ResourceManager does not know {id} any more")));
        };
        if app.is_ended() {
            live.end();
            return ended_report(setting, &places, id, &app).await;
        }
        live.show(format!("       {}  {}", app.state, first_line(&app.diagnostics)));
        tokio::time::sleep(POLL).await;
    }
}

/// What the last attempt left, or what the ResourceManager says.
pub async fn ended_report(
    setting: &Setting,
    places: &Places,
    id: &str,
    app: &yarn_xml::rest::App,
) -> Result<JobReport> {
    let files = places.files(setting)?;
    let left = read_small(&*files, &places.report.path, 64 << 20).await;
    if let Ok(bytes) = left
        && app.state == "FINISHED"
        && let Ok(report) = serde_json::from_slice::<JobReport>(&bytes)
    {
        return Ok(report);
    }
    Ok(from_app(id, app))
}

/// A job that left no report of its own.
fn from_app(id: &str, app: &yarn_xml::rest::App) -> JobReport {
    use yarn_ml_protocol::report::{JobState, RowCounts};
    let (state, code) = match (app.state.as_str(), app.final_status.as_str()) {
        ("KILLED", _) | (_, "KILLED") => (JobState::Killed, ExitCode::Killed),
        ("FINISHED", "SUCCEEDED") => (JobState::Finished, ExitCode::Success),
        ("FINISHED" | "FAILED", _) => (JobState::Failed, ExitCode::JobFailed),
        ("RUNNING", _) => (JobState::Executing, ExitCode::Success),
        _ => (JobState::WaitingForResources, ExitCode::Success),
    };
    JobReport {
        application_id: id.to_owned(),
        name: app.name.clone(),
        state,
        epochs: 0,
        seconds: app.finished_time.saturating_sub(app.started_time) as f64 / 1000.0,
        rows: RowCounts::default(),
        roles: Vec::new(),
        activity: String::new(),
        diagnostics: app.diagnostics.trim().to_owned(),
        exit_code: code.code(),
        model: None,
        checkpoint: None,
        stop_reason: None,
        attempt: 0,
    }
}

/// The application as the ResourceManager sees it, when nobody else can be asked.
pub fn of_app(id: &str, app: &yarn_xml::rest::App) -> JobReport {
    from_app(id, app)
}

/// Prints the end of a job and, if asked, leaves its report in a file.
pub fn finish(ended: &JobReport, report: Option<&Path>, format: Format) -> Result<i32> {
    let json = serde_json::to_string_pretty(ended)?;
    if let Some(path) = report {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
        }
        std::fs::write(path, &json).with_context(|| format!("failed to write {}", path.display()))?;
    }
    match format {
        Format::Json => println!("{json}"),
        Format::Text => print!("{}", show::summary(ended)),
    }
    Ok(ended.exit_code)
}
