//! One connection to a Hadoop RPC server, made when it is needed.

use std::time::Duration;

use prost::Message;
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Mutex,
    time::timeout,
};

use crate::{
    credentials::Token,
    proto::common::{RequestHeaderProto, RpcSaslProto},
    sasl::{Mechanism, Negotiation, SaslError, Step, TokenDigest},
    wire::{self, AuthProtocol, RemoteError, Response, WireError},
};

#[derive(Clone, Debug)]
pub enum Auth {
    /// Whoever we say: servers of unsecured clusters believe it.
    Simple {
        user: String,
    },
    Token(Token),
}

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub connect: Duration,
    pub call: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), call: Duration::from_secs(60) }
    }
}

#[derive(Debug, Error)]
pub enum RpcError {
    #[error("failed to connect to {address}")]
    Connect {
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("no answer from {address} to {what} within {limit:?}")]
    Timeout { address: String, what: String, limit: Duration },
    #[error("the connection to {address} broke")]
    Broken {
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{address} refused {what}: {} ({})", error.message, error.exception_class)]
    Remote { address: String, what: String, error: RemoteError },
    #[error("{address} closed the connection: {} ({})", error.message, error.exception_class)]
    Fatal { address: String, error: RemoteError },
    #[error("failed to authenticate to {address}")]
    Sasl {
        address: String,
        #[source]
        source: SaslError,
    },
    #[error("{address} does not speak Hadoop RPC as expected")]
    Protocol {
        address: String,
        #[source]
        source: WireError,
    },
}

impl RpcError {
    /// Java's exception, by its simple name, if a server said one.
    pub fn exception(&self) -> Option<&str> {
        match self {
            Self::Remote { error, .. } | Self::Fatal { error, .. } => error.exception_class.rsplit(['.', '$']).next(),
            _ => None,
        }
    }

    /// Another server of a highly available pair may do better.
    pub fn should_fail_over(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Broken { .. } | Self::Timeout { .. } => true,
            _ => self.exception() == Some("StandbyException"),
        }
    }

    /// The same server may do better later.
    pub fn is_retriable(&self) -> bool {
        self.should_fail_over() || self.exception() == Some("RetriableException")
    }
}

/// Calls go one after the other over one connection. A server closes it when it is idle, so it is opened again when needed.
pub struct RpcClient {
    address: String,
    protocol: &'static str,
    auth: Auth,
    options: Options,
    client_id: [u8; 16],
    connection: Mutex<Option<Connection>>,
}

struct Connection {
    socket: TcpStream,
    next_call: i32,
}

