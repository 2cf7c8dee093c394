//! `yarn-ml-agent`: runs beside one trainer. It starts it, feeds it, watches it, and tells the application master.

mod driver;
mod environment;
mod feed;
mod link;
mod logs;
mod package;
mod runner;
mod server;
mod setting;
mod shim;
mod trainer;
mod upload;

use std::process;

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|verb| verb == shim::VERB) {
        let Err(error) = shim::run(arguments);
        eprintln!("yarn-ml-agent: {error:#}");
        process::exit(127);
    }
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("YARN_ML_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,hdfs_native=warn")),
        )
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    // Nothing else in this process chooses a provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // One thread: the trainer dies with the thread that forked it, and that is the main one.
    let ended =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anyhow::Error::from).and_then(
            |runtime| {
                let code = runtime.block_on(driver::run());
                // A feed that waits in a system call is not waited for.
                runtime.shutdown_background();
                code
            },
        );
    process::exit(ended.unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        yarn_ml_protocol::exit::ExitCode::Internal.code()
    }));
}
