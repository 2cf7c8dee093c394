//! DIGEST-MD5 (RFC 2831) as Hadoop's tokens use it, quality of protection `auth`.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use md5::{Digest, Md5};
use thiserror::Error;

use crate::credentials::Token;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DigestError {
    #[error("the digest challenge is malformed at byte {at}")]
    Malformed { at: usize },
    #[error("the digest challenge has no `{0}`")]
    Missing(&'static str),
    #[error(
        "the server offers the protection `{offered}`; this client speaks `auth` (hadoop.rpc.protection=authentication)"
    )]
    Protection { offered: String },
    #[error("the server's algorithm is `{0}`; allowed is md5-sess")]
    Algorithm(String),
    #[error("the server did not prove that it knows the token")]
    Untrusted,
}

/// One exchange with a server; `cnonce` is random text of the caller's.
#[derive(Clone)]
pub struct Exchange {
    realm: String,
    nonce: String,
    cnonce: String,
    uri: String,
    user: String,
    /// MD5 of A1.
    session: [u8; 16],
}

impl Exchange {
    /// From the server's challenge. The URI is `protocol/serverId`.
    pub fn new(challenge: &[u8], token: &Token, uri: &str, cnonce: &str) -> Result<Self, DigestError> {
        let fields = parse(challenge)?;
        let field = |name: &'static str| fields.get(name).cloned().ok_or(DigestError::Missing(name));
        let (realm, nonce) = (field("realm")?, field("nonce")?);
        let offered = fields.get("qop").map_or("auth", String::as_str);
        if !offered.split(',').any(|qop| qop.trim() == "auth") {
            return Err(DigestError::Protection { offered: offered.to_owned() });
        }
        let algorithm = field("algorithm")?;
        if algorithm != "md5-sess" {
            return Err(DigestError::Algorithm(algorithm));
        }
        let user = BASE64_STANDARD.encode(&token.identifier);
        let password = BASE64_STANDARD.encode(&token.password);
        let mut a1 = md5(format!("{user}:{realm}:{password}").as_bytes()).to_vec();
        a1.extend_from_slice(format!(":{nonce}:{cnonce}").as_bytes());
        Ok(Self { realm, nonce, cnonce: cnonce.to_owned(), uri: uri.to_owned(), user, session: md5(&a1) })
    }

    /// What the client answers.
    pub fn response(&self) -> Vec<u8> {
        let Self { realm, nonce, cnonce, uri, user, .. } = self;
        let response = self.proof("AUTHENTICATE");
        format!(
            "charset=utf-8,username=\"{user}\",realm=\"{realm}\",nonce=\"{nonce}\",nc=00000001,cnonce=\"{cnonce}\",digest-uri=\"{uri}\",maxbuf=65536,response={response},qop=auth"
        )
        .into_bytes()
    }

    /// The server's last word proves that it knows the token as well.
    pub fn verify(&self, last: &[u8]) -> Result<(), DigestError> {
        let expected = format!("rspauth={}", self.proof(""));
        let differs =
            expected.len() != last.len() || expected.bytes().zip(last).fold(0, |all, (a, b)| all | (a ^ b)) != 0;
        if differs { Err(DigestError::Untrusted) } else { Ok(()) }
    }

    fn proof(&self, method: &str) -> String {
        let a2 = hex(&md5(format!("{method}:{}", self.uri).as_bytes()));
        let text = format!("{}:{}:00000001:{}:auth:{a2}", hex(&self.session), self.nonce, self.cnonce);
        hex(&md5(text.as_bytes()))
    }
}

