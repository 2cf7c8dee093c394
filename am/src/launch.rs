//! How an agent is started.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use hadoop_rpc::{
    Credentials,
    credentials::{AM_RM_TOKEN, Secret},
};
use yarn_ml_control::pki::{Identity, Leaf};
use yarn_ml_fs::Location;
use yarn_ml_protocol::{
    ids::Rank,
    plan::{HADOOP_CONF_FILE, Master, PLAN_FILE, Resource, ResourceKind, Visibility},
};

use crate::{backend::Launch, setting::Setting};

pub const AGENT: &str = "yarn-ml-agent";

/// What every agent's container has in common.
pub struct Launcher {
    resources: Vec<Resource>,
    credentials: Credentials,
    environment: BTreeMap<String, String>,
}

impl Launcher {
    pub async fn new(setting: &Setting) -> Result<Self> {
        let mut resources = setting.plan.resources.clone();
        let mut shipped = vec![PLAN_FILE];
        if setting.plan.master == Master::Yarn {
            shipped.push(HADOOP_CONF_FILE);
        }
        for name in shipped {
            let location = Location::parse(&setting.plan.staging)?.join(name);
            let found = setting.files.at(&location)?.status(&location.path).await?;
            resources.push(Resource {
                name: name.to_owned(),
                uri: location.to_string(),
                size: found.length,
                modification_time: found.modification_time,
                kind: ResourceKind::File,
                visibility: Visibility::Application,
            });
        }
        let mut environment = BTreeMap::from([("USER".to_owned(), setting.plan.user.clone())]);
        if let Ok(filter) = std::env::var("YARN_ML_LOG") {
            environment.insert("YARN_ML_LOG".to_owned(), filter);
        }
        if setting.configuration.get("hadoop.security.authentication")?.as_deref() == Some("simple") {
            environment.insert("HADOOP_USER_NAME".to_owned(), setting.plan.user.clone());
        }
        Ok(Self { resources, credentials: for_agents(&setting.credentials)?, environment })
    }

    pub fn launch(&self, _rank: &Rank) -> Launch {
        Launch {
            command: format!("./{AGENT} 1><LOG_DIR>/agent.stdout 2><LOG_DIR>/agent.stderr"),
            environment: self.environment.clone(),
            resources: self.resources.clone(),
            credentials: self.credentials.clone(),
        }
    }
}

/// Without the AM's own leaf, the submitter's, and the token that speaks to the ResourceManager.
fn for_agents(all: &Credentials) -> Result<Credentials> {
    let agent = Identity::from_secrets(Leaf::Agent, &all.secret_bytes())
        .context("the credentials of the application master have no leaf for agents")?;
    let mut credentials = all.clone().without_kind(AM_RM_TOKEN);
    credentials.secrets = agent.to_secrets().into_iter().map(|(alias, bytes)| (alias, Secret(bytes))).collect();
    Ok(credentials)
}

#[cfg(test)]
mod tests {
    use hadoop_rpc::Token;
    use yarn_ml_control::pki;
    use yarn_ml_protocol::ids::ApplicationId;

    use super::*;

    #[test]
    fn an_agent_gets_its_own_leaf_and_no_key_of_the_application_masters() {
        let identities = pki::generate(&ApplicationId("application_1_0001".into())).unwrap();
        let mut all = Credentials::default();
        for identity in &identities {
            all.secrets.extend(identity.to_secrets().into_iter().map(|(alias, bytes)| (alias, Secret(bytes))));
        }
        all.tokens.insert("rm".into(), Token { kind: AM_RM_TOKEN.into(), ..Token::default() });
        all.tokens.insert("hdfs".into(), Token { kind: "HDFS_DELEGATION_TOKEN".into(), ..Token::default() });
        let given = for_agents(&all).unwrap();
        assert_eq!(given.tokens.keys().collect::<Vec<_>>(), ["hdfs"]);
        assert!(Identity::from_secrets(Leaf::Agent, &given.secret_bytes()).is_ok());
        assert!(Identity::from_secrets(Leaf::Am, &given.secret_bytes()).is_err());
        assert!(Identity::from_secrets(Leaf::Client, &given.secret_bytes()).is_err());
    }
}
