//! Tokens and secrets, and the files they travel in (`org.apache.hadoop.security.Credentials`).

use std::{collections::BTreeMap, fmt};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use prost::Message;
use thiserror::Error;

use crate::proto::common::{CredentialsProto, TokenProto};

/// Kind of the token by which an application master speaks to its ResourceManager.
pub const AM_RM_TOKEN: &str = "YARN_AM_RM_TOKEN";

const MAGIC: &[u8; 4] = b"HDTS";
/// Longest field of a token file that is believed.
const MAX_FIELD: usize = 16 << 20;

#[derive(Clone, PartialEq, Eq, Default)]
pub struct Token {
    pub identifier: Vec<u8>,
    pub password: Vec<u8>,
    pub kind: String,
    pub service: String,
}

/// Aliases are free names; what counts of a token is its kind.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Credentials {
    pub tokens: BTreeMap<String, Token>,
    pub secrets: BTreeMap<String, Secret>,
}

/// Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CredentialsError {
    #[error("the credentials begin with {found:02x?}, and not with HDTS")]
    Magic { found: Vec<u8> },
    #[error("the credentials have format {found}; allowed are 0 (Writable) and 1 (protobuf)")]
    Format { found: u8 },
    #[error("the credentials are damaged at byte {at}: {what}")]
    Damaged { at: usize, what: &'static str },
    #[error("the token is not URL-safe base64")]
    Base64,
}

impl Credentials {
    /// Reads either format; zeros after the end are ignored.
    pub fn read(bytes: &[u8]) -> Result<Self, CredentialsError> {
        let (magic, rest) = bytes.split_at(bytes.len().min(4));
        if magic != MAGIC {
            return Err(CredentialsError::Magic { found: magic.to_vec() });
        }
        match rest.split_first() {
            Some((0, _)) => Self::read_writable(&mut Reader { bytes, at: 5 }),
            Some((1, rest)) => Self::read_proto(rest),
            Some((found, _)) => Err(CredentialsError::Format { found: *found }),
            None => Err(CredentialsError::Damaged { at: 4, what: "the format is missing" }),
        }
    }

    fn read_writable(reader: &mut Reader<'_>) -> Result<Self, CredentialsError> {
        let mut credentials = Self::default();
        for _ in 0..reader.length("number of tokens")? {
            let alias = reader.text("alias of a token")?;
            credentials.tokens.insert(alias, reader.token()?);
        }
        for _ in 0..reader.length("number of secrets")? {
            let alias = reader.text("alias of a secret")?;
            let secret = reader.field("secret")?.to_vec();
            credentials.secrets.insert(alias, Secret(secret));
        }
        Ok(credentials)
    }

    fn read_proto(bytes: &[u8]) -> Result<Self, CredentialsError> {
        let proto = CredentialsProto::decode_length_delimited(bytes)
            .map_err(|_| CredentialsError::Damaged { at: 5, what: "it is no CredentialsProto" })?;
        let tokens = proto.tokens.into_iter().filter_map(|kv| Some((kv.alias, kv.token?.into())));
        let secrets = proto.secrets.into_iter().filter_map(|kv| Some((kv.alias, Secret(kv.secret?))));
        Ok(Self { tokens: tokens.collect(), secrets: secrets.collect() })
    }

    /// The format that every Hadoop reads.
    pub fn to_writable(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(0);
        write_vint(&mut out, self.tokens.len() as i64);
        for (alias, token) in &self.tokens {
            write_field(&mut out, alias.as_bytes());
            token.write(&mut out);
        }
        write_vint(&mut out, self.secrets.len() as i64);
        for (alias, secret) in &self.secrets {
            write_field(&mut out, alias.as_bytes());
            write_field(&mut out, &secret.0);
        }
        out
    }

    pub fn of_kind(&self, kind: &str) -> Option<&Token> {
        self.tokens.values().find(|token| token.kind == kind)
    }

    pub fn without_kind(mut self, kind: &str) -> Self {
        self.tokens.retain(|_, token| token.kind != kind);
        self
    }

    /// Secrets as plain bytes by alias.
    pub fn secret_bytes(&self) -> BTreeMap<String, Vec<u8>> {
        self.secrets.iter().map(|(alias, secret)| (alias.clone(), secret.0.clone())).collect()
    }
}

impl Token {
    /// `Token.encodeToUrlString`, as REST submission takes it.
    pub fn encode_to_url_string(&self) -> String {
        let mut out = Vec::new();
        self.write(&mut out);
        BASE64_URL_SAFE_NO_PAD.encode(out)
    }

    pub fn decode_from_url_string(text: &str) -> Result<Self, CredentialsError> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| CredentialsError::Base64)?;
        Reader { bytes: &bytes, at: 0 }.token()
    }

    fn write(&self, out: &mut Vec<u8>) {
        for field in [&self.identifier[..], &self.password, self.kind.as_bytes(), self.service.as_bytes()] {
            write_field(out, field);
        }
    }
}

