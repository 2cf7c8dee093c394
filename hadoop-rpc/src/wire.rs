//! Framing of Hadoop RPC, version 9. Pure.

use prost::Message;
use thiserror::Error;

use crate::proto::common::{
    IpcConnectionContextProto, RequestHeaderProto, RpcRequestHeaderProto, RpcResponseHeaderProto, RpcSaslProto,
    RpcStatusProto, UserInformationProto,
};

/// `ipc.maximum.response.length`
pub const MAX_RESPONSE: u32 = 128 << 20;

pub mod call_id {
    pub const CONNECTION_CONTEXT: i32 = -3;
    pub const SASL: i32 = -33;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthProtocol {
    None,
    Sasl,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    #[error("this is a web server: its port was given in place of an RPC port")]
    Http,
    #[error("the server speaks an RPC version older than 9")]
    Ancient,
    #[error("a response of {found} bytes; allowed are {MAX_RESPONSE}")]
    TooLong { found: u32 },
    #[error("a response is malformed: {0}")]
    Malformed(&'static str),
}

/// An answer to a call, or a verdict on the connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    Success { call_id: i32, body: Vec<u8> },
    Error { call_id: i32, error: RemoteError },
    Fatal { call_id: i32, error: RemoteError },
}

/// What a Java server says went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RemoteError {
    /// Full class name, what code decides by.
    pub exception_class: String,
    /// First line, for people.
    pub message: String,
    /// The rest: Java's stack.
    pub stack: String,
}

/// What opens a connection.
pub fn preamble(auth: AuthProtocol) -> [u8; 7] {
    let auth = match auth {
        AuthProtocol::None => 0x00,
        AuthProtocol::Sasl => 0xDF,
    };
    [b'h', b'r', b'p', b'c', 9, 0, auth]
}

/// A call, ready for the socket.
pub fn request(
    call_id: i32,
    client_id: &[u8; 16],
    retry: i32,
    header: &RequestHeaderProto,
    message: &impl Message,
) -> Vec<u8> {
    frame(&rpc_header(call_id, client_id, retry), |out| {
        delimited(header, out);
        delimited(message, out);
    })
}

pub fn sasl(message: &RpcSaslProto) -> Vec<u8> {
    frame(&rpc_header(call_id::SASL, &[], -1), |out| delimited(message, out))
}

/// `user` is empty for tokens: the token names its user.
pub fn connection_context(client_id: &[u8; 16], user: Option<&str>, protocol: &str) -> Vec<u8> {
    let context = IpcConnectionContextProto {
        user_info: Some(UserInformationProto { effective_user: user.map(str::to_owned), real_user: None }),
        protocol: Some(protocol.to_owned()),
    };
    frame(&rpc_header(call_id::CONNECTION_CONTEXT, client_id, -1), |out| delimited(&context, out))
}

/// Checks the four bytes in front of a response. The first of a connection may come from something that is no RPC server.
pub fn response_length(prefix: [u8; 4]) -> Result<usize, WireError> {
    match &prefix {
        b"HTTP" => return Err(WireError::Http),
        [0xFF, 0xFF, 0xFF, 0xFF] => return Err(WireError::Ancient),
        _ => {}
    }
    let found = u32::from_be_bytes(prefix);
    if found > MAX_RESPONSE {
        return Err(WireError::TooLong { found });
    }
    Ok(found as usize)
}

/// Reads a response behind its length.
pub fn response(mut bytes: &[u8]) -> Result<Response, WireError> {
    let header = RpcResponseHeaderProto::decode_length_delimited(&mut bytes)
        .map_err(|_| WireError::Malformed("it has no header"))?;
    let call_id = header.call_id.cast_signed();
    let status = RpcStatusProto::try_from(header.status).map_err(|_| WireError::Malformed("its status is unknown"))?;
    if status == RpcStatusProto::Success {
        let length =
            prost::decode_length_delimiter(bytes).map_err(|_| WireError::Malformed("its message has no length"))?;
        let begin = prost::length_delimiter_len(length);
        let body = bytes
            .get(begin..)
            .filter(|rest| rest.len() >= length)
            .ok_or(WireError::Malformed("its message is cut off"))?;
        return Ok(Response::Success { call_id, body: body[..length].to_vec() });
    }
    let text = header.error_msg.unwrap_or_default();
    let (message, stack) = text.split_once('\n').unwrap_or((&text, ""));
    let error = RemoteError {
        exception_class: header.exception_class_name.unwrap_or_default(),
        message: message.trim().to_owned(),
        stack: stack.to_owned(),
    };
    Ok(match status {
        RpcStatusProto::Fatal => Response::Fatal { call_id, error },
        _ => Response::Error { call_id, error },
    })
}

fn rpc_header(call_id: i32, client_id: &[u8], retry: i32) -> RpcRequestHeaderProto {
    RpcRequestHeaderProto {
        rpc_kind: Some(2),
        rpc_op: Some(0),
        call_id,
        client_id: client_id.to_vec(),
        retry_count: Some(retry),
    }
}

fn frame(header: &RpcRequestHeaderProto, payload: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![0; 4];
    delimited(header, &mut out);
    payload(&mut out);
    // Our own requests are far below 4 GiB.
    let length = (out.len() - 4) as u32;
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

fn delimited(message: &impl Message, out: &mut Vec<u8>) {
    out.extend(message.encode_length_delimited_to_vec());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(status: RpcStatusProto, call_id: i32, text: Option<&str>, body: &[u8]) -> Vec<u8> {
        let header = RpcResponseHeaderProto {
            call_id: call_id.cast_unsigned(),
            status: status.into(),
            server_ipc_version_num: Some(9),
            exception_class_name: text.map(|_| "java.io.IOException".into()),
            error_msg: text.map(str::to_owned),
            error_detail: None,
        };
        let mut out = header.encode_length_delimited_to_vec();
        out.extend_from_slice(body);
        out
    }

    #[test]
    fn answers_are_told_apart() {
        assert_eq!(
            response(&answer(RpcStatusProto::Success, 7, None, &[2, 8, 1])).unwrap(),
            Response::Success { call_id: 7, body: vec![8, 1] }
        );
        let error = RemoteError {
            exception_class: "java.io.IOException".into(),
            message: "no".into(),
            stack: "\tat a.b".into(),
        };
        assert_eq!(
            response(&answer(RpcStatusProto::Fatal, -33, Some("no\n\tat a.b"), &[])).unwrap(),
            Response::Fatal { call_id: -33, error }
        );
        assert!(response(&answer(RpcStatusProto::Success, 7, None, &[9, 8])).is_err());
    }

    #[test]
    fn what_is_no_rpc_server_is_recognised_before_anything_is_allocated() {
        assert_eq!(response_length(*b"HTTP"), Err(WireError::Http));
        assert_eq!(response_length([0xFF; 4]), Err(WireError::Ancient));
        assert_eq!(response_length([0x7F, 0, 0, 0]), Err(WireError::TooLong { found: 0x7F00_0000 }));
    }

    proptest! {
        #[test]
        fn hostile_responses_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = response(&bytes);
        }
    }
}
