//! `status`: of a job that runs or has ended, here or on the cluster.

use std::path::Path;

use anyhow::Result;
use yarn_ml_protocol::{exit::ExitCode, ids::ApplicationId, report::JobReport};

use crate::{
    cli::{Format, Master},
    failure::failure,
    follow::{Reach, ended_report, of_app},
    local,
    rest::Rest,
    setting::Setting,
    show,
    submit::Places,
};

pub async fn status(id: &str, conf: Option<&Path>, format: Format) -> Result<i32> {
    let report = report(id, conf).await?;
    match format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Format::Text => print!("{}", show::summary(&report)),
    }
    Ok(ExitCode::Success.code())
}

async fn report(id: &str, conf: Option<&Path>) -> Result<JobReport> {
    if id.starts_with("local_") {
        let layout = local::find(id)?;
        let setting = Setting::new(Master::Local, None)?;
        if local::living(&layout).is_some()
            && let Ok(report) = local::reach(&setting, &layout)?.report().await
        {
            return Ok(report);
        }
        return local::ended(&layout);
    }
    let setting = Setting::new(Master::Yarn, conf)?;
    let rest = Rest::new(&setting)?;
    let Some(app) = rest.app(id).await? else {
        return Err(failure(ExitCode::NotFound, format!("the ResourceManager does not know {id}")));
    };
    let places = Places::of(&setting, id)?;
    if app.is_ended() {
        return ended_report(&setting, &places, id, &app).await;
    }
    let reach =
        Reach { files: &setting.files, staging: places.staging.clone(), application: ApplicationId(id.to_owned()) };
    Ok(reach.report().await.unwrap_or_else(|_| of_app(id, &app)))
}
