//! Where the ResourceManagers are (`HAUtil`, `YarnConfiguration.getSocketAddr`).

use crate::configuration::{Configuration, ConfigurationError};

/// One service of the ResourceManager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// `ApplicationClientProtocol`
    Client,
    /// `ApplicationMasterProtocol`
    Scheduler,
    /// REST and the web pages.
    Web,
}

impl Service {
    fn key(self, https: bool) -> (&'static str, u16) {
        match self {
            Self::Client => ("yarn.resourcemanager.address", 8032),
            Self::Scheduler => ("yarn.resourcemanager.scheduler.address", 8030),
            Self::Web if https => ("yarn.resourcemanager.webapp.https.address", 8090),
            Self::Web => ("yarn.resourcemanager.webapp.address", 8088),
        }
    }
}

/// `host:port` of the service on every ResourceManager, in the order of the configuration.
pub fn resource_managers(conf: &Configuration, service: Service) -> Result<Vec<String>, ConfigurationError> {
    let (key, port) = service.key(uses_https(conf)?);
    if !conf.get_bool("yarn.resourcemanager.ha.enabled")? {
        return Ok(vec![with_port(conf.get(key)?.unwrap_or_default(), port)]);
    }
    let ids = conf.get_list("yarn.resourcemanager.ha.rm-ids")?;
    if ids.is_empty() {
        return Err(
            conf.unexpected("yarn.resourcemanager.ha.rm-ids", "the ids of the ResourceManagers, such as rm1,rm2")
        );
    }
    ids.iter()
        .map(|id| {
            let own = conf.get(&format!("{key}.{id}"))?;
            let host = conf.get(&format!("yarn.resourcemanager.hostname.{id}"))?;
            match own.or(host) {
                Some(address) => Ok(with_port(address, port)),
                None => Err(ConfigurationError::Value {
                    key: format!("yarn.resourcemanager.hostname.{id}"),
                    value: String::new(),
                    origin: crate::Origin::Default,
                    expected: "the host of this ResourceManager",
                }),
            }
        })
        .collect()
}

/// `http://host:port` of every ResourceManager.
pub fn web_urls(conf: &Configuration) -> Result<Vec<String>, ConfigurationError> {
    let scheme = if uses_https(conf)? { "https" } else { "http" };
    let addresses = resource_managers(conf, Service::Web)?;
    Ok(addresses.into_iter().map(|address| format!("{scheme}://{address}")).collect())
}

fn uses_https(conf: &Configuration) -> Result<bool, ConfigurationError> {
    Ok(conf.get("yarn.http.policy")?.as_deref() == Some("HTTPS_ONLY"))
}

fn with_port(address: String, port: u16) -> String {
    if address.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_ok()) {
        address
    } else {
        format!("{address}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(pairs: &[(&str, &str)]) -> Configuration {
        let mut conf = Configuration::new(Default::default());
        pairs.iter().for_each(|(key, value)| conf.set(key, value));
        conf
    }

    #[test]
    fn one_resource_manager_is_built_from_its_host() {
        let conf = conf(&[("yarn.resourcemanager.hostname", "rm")]);
        assert_eq!(resource_managers(&conf, Service::Scheduler).unwrap(), ["rm:8030"]);
        assert_eq!(web_urls(&conf).unwrap(), ["http://rm:8088"]);
    }

    #[test]
    fn a_pair_is_walked_by_its_ids() {
        let conf = conf(&[
            ("yarn.resourcemanager.ha.enabled", "true"),
            ("yarn.resourcemanager.ha.rm-ids", "a, b"),
            ("yarn.resourcemanager.hostname.a", "h1"),
            ("yarn.resourcemanager.webapp.address.b", "h2:99"),
            ("yarn.resourcemanager.hostname.b", "h2"),
        ]);
        assert_eq!(web_urls(&conf).unwrap(), ["http://h1:8088", "http://h2:99"]);
        assert_eq!(resource_managers(&conf, Service::Client).unwrap(), ["h1:8032", "h2:8032"]);
    }
}
