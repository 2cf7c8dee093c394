//! A TensorFlow cluster that trains to the end of its data.
//!
//! ```text
//!   all attached ─▶ start every role
//!   chief (or, without one, every worker) exits with 0 ─▶ stop the others, whose servers never end by themselves ─▶ finished
//!   any other exit ≠ 0 ─▶ failed: the survivors would not even notice
//! ```

use yarn_ml_protocol::report::RankState;

use crate::machine::{Decision, JobStateMachine, JobView, Notice};

#[derive(Clone, Copy, Debug, Default)]
pub struct TensorFlowBatch;

impl JobStateMachine for TensorFlowBatch {
    fn on_notice(&mut self, view: &JobView<'_>, notice: &Notice) -> Vec<Decision> {
        let leading = if view.has("chief") { "chief" } else { "worker" };
        match notice {
            Notice::AllAttached => vec![Decision::StartTrainers { roles: view.roles() }],
            Notice::TrainerExited { rank, exit_code } => {
                let ordered = view.ranks.iter().any(|v| v.rank == *rank && v.stop_ordered);
                if *exit_code != 0 && !ordered {
                    return vec![Decision::FailOn { rank: rank.clone() }];
                }
                let roles = view.roles();
                if roles.iter().all(|role| view.is_done(role)) {
                    return vec![Decision::Succeed];
                }
                let others: Vec<String> = roles
                    .into_iter()
                    .filter(|role| role != leading)
                    .filter(|role| view.role(role).any(|v| v.state == RankState::Running && !v.stop_ordered))
                    .collect();
                if view.is_done(leading) && !others.is_empty() {
                    vec![Decision::StopTrainers { roles: others }]
                } else {
                    Vec::new()
                }
            }
        }
    }
}