impl From<TokenProto> for Token {
    fn from(proto: TokenProto) -> Self {
        Self { identifier: proto.identifier, password: proto.password, kind: proto.kind, service: proto.service }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("kind", &self.kind).field("service", &self.service).finish_non_exhaustive()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn damaged(&self, what: &'static str) -> CredentialsError {
        CredentialsError::Damaged { at: self.at, what }
    }

    fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], CredentialsError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| self.damaged(what))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// Hadoop's `WritableUtils.readVInt`.
    fn vint(&mut self, what: &'static str) -> Result<i64, CredentialsError> {
        // `take` returned one byte.
        let first = self.take(1, what)?[0].cast_signed();
        if first >= -112 {
            return Ok(i64::from(first));
        }
        let (count, negative) =
            if first < -120 { (-120 - i32::from(first), true) } else { (-112 - i32::from(first), false) };
        let bytes = self.take(count as usize, what)?;
        let value = bytes.iter().fold(0i64, |value, byte| value << 8 | i64::from(*byte));
        Ok(if negative { !value } else { value })
    }

    fn length(&mut self, what: &'static str) -> Result<usize, CredentialsError> {
        let length = self.vint(what)?;
        usize::try_from(length).ok().filter(|n| *n <= MAX_FIELD).ok_or_else(|| self.damaged(what))
    }

    fn field(&mut self, what: &'static str) -> Result<&'a [u8], CredentialsError> {
        let length = self.length(what)?;
        self.take(length, what)
    }

    fn text(&mut self, what: &'static str) -> Result<String, CredentialsError> {
        let field = self.field(what)?;
        String::from_utf8(field.to_vec()).map_err(|_| self.damaged(what))
    }

    fn token(&mut self) -> Result<Token, CredentialsError> {
        Ok(Token {
            identifier: self.field("identifier of a token")?.to_vec(),
            password: self.field("password of a token")?.to_vec(),
            kind: self.text("kind of a token")?,
            service: self.text("service of a token")?,
        })
    }
}

fn write_field(out: &mut Vec<u8>, field: &[u8]) {
    write_vint(out, field.len() as i64);
    out.extend_from_slice(field);
}

/// Hadoop's `WritableUtils.writeVLong`.
fn write_vint(out: &mut Vec<u8>, value: i64) {
    if (-112..=127).contains(&value) {
        out.push(value as u8);
        return;
    }
    let (magnitude, base) = if value < 0 { (!value, -120i32) } else { (value, -112) };
    let length = (64 - magnitude.leading_zeros()).div_ceil(8) as usize;
    out.push((base - length as i32) as u8);
    out.extend_from_slice(&magnitude.to_be_bytes()[8 - length..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(n: usize) -> Token {
        Token { identifier: vec![7; n], password: vec![8; 20], kind: AM_RM_TOKEN.into(), service: "127.0.0.1:1".into() }
    }

    #[test]
    fn both_formats_are_read_and_padding_ignored() {
        let mut credentials = Credentials::default();
        credentials.tokens.insert(String::new(), token(300));
        credentials.secrets.insert("key".into(), Secret(vec![1, 2, 3]));
        let mut bytes = credentials.to_writable();
        bytes.extend([0; 100]);
        assert_eq!(Credentials::read(&bytes).unwrap(), credentials);
        let t = token(300);
        let kv = crate::proto::common::CredentialsKvProto {
            alias: String::new(),
            token: Some(TokenProto {
                identifier: t.identifier,
                password: t.password,
                kind: t.kind,
                service: t.service,
            }),
            secret: None,
        };
        let proto = CredentialsProto { tokens: vec![kv], secrets: vec![] };
        let mut bytes = b"HDTS\x01".to_vec();
        bytes.extend(proto.encode_length_delimited_to_vec());
        assert_eq!(Credentials::read(&bytes).unwrap().tokens[""], token(300));
        assert!(Credentials::read(&bytes).unwrap().without_kind(AM_RM_TOKEN).tokens.is_empty());
    }

    #[test]
    fn a_token_goes_through_its_url_form_and_is_never_printed() {
        let t = token(40);
        assert_eq!(Token::decode_from_url_string(&t.encode_to_url_string()).unwrap(), t);
        assert!(!format!("{t:?} {:?}", Secret(vec![9; 5])).contains("9, 9"));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200), format in 0u8..3) {
            let _ = Credentials::read(&bytes);
            let mut framed = b"HDTS".to_vec();
            framed.push(format);
            framed.append(&mut bytes);
            let _ = Credentials::read(&framed);
        }

        #[test]
        fn numbers_go_through_vints(value: i64) {
            let mut out = Vec::new();
            write_vint(&mut out, value);
            let mut reader = Reader { bytes: &out, at: 0 };
            prop_assert_eq!(reader.vint("n").unwrap(), value);
            prop_assert_eq!(reader.at, out.len());
        }
    }
}
