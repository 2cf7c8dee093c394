//! The pluggable part: what kind of job this is.

use yarn_ml_protocol::{ids::Rank, job::JobType, report::RankState};

use crate::{Generic, TensorFlowBatch};

/// Decides, and does nothing else: it cannot start a container, break an epoch or spend a budget. The core carries out what is
/// decided as far as it makes sense, and drops the rest.
pub trait JobStateMachine: Send {
    fn on_notice(&mut self, view: &JobView<'_>, notice: &Notice) -> Vec<Decision>;
}

/// Every rank and where it stands, roles in the order of the job file.
#[derive(Clone, Copy, Debug)]
pub struct JobView<'a> {
    pub ranks: &'a [RankView],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankView {
    pub rank: Rank,
    pub state: RankState,
    /// Of the trainer's last run.
    pub exit_code: Option<i32>,
    /// The core ended it on a decision.
    pub stop_ordered: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Every rank has an agent that waits.
    AllAttached,
    TrainerExited {
        rank: Rank,
        exit_code: i32,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Only ranks which wait are started.
    StartTrainers { roles: Vec<String> },
    /// SIGTERM, grace, SIGKILL; such an exit is no failure.
    StopTrainers { roles: Vec<String> },
    /// The exit of this rank fails the job.
    FailOn { rank: Rank },
    /// Every trainer has done its work. Samples are audited before the job counts as finished.
    Succeed,
}

pub fn machine_for(job_type: JobType) -> Box<dyn JobStateMachine> {
    match job_type {
        JobType::TensorFlowBatch => Box::new(TensorFlowBatch),
        JobType::Generic => Box::new(Generic),
    }
}

impl JobView<'_> {
    pub fn roles(&self) -> Vec<String> {
        let mut roles: Vec<String> = Vec::new();
        for view in self.ranks {
            if roles.last() != Some(&view.rank.role) {
                roles.push(view.rank.role.clone());
            }
        }
        roles
    }

    pub fn role<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a RankView> {
        self.ranks.iter().filter(move |view| view.rank.role == role)
    }

    pub fn has(&self, role: &str) -> bool {
        self.role(role).next().is_some()
    }

    /// Every trainer of the role has ended, and none of them badly.
    pub fn is_done(&self, role: &str) -> bool {
        self.role(role).all(|view| view.state == RankState::Exited && (view.stop_ordered || view.exit_code == Some(0)))
    }
}
