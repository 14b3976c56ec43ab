//! The limit: hyper's `SendRequest`, with connections that the caller keeps.

use harness::{Answer, Payload, Peer, Plan, Protocol, drain};
use http::{
    HeaderValue, Request, Uri,
    header::{HOST, USER_AGENT},
    uri::PathAndQuery,
};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

fn main() {
    harness::main(|plan: &Plan| Raw {
        protocol: plan.protocol,
        user_agent: (plan.variant == "user-agent")
            .then(|| HeaderValue::from_static("hardy-http/0.1.0")),
    });
}

#[derive(Clone)]
struct Raw {
    protocol: Protocol,
    /// What the client sends that is measured beside it.
    user_agent: Option<HeaderValue>,
}

/// A host, and the connection to it.
struct Connected {
    uri: Uri,
    path: Uri,
    host: HeaderValue,
    sender: Option<Sender>,
}

enum Sender {
    Http1(http1::SendRequest<Payload>),
    Http2(http2::SendRequest<Payload>),
}

impl Peer for Raw {
    type Target = Connected;

    fn target(&self, uri: &Uri) -> Connected {
        let authority = uri.authority().expect("the URL is absolute").as_str();
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        Connected {
            uri: uri.clone(),
            path: path.parse().expect("a path is a URI"),
            host: authority.parse().expect("an authority is a header's value"),
            sender: None,
        }
    }

    async fn exchange(&mut self, target: &mut Connected, mut request: Request<Payload>) -> Answer {
        if target.sender.is_none() {
            target.sender = Some(connect(self.protocol, &target.uri).await);
        }
        if let Some(user_agent) = &self.user_agent {
            request.headers_mut().insert(USER_AGENT, user_agent.clone());
        }
        let response = match target.sender.as_mut().expect("it was just connected") {
            Sender::Http1(sender) => {
                *request.uri_mut() = target.path.clone();
                request.headers_mut().insert(HOST, target.host.clone());
                sender.ready().await.expect("the connection is open");
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                *request.uri_mut() = target.uri.clone();
                sender.ready().await.expect("the connection is open");
                sender.send_request(request).await
            }
        };
        let response = response.expect("the server answers");
        Answer {
            status: response.status(),
            bytes: drain(response.into_body()).await,
        }
    }
}

async fn connect(protocol: Protocol, uri: &Uri) -> Sender {
    let authority = uri.authority().expect("the URL is absolute").as_str();
    let stream = TcpStream::connect(authority)
        .await
        .expect("the server listens");
    stream.set_nodelay(true).expect("it is a TCP socket");
    let io = TokioIo::new(stream);
    match protocol {
        Protocol::Http1 => {
            let (sender, connection) = http1::handshake(io).await.expect("hyper starts");
            tokio::spawn(connection);
            Sender::Http1(sender)
        }
        Protocol::Http2 => {
            let executor = TokioExecutor::new();
            let (sender, connection) = http2::handshake(executor, io).await.expect("hyper starts");
            tokio::spawn(connection);
            Sender::Http2(sender)
        }
    }
}

impl Clone for Connected {
    fn clone(&self) -> Self {
        let sender = match &self.sender {
            Some(Sender::Http2(sender)) => Some(Sender::Http2(sender.clone())),
            Some(Sender::Http1(_)) | None => None,
        };
        Self {
            uri: self.uri.clone(),
            path: self.path.clone(),
            host: self.host.clone(),
            sender,
        }
    }
}
