//! The application master: drives `yarn-ml-am-core` against the ResourceManager and the NodeManagers, or against this machine,
//! and against agents and clients. A state machine of one's own is a crate that calls [`run`] with it.

pub mod backend;
mod driver;
mod enumerate;
mod launch;
mod server;
mod setting;

pub use driver::run;
pub use setting::Setting;

use yarn_ml_am_core::JobStateMachine;

/// `main` of an application master; `machine` replaces the one that the job's type names. Returns the exit code.
pub fn main(machine: Option<Box<dyn JobStateMachine>>) -> i32 {
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
    // One thread: children of the local backend die with the thread that forked them, and it is the main one.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "failed to start Tokio");
            return yarn_ml_protocol::exit::ExitCode::Internal.code();
        }
    };
    let ended = runtime.block_on(async {
        let setting = Setting::from_environment()?;
        run(setting, machine).await
    });
    match ended {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            yarn_ml_protocol::exit::ExitCode::Internal.code()
        }
    }
}
