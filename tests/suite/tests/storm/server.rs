//! A server that answers what it is asked for, and does not live long.

use std::{io, time::Duration};

use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderMap, Request, Response, header::CONTENT_LENGTH};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{sync::mpsc, time::sleep};
use turmoil::net::{TcpListener, TcpStream};

use crate::ledger::{Ledger, Open};

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A host, and what it speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host {
    pub(crate) name: &'static str,
    /// How many streams it allows at the same time on a connection; `None` speaks HTTP/1.
    pub(crate) streams: Option<u32>,
}

/// The headers by which a request says what becomes of it.
pub(crate) const ID: &str = "x-id";
pub(crate) const SIZE: &str = "x-size";
pub(crate) const DELAY: &str = "x-delay";
pub(crate) const PAUSE: &str = "x-pause";
pub(crate) const ACT: &str = "x-act";
/// How many bytes of the request's body the server read.
pub(crate) const GOT: &str = "x-got";

/// The size of the pieces that an answer comes in.
const PIECE: usize = 4 * 1024;

/// The longest that a connection takes new requests.
const LIFE: Duration = Duration::from_secs(30);

/// What the answer to this request has at this place.
pub(crate) fn byte(id: u64, at: usize) -> u8 {
    let digits = id.to_le_bytes();
    let digit = digits.get(at % digits.len()).copied().unwrap_or_default();
    digit ^ u8::try_from(at % 251).expect("it is less than 251")
}

pub(crate) async fn serve(host: Host, ledger: Ledger) -> turmoil::Result {
    let listener = TcpListener::bind(("0.0.0.0", 80)).await?;
    loop {
        let (io, _) = listener.accept().await?;
        let open = ledger.open(host.name);
        tokio::spawn(talk(host, io, open));
    }
}

async fn talk(host: Host, io: TcpStream, _open: Open) {
    let life = LIFE.mul_f64(fastrand::f64());
    let io = TokioIo::new(io);
    let service = service_fn(answer);
    match host.streams {
        None => {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(LIFE);
            let mut connection = std::pin::pin!(builder.serve_connection(io, service));
            tokio::select! {
                _ = connection.as_mut() => return,
                () = sleep(life) => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        }
        Some(streams) => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .keep_alive_interval(Duration::from_secs(5))
                .keep_alive_timeout(Duration::from_secs(5))
                .max_concurrent_streams(streams);
            let mut connection = std::pin::pin!(builder.serve_connection(io, service));
            tokio::select! {
                _ = connection.as_mut() => return,
                () = sleep(life) => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        }
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, io::Error> {
    let number = |name: &str| number(request.headers(), name);
    let (id, size) = (
        number(ID),
        usize::try_from(number(SIZE)).expect("it is small"),
    );
    let (delay, pause) = (number(DELAY), number(PAUSE));
    let act = request
        .headers()
        .get(ACT)
        .map(|act| act.as_bytes().to_owned());
    let act = act.unwrap_or_default();
    if act == b"close" {
        return Err(io::Error::other("asked to"));
    }
    let mut response = Response::builder().header(ID, id);
    if act != b"early" {
        let got = request
            .into_body()
            .collect()
            .await
            .map_err(io::Error::other)?;
        response = response.header(GOT, got.to_bytes().len());
    }
    sleep(Duration::from_millis(delay)).await;
    if act == b"length" {
        response = response.header(CONTENT_LENGTH, size);
    }
    let (pieces, body) = mpsc::channel(1);
    let whole: Vec<u8> = (0..size).map(|at| byte(id, at)).collect();
    let cut = act == b"cut";
    tokio::spawn(async move {
        for piece in whole.chunks(PIECE) {
            let piece = Frame::data(Bytes::copy_from_slice(piece));
            if pieces.send(Ok(piece)).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(pause)).await;
        }
        if cut {
            let _ = pieces.send(Err(io::Error::other("asked to"))).await;
        }
    });
    let body = StreamBody::new(Pieces(body)).boxed_unsync();
    Ok(response.body(body).expect("its headers are valid"))
}

fn number(headers: &HeaderMap, name: &str) -> u64 {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.map_or(0, |value| value.parse().expect("it is a number"))
}

struct Pieces(mpsc::Receiver<Result<Frame<Bytes>, io::Error>>);

impl Stream for Pieces {
    type Item = Result<Frame<Bytes>, io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}
