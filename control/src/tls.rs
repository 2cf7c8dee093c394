//! Mutual TLS of the control channel: settings for tonic, and who called.

use tonic::{
    Request, Status,
    service::Interceptor,
    transport::{Certificate, ClientTlsConfig, Endpoint, ServerTlsConfig},
};
use x509_parser::{extensions::GeneralName, prelude::FromDer, prelude::X509Certificate};
use yarn_ml_protocol::ids::ApplicationId;

use crate::pki::{Identity, Leaf};

/// TLS of a server which lets in only holders of a leaf of the same job.
pub fn server(identity: &Identity) -> ServerTlsConfig {
    ServerTlsConfig::new().identity(tonic_identity(identity)).client_ca_root(Certificate::from_pem(&identity.ca))
}

/// Endpoint of the holder of `peer`'s leaf at `address` (`host:port`).
pub fn endpoint(
    identity: &Identity,
    application: &ApplicationId,
    peer: Leaf,
    address: &str,
) -> Result<Endpoint, tonic::transport::Error> {
    Endpoint::from_shared(format!("https://{address}"))?
        .connect_timeout(std::time::Duration::from_secs(10))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(std::time::Duration::from_secs(10))
        .keep_alive_timeout(std::time::Duration::from_secs(20))
        .keep_alive_while_idle(true)
        .tls_config(
            ClientTlsConfig::new()
                .identity(tonic_identity(identity))
                .ca_certificate(Certificate::from_pem(&identity.ca))
                .domain_name(peer.server_name(application)),
        )
}

/// Interceptor that lets in one kind of caller and names both in its refusal.
pub fn only(allowed: Leaf, application: &ApplicationId) -> impl Interceptor + Clone + use<> {
    let application = application.clone();
    move |request: Request<()>| match caller(&request, &application) {
        Some(leaf) if leaf == allowed => Ok(request),
        Some(leaf) => Err(Status::permission_denied(format!(
            "this method is for the {} of the job, and the caller is its {}",
            allowed.name(),
            leaf.name()
        ))),
        None => Err(Status::unauthenticated("the caller shows no leaf of this job")),
    }
}

fn caller(request: &Request<()>, application: &ApplicationId) -> Option<Leaf> {
    let certificates = request.peer_certs()?;
    let (_, certificate) = X509Certificate::from_der(certificates.first()?.as_ref()).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    Leaf::ALL.into_iter().find(|leaf| {
        let expected = leaf.server_name(application);
        names.value.general_names.iter().any(|name| matches!(name, GeneralName::DNSName(n) if *n == expected))
    })
}

fn tonic_identity(identity: &Identity) -> tonic::transport::Identity {
    tonic::transport::Identity::from_pem(&identity.certificate, &identity.key)
}