impl RpcClient {
    /// `address` is `host:port`; nothing is connected yet.
    pub fn new(address: impl Into<String>, protocol: &'static str, auth: Auth, options: Options) -> Self {
        Self {
            address: address.into(),
            protocol,
            auth,
            options,
            client_id: rand::random(),
            connection: Mutex::new(None),
        }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a call and waits for its answer.
    ///
    /// **Cancel safety**: a dropped call drops its connection, since an answer may still come over it; the server may have
    /// executed the call.
    pub async fn call<A: Message + Default>(&self, method: &str, request: &impl Message) -> Result<A, RpcError> {
        let mut held = self.connection.lock().await;
        // Taken out while the call runs: a call that does not come back leaves none behind.
        let mut reused = held.take();
        loop {
            let was_reused = reused.is_some();
            let mut connection = match reused.take() {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let answer = timeout(self.options.call, self.exchange(&mut connection, method, request)).await;
            match answer {
                Err(_) => {
                    return Err(RpcError::Timeout {
                        address: self.address.clone(),
                        what: method.to_owned(),
                        limit: self.options.call,
                    });
                }
                // The server closed an idle connection before it saw the call.
                Ok(Err(RpcError::Broken { source, .. })) if was_reused => {
                    tracing::debug!(address = %self.address, error = %source, "an idle connection was closed");
                }
                Ok(Err(error @ RpcError::Remote { .. })) => {
                    *held = Some(connection);
                    return Err(error);
                }
                Ok(Err(error)) => return Err(error),
                Ok(Ok(body)) => {
                    let decoded = A::decode(body.as_slice())
                        .map_err(|_| self.protocol_error(WireError::Malformed("its message is not of the protocol")))?;
                    *held = Some(connection);
                    return Ok(decoded);
                }
            }
        }
    }

    async fn exchange(
        &self,
        connection: &mut Connection,
        method: &str,
        request: &impl Message,
    ) -> Result<Vec<u8>, RpcError> {
        let call_id = connection.next_call;
        connection.next_call = call_id.wrapping_add(1) & 0x7fff_ffff;
        let header = RequestHeaderProto {
            method_name: method.to_owned(),
            declaring_class_protocol_name: self.protocol.to_owned(),
            client_protocol_version: 1,
        };
        self.send(&mut connection.socket, &wire::request(call_id, &self.client_id, 0, &header, request)).await?;
        match self.receive(&mut connection.socket).await? {
            Response::Success { call_id: found, body } if found == call_id => Ok(body),
            Response::Error { call_id: found, error } if found == call_id => {
                Err(RpcError::Remote { address: self.address.clone(), what: method.to_owned(), error })
            }
            Response::Fatal { error, .. } => Err(RpcError::Fatal { address: self.address.clone(), error }),
            Response::Success { .. } | Response::Error { .. } => {
                Err(self.protocol_error(WireError::Malformed("it answers another call")))
            }
        }
    }

    async fn connect(&self) -> Result<Connection, RpcError> {
        let connecting = async {
            let mut socket = TcpStream::connect(&self.address)
                .await
                .map_err(|source| RpcError::Connect { address: self.address.clone(), source })?;
            socket.set_nodelay(true).map_err(|source| self.broken(source))?;
            match &self.auth {
                Auth::Simple { user } => {
                    self.send(&mut socket, &wire::preamble(AuthProtocol::None)).await?;
                    let context = wire::connection_context(&self.client_id, Some(user), self.protocol);
                    self.send(&mut socket, &context).await?;
                }
                Auth::Token(token) => {
                    self.send(&mut socket, &wire::preamble(AuthProtocol::Sasl)).await?;
                    self.authenticate(&mut socket, token).await?;
                    let context = wire::connection_context(&self.client_id, None, self.protocol);
                    self.send(&mut socket, &context).await?;
                }
            }
            Ok(Connection { socket, next_call: 0 })
        };
        timeout(self.options.connect, connecting).await.unwrap_or_else(|_| {
            Err(RpcError::Timeout {
                address: self.address.clone(),
                what: "connecting".into(),
                limit: self.options.connect,
            })
        })
    }

    async fn authenticate(&self, socket: &mut TcpStream, token: &Token) -> Result<(), RpcError> {
        let cnonce: String = rand::random::<[u8; 16]>().iter().map(|b| format!("{b:02x}")).collect();
        let digest: Box<dyn Mechanism> = Box::new(TokenDigest::new(token.clone(), cnonce));
        let mut negotiation = Negotiation::new(vec![digest], false);
        self.send(socket, &wire::sasl(&negotiation.begin())).await?;
        loop {
            let body = match self.receive(socket).await? {
                Response::Success { call_id: wire::call_id::SASL, body } => body,
                Response::Success { .. } => {
                    return Err(self.protocol_error(WireError::Malformed("it is no SASL message")));
                }
                Response::Error { error, .. } | Response::Fatal { error, .. } => {
                    return Err(RpcError::Fatal { address: self.address.clone(), error });
                }
            };
            let message = RpcSaslProto::decode(body.as_slice())
                .map_err(|_| self.protocol_error(WireError::Malformed("its SASL message cannot be read")))?;
            let step = negotiation
                .on_message(message)
                .map_err(|source| RpcError::Sasl { address: self.address.clone(), source })?;
            match step {
                Step::Send(message) => self.send(socket, &wire::sasl(&message)).await?,
                Step::SendAndFinish(message) => {
                    return self.send(socket, &wire::sasl(&message)).await;
                }
                Step::Finished => return Ok(()),
            }
        }
    }

    async fn send(&self, socket: &mut TcpStream, bytes: &[u8]) -> Result<(), RpcError> {
        socket.write_all(bytes).await.map_err(|source| self.broken(source))
    }

    async fn receive(&self, socket: &mut TcpStream) -> Result<Response, RpcError> {
        let mut prefix = [0; 4];
        socket.read_exact(&mut prefix).await.map_err(|source| self.broken(source))?;
        let length = wire::response_length(prefix).map_err(|source| self.protocol_error(source))?;
        // Grows with what arrives, not with what is announced.
        let mut body = Vec::with_capacity(length.min(64 << 10));
        socket.take(length as u64).read_to_end(&mut body).await.map_err(|source| self.broken(source))?;
        if body.len() != length {
            return Err(self.broken(std::io::ErrorKind::UnexpectedEof.into()));
        }
        wire::response(&body).map_err(|source| self.protocol_error(source))
    }

    fn broken(&self, source: std::io::Error) -> RpcError {
        RpcError::Broken { address: self.address.clone(), source }
    }

    fn protocol_error(&self, source: WireError) -> RpcError {
        RpcError::Protocol { address: self.address.clone(), source }
    }
}
