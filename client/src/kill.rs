//! `kill`: waits until the job is dead, and removes what it cannot remove itself.

use std::{path::Path, time::Duration};

use anyhow::Result;
use yarn_ml_protocol::exit::ExitCode;

use crate::{cli::Master, failure::failure, local, rest::Rest, setting::Setting, submit::Places};

pub async fn kill(id: &str, conf: Option<&Path>) -> Result<i32> {
    if id.starts_with("local_") {
        let layout = local::find(id)?;
        local::kill(&layout).await?;
        eprintln!("{id} is dead");
        return Ok(ExitCode::Success.code());
    }
    let setting = Setting::new(Master::Yarn, conf)?;
    let rest = Rest::new(&setting)?;
    loop {
        let Some(app) = rest.app(id).await? else {
            return Err(failure(ExitCode::NotFound, format!("the ResourceManager does not know {id}")));
        };
        if app.is_ended() {
            let places = Places::of(&setting, id)?;
            // The owner's staging; somebody else's is left to them.
            if app.user == setting.user {
                let _ = places.files(&setting)?.delete(&places.staging.path, true).await;
            }
            eprintln!("{id} is {}", app.state);
            return Ok(ExitCode::Success.code());
        }
        rest.kill(id).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