/// `name=value` or `name="va,lue"`, separated by commas.
fn parse(challenge: &[u8]) -> Result<BTreeMap<String, String>, DigestError> {
    let text = std::str::from_utf8(challenge).map_err(|e| DigestError::Malformed { at: e.valid_up_to() })?;
    let bytes = text.as_bytes();
    let mut fields = BTreeMap::new();
    let mut at = 0;
    while at < bytes.len() {
        let begin = at;
        let equals = text[at..].find('=').map(|n| at + n).ok_or(DigestError::Malformed { at })?;
        let name = text[begin..equals].trim();
        at = equals + 1;
        let value = if bytes.get(at) == Some(&b'"') {
            at += 1;
            let mut value = String::new();
            loop {
                let c = text[at..].chars().next().ok_or(DigestError::Malformed { at })?;
                at += c.len_utf8();
                match c {
                    '"' => break,
                    '\\' => {
                        let escaped = text[at..].chars().next().ok_or(DigestError::Malformed { at })?;
                        at += escaped.len_utf8();
                        value.push(escaped);
                    }
                    c => value.push(c),
                }
            }
            value
        } else {
            let end = text[at..].find(',').map_or(text.len(), |n| at + n);
            let value = text[at..end].trim().to_owned();
            at = end;
            value
        };
        if name.is_empty() || fields.insert(name.to_owned(), value).is_some() {
            return Err(DigestError::Malformed { at: begin });
        }
        match bytes.get(at) {
            None => {}
            Some(b',') => at += 1,
            Some(_) => return Err(DigestError::Malformed { at }),
        }
    }
    Ok(fields)
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHALLENGE: &[u8] =
        br#"realm="default",nonce="OA6MG9tEQGm2hh,x",qop="auth,auth-int",charset=utf-8,algorithm=md5-sess"#;

    fn token() -> Token {
        Token { identifier: b"id".to_vec(), password: b"pw".to_vec(), ..Token::default() }
    }

    #[test]
    fn the_server_is_believed_only_with_its_proof() {
        let client = Exchange::new(CHALLENGE, &token(), "/default", "c").unwrap();
        let response = String::from_utf8(client.response()).unwrap();
        assert!(response.contains("nonce=\"OA6MG9tEQGm2hh,x\"") && response.contains("digest-uri=\"/default\""));
        let proof = format!("rspauth={}", client.proof(""));
        client.verify(proof.as_bytes()).unwrap();
        assert_eq!(client.verify(b"rspauth=00"), Err(DigestError::Untrusted));
        let other = Token { password: b"px".to_vec(), ..token() };
        let other = Exchange::new(CHALLENGE, &other, "/default", "c").unwrap();
        assert_eq!(other.verify(proof.as_bytes()), Err(DigestError::Untrusted));
    }

    /// The exchange that RFC 2831 prints in section 4, without its authzid: the proofs are public.
    #[test]
    fn the_proofs_are_those_of_the_rfc() {
        let mut a1 = md5(b"chris:elwood.innosoft.com:secret").to_vec();
        a1.extend_from_slice(b":OA6MG9tEQGm2hh:OA6MHXh6VqTrRk");
        let exchange = Exchange {
            realm: "elwood.innosoft.com".into(),
            nonce: "OA6MG9tEQGm2hh".into(),
            cnonce: "OA6MHXh6VqTrRk".into(),
            uri: "imap/elwood.innosoft.com".into(),
            user: "chris".into(),
            session: md5(&a1),
        };
        assert_eq!(exchange.proof("AUTHENTICATE"), "d388dad90d4bbd760a152321f2143af7");
        exchange.verify(b"rspauth=ea40f60335c427b5527b84dbabcdfffd").unwrap();
    }

    #[test]
    fn protection_that_is_not_spoken_is_named() {
        let challenge = br#"realm="default",nonce="n",qop="auth-conf",algorithm=md5-sess"#;
        let error = Exchange::new(challenge, &token(), "/default", "c").err().unwrap();
        assert_eq!(error, DigestError::Protection { offered: "auth-conf".into() });
    }

    proptest! {
        #[test]
        fn hostile_challenges_are_refused(text in "[a-z=\",\\\\]{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse(text.as_bytes());
            let _ = parse(&bytes);
        }
    }
}
