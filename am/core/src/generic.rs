//! Programs that know nothing of each other: all start together, all must exit with 0.

use crate::machine::{Decision, JobStateMachine, JobView, Notice};

#[derive(Clone, Copy, Debug, Default)]
pub struct Generic;

impl JobStateMachine for Generic {
    fn on_notice(&mut self, view: &JobView<'_>, notice: &Notice) -> Vec<Decision> {
        match notice {
            Notice::AllAttached => vec![Decision::StartTrainers { roles: view.roles() }],
            Notice::TrainerExited { rank, exit_code } if *exit_code != 0 => {
                vec![Decision::FailOn { rank: rank.clone() }]
            }
            Notice::TrainerExited { .. } => {
                let all_done = view.roles().iter().all(|role| view.is_done(role));
                if all_done { vec![Decision::Succeed] } else { Vec::new() }
            }
        }
    }
}
