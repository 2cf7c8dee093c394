//! The table of ranks: which container, which agent, which state.

use std::time::Duration;

use serde_json::{Map, Value};
use yarn_ml_protocol::{
    ids::{ContainerId, Rank},
    messages::{Hello, RoleAddresses, Rows, TrainerExited},
    plan::Plan,
    report::RankState,
};

use crate::{event::Container, machine::RankView};

/// One rank of the job.
#[derive(Clone, Debug)]
pub struct Slot {
    pub rank: Rank,
    pub state: RankState,
    pub container: Option<Container>,
    pub agent: Option<Agent>,
    /// Of the trainer's server, once it listens.
    pub bound_port: Option<u32>,
    pub stop_ordered: bool,
    pub started: Option<Duration>,
    pub ended: Option<Duration>,
    pub rows: Rows,
    pub exit: Option<TrainerExited>,
    pub report: Map<String, Value>,
    pub agent_pss: u64,
    pub trainer_pss: u64,
    /// Its container was reported as completed.
    pub completed: bool,
}

#[derive(Clone, Debug)]
pub struct Agent {
    pub stream: u64,
    pub attached: bool,
    pub hello: Hello,
}

#[derive(Debug)]
pub struct Ranks(pub Vec<Slot>);

impl Ranks {
    pub fn new(plan: &Plan) -> Self {
        let slots = plan
            .roles
            .iter()
            .flat_map(|(role, shape)| (0..shape.instances).map(|index| Slot::new(Rank::new(role.clone(), index))));
        Self(slots.collect())
    }

    /// The rank that a container runs.
    pub fn of_container(&mut self, container: &ContainerId) -> Option<&mut Slot> {
        self.0.iter_mut().find(|slot| slot.container.as_ref().is_some_and(|c| c.id == *container))
    }

    pub fn get(&mut self, rank: &Rank) -> Option<&mut Slot> {
        self.0.iter_mut().find(|slot| slot.rank == *rank)
    }

    /// The first rank of the role that has no container.
    pub fn vacant(&mut self, role: &str) -> Option<&mut Slot> {
        self.0.iter_mut().find(|slot| slot.rank.role == role && slot.container.is_none())
    }

    pub fn views(&self) -> Vec<RankView> {
        let view = |slot: &Slot| RankView {
            rank: slot.rank.clone(),
            state: slot.state,
            exit_code: slot.exit.as_ref().map(|exit| exit.exit_code),
            stop_ordered: slot.stop_ordered,
        };
        self.0.iter().map(view).collect()
    }

    /// Addresses by role. Before every server listens, the ports are those which agents found free.
    pub fn cluster(&self) -> Vec<RoleAddresses> {
        let mut cluster: Vec<RoleAddresses> = Vec::new();
        for slot in &self.0 {
            let address = slot.address();
            match cluster.last_mut() {
                Some(role) if role.role == slot.rank.role => role.addresses.push(address),
                _ => cluster.push(RoleAddresses { role: slot.rank.role.clone(), addresses: vec![address] }),
            }
        }
        cluster
    }
}

impl Slot {
    fn new(rank: Rank) -> Self {
        Self {
            rank,
            state: RankState::Requested,
            container: None,
            agent: None,
            bound_port: None,
            stop_ordered: false,
            started: None,
            ended: None,
            rows: Rows::default(),
            exit: None,
            report: Map::new(),
            agent_pss: 0,
            trainer_pss: 0,
            completed: false,
        }
    }

    fn address(&self) -> String {
        match &self.agent {
            Some(agent) => {
                let port = self.bound_port.unwrap_or(agent.hello.trainer_port);
                format!("{}:{port}", agent.hello.host)
            }
            None => String::new(),
        }
    }

    pub fn is_attached(&self) -> bool {
        self.agent.as_ref().is_some_and(|agent| agent.attached)
    }

    pub fn node_host(&self) -> Option<String> {
        let node = &self.container.as_ref()?.node;
        Some(node.split(':').next().unwrap_or(node).to_owned())
    }
}
