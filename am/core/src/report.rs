//! How a job ends, and what it tells of itself.

use yarn_ml_protocol::{
    exit::ExitCode,
    report::{JobState, RankReport},
};

use crate::{accounting, diagnostics::Cause, event::FinalStatus, ranks::Slot};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Succeeded,
    Failed(Box<Cause>),
    Killed { reason: String },
}

impl Verdict {
    pub fn final_status(&self) -> FinalStatus {
        match self {
            Self::Succeeded => FinalStatus::Succeeded,
            Self::Failed(_) => FinalStatus::Failed,
            Self::Killed { .. } => FinalStatus::Killed,
        }
    }

    pub fn exit_code(&self) -> i32 {
        let code = match self {
            Self::Succeeded => ExitCode::Success,
            Self::Failed(_) => ExitCode::JobFailed,
            Self::Killed { .. } => ExitCode::Killed,
        };
        code.code()
    }

    pub fn diagnostics(&self) -> String {
        match self {
            Self::Succeeded => String::new(),
            Self::Failed(cause) => cause.text(),
            Self::Killed { reason } => format!("killed: {reason}"),
        }
    }

    pub fn state(&self, ended: bool) -> JobState {
        match (self, ended) {
            (Self::Succeeded, true) => JobState::Finished,
            (Self::Succeeded, false) => JobState::Executing,
            (Self::Failed(_), true) => JobState::Failed,
            (Self::Failed(_), false) => JobState::Failing,
            (Self::Killed { .. }, true) => JobState::Killed,
            (Self::Killed { .. }, false) => JobState::Canceling,
        }
    }
}

pub fn rank(slot: &Slot, now: std::time::Duration) -> RankReport {
    let ran = slot.started.map(|began| slot.ended.unwrap_or(now).saturating_sub(began));
    let text = |get: fn(&crate::event::Container) -> String| slot.container.as_ref().map(get).unwrap_or_default();
    RankReport {
        rank: slot.rank.clone(),
        container_id: text(|c| c.id.0.clone()),
        agent: slot
            .agent
            .as_ref()
            .map(|agent| format!("{}:{}", agent.hello.host, agent.hello.port))
            .unwrap_or_default(),
        node: text(|c| c.node.clone()),
        state: slot.state,
        rows: accounting::counts(slot),
        seconds: ran.unwrap_or_default().as_secs_f64(),
        exit_code: slot.exit.as_ref().map(|exit| exit.exit_code),
        logs: text(|c| c.logs.clone()),
        report: slot.report.clone(),
        agent_pss: slot.agent_pss,
        trainer_pss: slot.trainer_pss,
    }
}
