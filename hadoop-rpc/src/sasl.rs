//! Who are we? The negotiation before the first call (`SaslRpcClient`). Pure: messages in, messages out.
//!
//! ```text
//!   Start ─NEGOTIATE▶ ◀NEGOTIATE(list)─ choose ─INITIATE▶ ◀CHALLENGE─ ─RESPONSE▶ … ◀SUCCESS─ Done
//!                     ◀SUCCESS── the server asks for nothing: Done, as SIMPLE
//! ```

use thiserror::Error;

use crate::{
    credentials::Token,
    digest::{DigestError, Exchange},
    proto::common::{RpcSaslProto, SaslAuth, SaslState},
};

/// One way to prove who we are.
pub trait Mechanism: Send {
    /// Name of the method and of the mechanism in the server's list.
    fn offers(&self, auth: &SaslAuth) -> bool;

    /// The first token, from the challenge in the server's list if it has one.
    fn initiate(&mut self, auth: &SaslAuth) -> Result<Vec<u8>, SaslError>;

    /// The answer to a challenge.
    fn evaluate(&mut self, challenge: &[u8]) -> Result<Vec<u8>, SaslError>;

    /// The server's last word.
    fn complete(&mut self, last: Option<&[u8]>) -> Result<(), SaslError>;
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SaslError {
    #[error("the server accepts {offered}, and this client has {ours}")]
    NoCommonMechanism { offered: String, ours: String },
    #[error("the server asks for no authentication, and this client does not trust such a server")]
    SimpleRefused,
    #[error("the server sent {found} when {expected} was due")]
    Unexpected { found: String, expected: &'static str },
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// A delegation token over DIGEST-MD5.
pub struct TokenDigest {
    token: Token,
    cnonce: String,
    exchange: Option<Exchange>,
}

impl TokenDigest {
    /// `cnonce`: random text, new for each connection.
    pub fn new(token: Token, cnonce: String) -> Self {
        Self { token, cnonce, exchange: None }
    }
}

impl Mechanism for TokenDigest {
    fn offers(&self, auth: &SaslAuth) -> bool {
        auth.method == "TOKEN" && auth.mechanism == "DIGEST-MD5"
    }

    fn initiate(&mut self, auth: &SaslAuth) -> Result<Vec<u8>, SaslError> {
        let uri = format!(
            "{}/{}",
            auth.protocol.as_deref().unwrap_or_default(),
            auth.server_id.as_deref().unwrap_or_default()
        );
        let challenge = auth.challenge.as_deref().ok_or(DigestError::Missing("challenge"))?;
        let exchange = Exchange::new(challenge, &self.token, &uri, &self.cnonce)?;
        Ok(self.exchange.insert(exchange).response())
    }

    fn evaluate(&mut self, challenge: &[u8]) -> Result<Vec<u8>, SaslError> {
        // Some servers send the proof as a challenge and want an empty answer.
        self.complete(Some(challenge))?;
        Ok(Vec::new())
    }

    fn complete(&mut self, last: Option<&[u8]>) -> Result<(), SaslError> {
        let exchange = self.exchange.as_ref().ok_or(DigestError::Untrusted)?;
        exchange.verify(last.unwrap_or_default())?;
        Ok(())
    }
}

#[derive(Debug, PartialEq)]
pub enum Step {
    Send(RpcSaslProto),
    /// Send this, and go on without an answer.
    SendAndFinish(RpcSaslProto),
    Finished,
}

pub struct Negotiation {
    mechanisms: Vec<Box<dyn Mechanism>>,
    /// A server which asks for nothing is accepted.
    allow_simple: bool,
    chosen: Option<usize>,
}

impl Negotiation {
    pub fn new(mechanisms: Vec<Box<dyn Mechanism>>, allow_simple: bool) -> Self {
        Self { mechanisms, allow_simple, chosen: None }
    }

    pub fn begin(&self) -> RpcSaslProto {
        message(SaslState::Negotiate, None)
    }

    pub fn on_message(&mut self, received: RpcSaslProto) -> Result<Step, SaslError> {
        let state = received.state();
        match (self.chosen, state) {
            (None, SaslState::Negotiate) => self.choose(received.auths),
            (None, SaslState::Success) => {
                if self.allow_simple {
                    Ok(Step::Finished)
                } else {
                    Err(SaslError::SimpleRefused)
                }
            }
            (Some(at), SaslState::Challenge) => {
                let answer = self.mechanisms[at].evaluate(received.token.as_deref().unwrap_or_default())?;
                Ok(Step::Send(message(SaslState::Response, Some(answer))))
            }
            (Some(at), SaslState::Success) => {
                self.mechanisms[at].complete(received.token.as_deref())?;
                Ok(Step::Finished)
            }
            (None, _) => Err(unexpected(state, "NEGOTIATE or SUCCESS")),
            (Some(_), _) => Err(unexpected(state, "CHALLENGE or SUCCESS")),
        }
    }

    /// The first entry of the server's list that we can satisfy; it is sent back as it came, without its challenge.
    fn choose(&mut self, auths: Vec<SaslAuth>) -> Result<Step, SaslError> {
        for auth in &auths {
            if auth.method == "SIMPLE" && self.allow_simple {
                let mut step = message(SaslState::Initiate, None);
                step.auths = vec![auth.clone()];
                return Ok(Step::SendAndFinish(step));
            }
            let Some(at) = self.mechanisms.iter().position(|m| m.offers(auth)) else {
                continue;
            };
            let token = self.mechanisms[at].initiate(auth)?;
            self.chosen = Some(at);
            let mut step = message(SaslState::Initiate, Some(token));
            step.auths = vec![SaslAuth { challenge: None, ..auth.clone() }];
            return Ok(Step::Send(step));
        }
        let offered: Vec<String> = auths.iter().map(|a| format!("{}/{}", a.method, a.mechanism)).collect();
        Err(SaslError::NoCommonMechanism {
            offered: if offered.is_empty() { "nothing".into() } else { offered.join(", ") },
            ours: if self.mechanisms.is_empty() { "SIMPLE".into() } else { "TOKEN/DIGEST-MD5".into() },
        })
    }
}

fn message(state: SaslState, token: Option<Vec<u8>>) -> RpcSaslProto {
    RpcSaslProto { version: None, state: state.into(), token, auths: Vec::new() }
}

fn unexpected(found: SaslState, expected: &'static str) -> SaslError {
    SaslError::Unexpected { found: format!("{found:?}").to_uppercase(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(method: &str, mechanism: &str) -> SaslAuth {
        SaslAuth {
            method: method.into(),
            mechanism: mechanism.into(),
            protocol: Some(String::new()),
            server_id: Some("default".into()),
            challenge: Some(br#"realm="default",nonce="n",qop="auth",algorithm=md5-sess"#.to_vec()),
        }
    }

    fn negotiation() -> Negotiation {
        let token = Token { identifier: b"id".to_vec(), password: b"pw".to_vec(), ..Token::default() };
        Negotiation::new(vec![Box::new(TokenDigest::new(token, "c".into()))], false)
    }

    fn list(auths: Vec<SaslAuth>) -> RpcSaslProto {
        RpcSaslProto { auths, ..message(SaslState::Negotiate, None) }
    }

    #[test]
    fn the_chosen_entry_goes_back_as_it_came_without_its_challenge() {
        let mut ours = negotiation();
        let entry = offer("TOKEN", "DIGEST-MD5");
        let step = ours.on_message(list(vec![offer("KERBEROS", "GSSAPI"), entry.clone()])).unwrap();
        let Step::Send(sent) = step else { panic!("{step:?}") };
        assert_eq!(sent.auths, [SaslAuth { challenge: None, ..entry }]);
        let forged = RpcSaslProto { token: Some(b"rspauth=0".to_vec()), ..message(SaslState::Success, None) };
        assert_eq!(ours.on_message(forged), Err(SaslError::Digest(DigestError::Untrusted)));
    }

    #[test]
    fn a_server_that_asks_for_nothing_is_not_trusted_with_a_token() {
        assert_eq!(negotiation().on_message(message(SaslState::Success, None)), Err(SaslError::SimpleRefused));
        let error = negotiation().on_message(list(vec![offer("KERBEROS", "GSSAPI")])).unwrap_err();
        assert!(error.to_string().contains("KERBEROS/GSSAPI"), "{error}");
        assert!(negotiation().on_message(message(SaslState::Wrap, None)).is_err());
    }
}
