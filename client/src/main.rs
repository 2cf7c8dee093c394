//! `yarn-ml`: jobs from an edge node.

mod check;
mod cli;
mod failure;
mod files;
mod follow;
mod kill;
mod local;
mod logs;
mod prepare;
mod rest;
mod setting;
mod show;
mod status;
mod submit;

use std::process;

use clap::Parser;

use cli::{Cli, Command, Master};

fn main() {
    // A pipe that is closed early, as by `head`, ends us like other programs.
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        let _ = error.print();
        process::exit(if error.use_stderr() { yarn_ml_protocol::exit::ExitCode::BadInput.code() } else { 0 });
    });
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("YARN_ML_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,hdfs_native=error")),
        )
        .with_writer(std::io::stderr)
        .init();
    // Nothing else in this process chooses a provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let code = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(cli)).unwrap_or_else(|error| {
            eprintln!("error: {}", failure::text(&error));
            failure::exit_code(&error).code()
        }),
        Err(error) => {
            eprintln!("error: failed to start: {error}");
            yarn_ml_protocol::exit::ExitCode::Internal.code()
        }
    };
    process::exit(code);
}

async fn run(cli: Cli) -> anyhow::Result<i32> {
    let format = cli.format;
    match cli.command {
        Command::Submit(arguments) => {
            let setting = setting::Setting::new(arguments.master, cli.conf.as_deref())?;
            submit::submit(&setting, &arguments.file, arguments.detach, arguments.report.as_deref(), format).await
        }
        Command::Run(arguments) => {
            let setting = setting::Setting::new(Master::Local, None)?;
            submit::submit(&setting, &arguments.file, arguments.detach, arguments.report.as_deref(), format).await
        }
        Command::Status(application) => status::status(&application.id, cli.conf.as_deref(), format).await,
        Command::Kill(application) => kill::kill(&application.id, cli.conf.as_deref()).await,
        Command::Logs(arguments) => logs::logs(&arguments, cli.conf.as_deref()).await,
        Command::Check(arguments) => check::check(&arguments, cli.conf.as_deref(), format).await,
        Command::Explain(arguments) => check::explain(&arguments, cli.conf.as_deref()).await,
    }
}
