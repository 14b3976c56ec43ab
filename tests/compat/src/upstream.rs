use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::load::REQUEST_ID;

/// What a server sends its requests to: counts how often each was executed. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Upstream {
    executed: Arc<Mutex<HashMap<String, u32>>>,
    nameless: Arc<AtomicUsize>,
}

/// How many requests were executed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Counted {
    /// Once.
    pub once: u32,
    /// More than once.
    pub twice: u32,
}

impl Upstream {
    /// Listens at this address.
    ///
    /// # Errors
    ///
    /// If nothing can listen there.
    pub async fn start(addr: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let upstream = Self::default();
        let served = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let upstream = served.clone();
                let answer = service_fn(move |request| upstream.clone().answer(request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Ok(upstream)
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let headers: HeaderMap = request.headers().clone();
        // Executed only as a whole: half a request is no request.
        let whole = request.into_body().collect().await.is_ok();
        match headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()) {
            Some(id) if whole => {
                let mut executed = self.executed.lock().unwrap_or_else(PoisonError::into_inner);
                *executed.entry(id.to_owned()).or_default() += 1;
            }
            _ => {
                self.nameless.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(Response::new(Full::from("counted\n")))
    }

    /// Prints and returns how many of the requests with this name were executed once, and more than once.
    #[must_use]
    pub fn print(&self, name: &str) -> Counted {
        let executed = self.executed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counted = Counted { once: 0, twice: 0 };
        for (_, times) in executed
            .iter()
            .filter(|(id, _)| id.split('-').next() == Some(name))
        {
            match times {
                1 => counted.once += 1,
                _ => counted.twice += 1,
            }
        }
        let Counted { once, twice } = counted;
        println!("  executed once: {once}, more than once: {twice}");
        counted
    }
}
