//! From a job file to everything that is known before anything is submitted: the job, its streams' schemas, its places.

use std::path::{Path, PathBuf};

use anyhow::Result;
use indexmap::IndexMap;
use yarn_ml_fs::{ErrorKind, Location, is_pattern};
use yarn_ml_operators::csv;
use yarn_ml_protocol::{
    check::{Problem, problems, program_of},
    exit::ExitCode,
    job::{Job, Stream},
    parse,
    plan::{Plan, Resource},
    resolve::{Surroundings, plan},
    schema::Column,
};

use crate::{
    cli::{JobFile, Master},
    failure::{OrExit, failure},
    files::{Shipped, shipped},
    setting::Setting,
};

/// Bytes of the first file that a schema is inferred from.
const SAMPLE: u64 = 1 << 20;

/// A job that could be submitted.
pub struct Prepared {
    pub job: Job,
    /// What must be shipped, by its name in the container.
    pub shipped: Vec<Shipped>,
    streams: IndexMap<String, (String, Vec<Column>)>,
    checkpoints: Option<String>,
    model: Option<String>,
}

/// Reads, checks and looks at everything that the job names.
pub async fn prepare(setting: &Setting, file: &JobFile) -> Result<Prepared> {
    let name = file.job.display().to_string();
    let text = std::fs::read_to_string(&file.job).or_exit(ExitCode::BadInput, || format!("failed to read {name}"))?;
    let job = parse::job(&text, &name, &file.sets).or_exit(ExitCode::BadInput, || "the job file is wrong".into())?;
    refuse(&name, problems(&job))?;
    let folder = file.job.parent().map(Path::to_owned).unwrap_or_else(|| PathBuf::from("."));
    let programs: Vec<_> = job.roles.values().map(|role| program_of(&job, role)).collect();
    let shipped = shipped(&folder, &programs)?;
    let mut streams = IndexMap::new();
    for role in job.roles.values() {
        let Some(input) = &role.input else { continue };
        // `problems` has seen that the stream is there.
        if let (false, Some(stream)) = (streams.contains_key(&input.stream), job.streams.get(&input.stream)) {
            let found = look_at_stream(setting, &input.stream, stream).await?;
            streams.insert(input.stream.clone(), found);
        }
    }
    let qualify = |path: &str| setting.base.qualify(path).or_exit(ExitCode::BadInput, || name.clone());
    let checkpoints = job.checkpoints.as_ref().map(|c| qualify(&c.path)).transpose()?;
    let model = match &job.model {
        Some(model) => Some(look_at_model(setting, qualify(&model.path)?, model.overwrite).await?),
        None => None,
    };
    Ok(Prepared {
        job,
        shipped,
        streams,
        checkpoints: checkpoints.map(|c| c.to_string()),
        model: model.map(|m| m.to_string()),
    })
}

impl Prepared {
    /// The plan, once the application has an id and places of its own.
    pub fn plan(
        &self,
        setting: &Setting,
        application_id: &str,
        staging: String,
        report: String,
        resources: Vec<Resource>,
    ) -> Result<Plan> {
        let around = Surroundings {
            application_id: application_id.to_owned(),
            master: match setting.master {
                Master::Yarn => yarn_ml_protocol::plan::Master::Yarn,
                Master::Local => yarn_ml_protocol::plan::Master::Local,
            },
            user: setting.user.clone(),
            default_fs: setting.base.file_system.clone(),
            working_dir: setting.base.working_dir.clone(),
            staging,
            report,
            streams: self.streams.clone(),
            checkpoints: self.checkpoints.clone(),
            model: self.model.clone(),
            resources,
        };
        plan(&self.job, around).or_else(|found| {
            refuse("the job file", found)?;
            unreachable!("a plan is refused with at least one problem")
        })
    }

    /// The schema of each stream, for people.
    pub fn schemas(&self) -> String {
        let mut out = String::new();
        for (name, (path, columns)) in &self.streams {
            let columns: Vec<String> = columns.iter().map(|c| format!("{} {}", c.name, c.column_type)).collect();
            out.push_str(&format!("{name}: {path}\n  {}\n", columns.join(", ")));
        }
        out
    }
}

fn refuse(file: &str, found: Vec<Problem>) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = found.iter().map(|problem| format!("  {problem}")).collect();
    Err(failure(ExitCode::BadInput, format!("{file} is wrong:\n{}", lines.join("\n"))))
}

/// The stream's qualified path and the columns of its files.
async fn look_at_stream(setting: &Setting, name: &str, stream: &Stream) -> Result<(String, Vec<Column>)> {
    let wrong = || format!("stream {name} cannot be read");
    let location = setting.base.qualify(&stream.source.path).or_exit(ExitCode::BadInput, wrong)?;
    let files = setting.files.at(&location).or_exit(ExitCode::BadInput, wrong)?;
    let found = yarn_ml_fs::expand(&*files, &location.path).await;
    let found = found.map_err(|error| refused(error, wrong()))?;
    // Empty files say nothing of their columns.
    let Some(first) = found.iter().find(|file| file.length > 0) else {
        return Err(failure(ExitCode::BadInput, format!("{}: {location} has no data", wrong())));
    };
    let file = files.open(&first.path).await.map_err(|error| refused(error, wrong()))?;
    let length = file.length().min(SAMPLE);
    let sample = file.read_range(0, length as usize).await.map_err(|error| refused(error, wrong()))?;
    let columns = csv::schema(&sample, file.length() <= SAMPLE, &stream.source)
        .or_exit(ExitCode::BadInput, || format!("{}: {}{}", wrong(), location.file_system, first.path))?;
    let uri = if is_pattern(&location.path) || found.len() > 1 {
        location.to_string()
    } else {
        format!("{}{}", location.file_system, location.path)
    };
    Ok((uri, columns))
}

/// A missing file is the job's mistake, a silent NameNode is not.
pub fn refused(error: yarn_ml_fs::FsError, message: String) -> anyhow::Error {
    let code = match error.kind {
        ErrorKind::Timeout | ErrorKind::Unreachable | ErrorKind::SafeMode | ErrorKind::Standby => ExitCode::Unreachable,
        ErrorKind::PermissionDenied => ExitCode::Refused,
        _ => ExitCode::BadInput,
    };
    crate::failure::Failure { code, message, source: Some(error.into()) }.into()
}

async fn look_at_model(setting: &Setting, location: Location, overwrite: bool) -> Result<Location> {
    let wrong = || format!("the model cannot be written to {location}");
    let files = setting.files.at(&location).or_exit(ExitCode::BadInput, wrong)?;
    let place = yarn_ml_fs::next_version(&*files, &location).await.map_err(|error| refused(error, wrong()))?;
    match files.status(&place.path).await {
        Ok(_) if !overwrite => Err(failure(
            ExitCode::BadInput,
            format!(
                "{place} exists already\n\nhint: put `{{version}}` into the path, or write `model: {{path: …, overwrite: true}}`"
            ),
        )),
        Ok(_) => Ok(place),
        Err(error) if error.is_not_found() => Ok(place),
        Err(error) => Err(refused(error, wrong())),
    }
}
