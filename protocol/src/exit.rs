//! Exit codes of `yarn-ml`, of the application master and of the agent. The table in docs/exit-codes.md is tested against this.

/// What the process that ends has to say by its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum ExitCode {
    Success = 0,
    /// The job ran and failed: the program, its data, or a container.
    JobFailed = 1,
    /// The job file, the command line or a file they name is wrong. Nothing was submitted.
    BadInput = 2,
    /// No Hadoop configuration was found, or it cannot be used.
    BadConfiguration = 3,
    /// The cluster refused: queue, ACL, limits, permission.
    Refused = 4,
    /// ResourceManager, NameNode or AM could not be reached.
    Unreachable = 5,
    /// The job was killed.
    Killed = 6,
    /// No such application.
    NotFound = 7,
    /// A mistake of ours; please report it.
    Internal = 70,
    /// Interrupted by Ctrl-C while following; the job goes on (YARN) or was ended (local).
    Interrupted = 130,
}

impl ExitCode {
    pub const ALL: [ExitCode; 10] = [
        Self::Success,
        Self::JobFailed,
        Self::BadInput,
        Self::BadConfiguration,
        Self::Refused,
        Self::Unreachable,
        Self::Killed,
        Self::NotFound,
        Self::Internal,
        Self::Interrupted,
    ];

    pub fn code(self) -> i32 {
        self as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_every_code_and_no_other() {
        let table = include_str!("../../docs/exit-codes.md");
        let told: Vec<i32> =
            table.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok()).collect();
        assert_eq!(told, ExitCode::ALL.map(ExitCode::code));
    }
}
