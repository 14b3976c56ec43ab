//! Handlers that make a [`Server`](crate::Server) a proxy.
//!
//! ```
//! use test_support::{Server, always, proxy};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let origin = Server::start(always(200, "hello")).await;
//! let proxy = Server::start(proxy::http(origin.addr(), None)).await;
//! # }
//! ```
//!
//! Whatever name a client asks for, the handler connects to the one address that it was given: so
//! a name that does not exist shows that the client left it to the proxy.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Buf, Bytes, BytesMut};
use http::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{Connection, Handling};

/// An HTTP proxy: `CONNECT` opens a tunnel to `upstream`, and any other request is answered by the
/// proxy itself with the target that it was sent. Without this `Proxy-Authorization`, if one is
/// wanted, the answer is 407.
pub fn http(
    upstream: SocketAddr,
    authorization: Option<&'static str>,
) -> impl Fn(Connection) -> Handling + Send + Sync + 'static {
    move |mut connection| {
        Box::pin(async move {
            while let Some(request) = connection.read_request().await {
                if request.header("proxy-authorization") != authorization {
                    let asked = [("Proxy-Authenticate", "Basic realm=\"test\"")];
                    connection.respond_with(407, &asked, "who are you?").await;
                } else if request.method == Method::CONNECT {
                    return establish(connection, ESTABLISHED, upstream).await;
                } else {
                    connection.respond(200, &request.target).await;
                }
            }
        })
    }
}

const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

/// A proxy on one connection that answers `CONNECT` by this head, and opens the tunnel.
pub async fn tunnel(mut connection: Connection, head: &str, upstream: SocketAddr) {
    connection.read_request().await;
    establish(connection, head, upstream).await;
}

async fn establish(mut connection: Connection, head: &str, upstream: SocketAddr) {
    connection.write(head).await;
    connection.answered();
    relay(connection, upstream).await;
}

/// A proxy that gives `answer` to the first request, and closes.
pub fn answering(
    answer: impl Into<Bytes>,
) -> impl Fn(Connection) -> Handling + Send + Sync + 'static {
    let answer = answer.into();
    move |mut connection| {
        let answer = answer.clone();
        Box::pin(async move {
            connection.read_request().await;
            connection.write(answer).await;
            connection.close().await;
        })
    }
}

/// A proxy that is no HTTP: it answers the first bytes by `greeting`, the next ones by `answer`, and
/// closes. What is left when the client says no more is not sent.
pub fn answering_bytes<const N: usize, const M: usize>(
    greeting: [u8; N],
    answer: [u8; M],
) -> impl Fn(Connection) -> Handling + Send + Sync + 'static {
    move |mut connection| {
        Box::pin(async move {
            connection.read_bytes().await;
            connection.write(greeting).await;
            connection.read_bytes().await;
            connection.write(answer).await;
            connection.close().await;
        })
    }
}

/// What SOCKS clients asked a [`socks`] proxy for.
#[derive(Clone, Debug, Default)]
pub struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    /// Returns the hosts and ports of the requests that were granted, in their order.
    #[must_use]
    pub fn targets(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn add(&self, target: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(target);
    }
}

/// A SOCKS proxy that speaks 4, 4a and 5, and connects all to `upstream`; with `password`, a pair
/// of user and password, it speaks 5 only and wants them.
pub fn socks(
    upstream: SocketAddr,
    password: Option<(&'static str, &'static str)>,
    asked: &Asked,
) -> impl Fn(Connection) -> Handling + Send + Sync + 'static {
    let asked = asked.clone();
    move |connection| {
        let asked = asked.clone();
        Box::pin(async move {
            let mut client = Client {
                connection,
                unread: BytesMut::new(),
            };
            let target = match client.byte().await {
                Some(4) if password.is_none() => client.socks4().await,
                Some(5) => client.socks5(password).await,
                Some(_) | None => None,
            };
            if let Some(target) = target {
                asked.add(target);
                relay(client.connection, upstream).await;
            }
        })
    }
}

struct Client {
    connection: Connection,
    unread: BytesMut,
}

impl Client {
    async fn take(&mut self, count: usize) -> Option<BytesMut> {
        while self.unread.len() < count {
            let bytes = self.connection.read_bytes().await?;
            self.unread.extend_from_slice(&bytes);
        }
        Some(self.unread.split_to(count))
    }

    async fn byte(&mut self) -> Option<u8> {
        self.take(1).await.map(|mut byte| byte.get_u8())
    }

    async fn port(&mut self) -> Option<u16> {
        self.take(2).await.map(|mut port| port.get_u16())
    }

    /// A text with its length in a byte before it.
    async fn text(&mut self) -> Option<String> {
        let length = self.byte().await?;
        let text = self.take(length.into()).await?;
        String::from_utf8(text.into()).ok()
    }

    /// A text with a NUL after it.
    async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        loop {
            match self.byte().await? {
                0 => return String::from_utf8(line).ok(),
                byte => line.push(byte),
            }
        }
    }

    async fn ipv4(&mut self) -> Option<Ipv4Addr> {
        self.take(4)
            .await
            .map(|mut ip| Ipv4Addr::from(ip.get_u32()))
    }

    async fn socks4(&mut self) -> Option<String> {
        assert_eq!(self.byte().await?, 1, "CONNECT");
        let port = self.port().await?;
        let ip = self.ipv4().await?;
        self.line().await?;
        // An address that cannot be: a name follows (SOCKS4a).
        let host = match ip.octets() {
            [0, 0, 0, last] if last > 0 => self.line().await?,
            _ => ip.to_string(),
        };
        self.connection.write([0, 90, 0, 0, 0, 0, 0, 0]).await;
        Some(format!("{host}:{port}"))
    }

    async fn socks5(&mut self, password: Option<(&str, &str)>) -> Option<String> {
        let count = self.byte().await?;
        let methods = self.take(count.into()).await?;
        let method = if password.is_some() { 2 } else { 0 };
        if !methods.contains(&method) {
            self.connection.write([5, 0xff]).await;
            return None;
        }
        self.connection.write([5, method]).await;
        if let Some((user, password)) = password {
            assert_eq!(self.byte().await?, 1, "version 1 of the negotiation");
            let given = (self.text().await?, self.text().await?);
            let right = given.0 == user && given.1 == password;
            self.connection.write([1, u8::from(!right)]).await;
            if !right {
                return None;
            }
        }
        assert_eq!(&*self.take(3).await?, [5, 1, 0], "CONNECT");
        let host = match self.byte().await? {
            1 => self.ipv4().await?.to_string(),
            3 => self.text().await?,
            kind => panic!("an address of type {kind}"),
        };
        let port = self.port().await?;
        self.connection.write([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await;
        Some(format!("{host}:{port}"))
    }
}

/// Carries bytes both ways until either side ends.
async fn relay(mut client: Connection, upstream: SocketAddr) {
    let Ok(mut upstream) = TcpStream::connect(upstream).await else {
        return;
    };
    let mut back = BytesMut::new();
    loop {
        tokio::select! {
            bytes = client.read_bytes() => match bytes {
                Some(bytes) => if upstream.write_all(&bytes).await.is_err() {
                    // It takes no more, and may have answered before.
                    while let Ok(1..) = upstream.read_buf(&mut back).await {}
                    client.write(back).await;
                    return;
                },
                None => return,
            },
            read = upstream.read_buf(&mut back) => match read {
                Ok(1..) => if !client.write(back.split()).await { return },
                Ok(0) | Err(_) => return,
            },
        }
    }
}
