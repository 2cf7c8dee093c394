//! What is asked of the cluster, role by role, and whether what it grants is what was asked.

use std::collections::BTreeMap;

use yarn_ml_protocol::plan::{Plan, RolePlan};

use crate::event::{Action, Container};

/// Every role has its own `allocation_request_id`, so that two shapes never overwrite each other. 0 is Java's default.
#[derive(Debug)]
pub struct Asks {
    roles: Vec<(String, RolePlan)>,
}

impl Asks {
    pub fn new(plan: &Plan) -> Self {
        Self { roles: plan.roles.iter().map(|(name, role)| (name.clone(), role.clone())).collect() }
    }

    fn id(at: usize) -> i64 {
        at as i64 + 1
    }

    /// The role that an id stands for.
    pub fn role_of(&self, allocation_request_id: i64) -> Option<&str> {
        let at = usize::try_from(allocation_request_id).ok()?.checked_sub(1)?;
        self.roles.get(at).map(|(name, _)| name.as_str())
    }

    /// Asks for `count` more of a role; YARN's count is absolute.
    pub fn ask(&self, role: &str, count: u32) -> Option<Action> {
        let (at, (_, shape)) = self.roles.iter().enumerate().find(|(_, (name, _))| name == role)?;
        Some(Action::Ask {
            allocation_request_id: Self::id(at),
            count,
            memory_mb: shape.memory.container_mb(),
            vcores: shape.vcores,
            resources: shape.resources.clone(),
        })
    }

    pub fn roles(&self) -> impl Iterator<Item = (&str, &RolePlan)> {
        self.roles.iter().map(|(name, role)| (name.as_str(), role))
    }

    /// What no cluster of this capability can ever grant.
    pub fn impossible(&self, memory_mb: u64, vcores: u32, types: &[String]) -> Option<String> {
        self.roles.iter().find_map(|(name, role)| {
            let wanted = role.memory.container_mb();
            if wanted > memory_mb {
                return Some(format!(
                    "role {name} asks for containers of {wanted} MiB, and the largest that the cluster allows is {memory_mb} MiB; lower roles.{name}.memory"
                ));
            }
            if role.vcores > vcores {
                return Some(format!(
                    "role {name} asks for {} vcores, and the cluster allows {vcores} in a container; lower roles.{name}.vcores",
                    role.vcores
                ));
            }
            let missing = role.resources.keys().find(|key| !types.contains(key))?;
            let known = if types.is_empty() { "none".to_owned() } else { types.join(", ") };
            Some(format!(
                "role {name} asks for the resource type {missing}, which the cluster does not have; it has {known}"
            ))
        })
    }

    /// What a granted container lacks of what its role asked for: YARN drops unknown resource types in silence.
    pub fn lacking(&self, role: &str, container: &Container) -> Option<String> {
        let (_, shape) = self.roles.iter().find(|(name, _)| name == role)?;
        let asked = [
            ("memory", shape.memory.container_mb(), container.memory_mb),
            ("vcores", u64::from(shape.vcores), u64::from(container.vcores)),
        ];
        let granted = |name: &String| container.resources.get(name).copied().unwrap_or(0);
        let others: BTreeMap<&String, (u64, u64)> =
            shape.resources.iter().map(|(name, n)| (name, (*n, granted(name)))).collect();
        asked
            .into_iter()
            .chain(others.into_iter().map(|(name, (asked, granted))| (name.as_str(), asked, granted)))
            // Schedulers without the dominant resource calculator grant one vcore whatever was asked.
            .find(|(name, asked, granted)| *name != "vcores" && granted < asked)
            .map(|(name, asked, granted)| {
                format!("YARN granted {granted} of {asked} {name} to a container of role {role}")
            })
    }
}
