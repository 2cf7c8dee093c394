//! The certificate authority of one job. It exists while the client submits; only its certificate and three leaves outlive
//! that moment. Leaves carry logical names (`am.<application id>`) instead of host names, so that no address has to be known.

use std::{collections::BTreeMap, fmt};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use thiserror::Error;
use yarn_ml_protocol::ids::ApplicationId;

/// Who may speak on the control channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Leaf {
    Am,
    Agent,
    Client,
}

/// Certificate of the authority, and one leaf with its key. All PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    pub leaf: Leaf,
    pub ca: String,
    pub certificate: String,
    pub key: String,
}

#[derive(Debug, Error)]
pub enum PkiError {
    #[error("failed to make the certificates of the job")]
    Generate(#[from] rcgen::Error),
    #[error("the credentials hold no secret `{alias}`; found {found}")]
    Missing { alias: String, found: String },
    #[error("the secret `{alias}` is not UTF-8")]
    NotText { alias: String },
}

/// Makes the authority and its leaves; the authority's key is dropped on return.
pub fn generate(application: &ApplicationId) -> Result<[Identity; 3], PkiError> {
    let authority_key = KeyPair::generate()?;
    let mut params = named("authority", application);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = params.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(params, authority_key);
    let leaf = |leaf: Leaf| -> Result<Identity, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = named(leaf.name(), application);
        params.subject_alt_names = vec![rcgen::SanType::DnsName(leaf.server_name(application).as_str().try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Ok(Identity {
            leaf,
            ca: ca.clone(),
            certificate: params.signed_by(&key, &issuer)?.pem(),
            key: key.serialize_pem(),
        })
    };
    Ok([leaf(Leaf::Am)?, leaf(Leaf::Agent)?, leaf(Leaf::Client)?])
}

/// Clocks of nodes differ and jobs run for weeks: the certificates do not expire before the job's credentials are gone.
fn named(name: &str, application: &ApplicationId) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("yarn-ml {name} of {application}"));
    params
}

impl Leaf {
    pub const ALL: [Leaf; 3] = [Leaf::Am, Leaf::Agent, Leaf::Client];

    pub fn name(self) -> &'static str {
        match self {
            Self::Am => "am",
            Self::Agent => "agent",
            Self::Client => "client",
        }
    }

    /// `am.application-1700000000000-0001`: host names know no underscore.
    pub fn server_name(self, application: &ApplicationId) -> String {
        format!("{}.{}", self.name(), application.0.replace('_', "-"))
    }

    fn alias(self, what: &str) -> String {
        format!("yarn-ml.{}.{what}", self.name())
    }
}

const CA_ALIAS: &str = "yarn-ml.ca";

impl Identity {
    /// As secrets of a Hadoop credentials file.
    pub fn to_secrets(&self) -> BTreeMap<String, Vec<u8>> {
        BTreeMap::from([
            (CA_ALIAS.to_owned(), self.ca.clone().into_bytes()),
            (self.leaf.alias("certificate"), self.certificate.clone().into_bytes()),
            (self.leaf.alias("key"), self.key.clone().into_bytes()),
        ])
    }

    /// Finds one leaf among the secrets of a credentials file.
    pub fn from_secrets(leaf: Leaf, secrets: &BTreeMap<String, Vec<u8>>) -> Result<Self, PkiError> {
        let text = |alias: &str| {
            let bytes = secrets.get(alias).ok_or_else(|| PkiError::Missing {
                alias: alias.to_owned(),
                found: if secrets.is_empty() {
                    "none".to_owned()
                } else {
                    secrets.keys().cloned().collect::<Vec<_>>().join(", ")
                },
            })?;
            String::from_utf8(bytes.clone()).map_err(|_| PkiError::NotText { alias: alias.to_owned() })
        };
        Ok(Self {
            leaf,
            ca: text(CA_ALIAS)?,
            certificate: text(&leaf.alias("certificate"))?,
            key: text(&leaf.alias("key"))?,
        })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("leaf", &self.leaf).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_survives_the_credentials_and_brings_nobody_elses_key() {
        let application = ApplicationId("application_1700000000000_0001".into());
        let [am, agent, _] = generate(&application).unwrap();
        let secrets = agent.to_secrets();
        assert_eq!(Identity::from_secrets(Leaf::Agent, &secrets).unwrap(), agent);
        let missing = Identity::from_secrets(Leaf::Am, &secrets).unwrap_err().to_string();
        assert!(missing.contains("yarn-ml.am.certificate"), "{missing}");
        assert!(secrets.values().all(|v| v != am.key.as_bytes()));
        assert!(!format!("{am:?}").contains("PRIVATE"));
    }
}
