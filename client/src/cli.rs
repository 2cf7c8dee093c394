//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[derive(Debug, Parser)]
#[command(
    name = "yarn-ml",
    version,
    about = "Machine-learning jobs on Hadoop YARN, without a JVM of their own",
    after_help = "Start here:\n  yarn-ml run examples/hello/job.yaml      one machine, no Hadoop needed\n  yarn-ml check job.yaml                   is the job right, and does it fit the cluster?\n  yarn-ml submit job.yaml                  run it on the cluster of HADOOP_CONF_DIR, and follow it\n\nData goes to standard output, everything else to standard error. Exit codes: docs/exit-codes.md."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// What goes to standard output.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Folder with core-site.xml, hdfs-site.xml and yarn-site.xml; otherwise HADOOP_CONF_DIR and the usual places.
    #[arg(long, global = true, value_name = "FOLDER")]
    pub conf: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Master {
    /// The cluster of the Hadoop configuration.
    Yarn,
    /// This machine.
    Local,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Put a job on the cluster and follow it to its end.
    #[command(
        after_help = "Prints the application id first. Ctrl-C leaves the job running and says how to follow or kill it."
    )]
    Submit(Submit),
    /// Run a job on this machine: the same as `submit --master local`.
    #[command(after_help = "The first Ctrl-C lets the job end by itself, the second one kills it. Nothing survives.")]
    Run(Run),
    /// Show the state of a job.
    Status(Application),
    /// Kill a job, and wait until it is dead.
    Kill(Application),
    /// Show the logs of a job: of a local one always, of a cluster's while it runs.
    Logs(Logs),
    /// Is the job file right, does it fit, and can its data be read? Submits nothing.
    Check(Check),
    /// Print the job as it would run: defaults, schemas, memory of each container.
    Explain(Check),
}

#[derive(Debug, Args)]
pub struct JobFile {
    /// The job file, YAML or JSON.
    pub job: PathBuf,
    /// Override a key of the job file: `--set roles.worker.instances=5`. May be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Submit {
    #[command(flatten)]
    pub file: JobFile,
    #[arg(long, value_enum, default_value_t = Master::Yarn)]
    pub master: Master,
    /// Return as soon as the cluster has accepted the job.
    #[arg(long)]
    pub detach: bool,
    /// Write the final report to this file as well.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub file: JobFile,
    /// Return as soon as the job has started.
    #[arg(long)]
    pub detach: bool,
    /// Write the final report to this file as well.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Application {
    /// `application_…`, or `local_…` of a job on this machine.
    pub id: String,
}

#[derive(Debug, Args)]
pub struct Logs {
    /// `application_…`, or `local_…` of a job on this machine.
    pub id: String,
    /// Only this rank: `worker:1`, or every rank of a role: `worker`.
    #[arg(long)]
    pub rank: Option<String>,
    /// Only this container.
    #[arg(long, value_name = "CONTAINER")]
    pub container: Option<String>,
    /// Only files of this name, such as `stderr`.
    #[arg(long, value_name = "NAME")]
    pub file: Option<String>,
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    pub file: JobFile,
    #[arg(long, value_enum, default_value_t = Master::Yarn)]
    pub master: Master,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
