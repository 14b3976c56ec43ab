//! The one server that all clients are measured against: hyper on one thread, HTTP/1 and HTTP/2
//! by prior knowledge on one port of all loopback addresses.
//!
//! It prints its port, and ends with its standard input.

mod answer;

use std::{
    convert::Infallible,
    io::{self, Read, Write},
    process,
    rc::Rc,
    thread,
};

use hyper::{rt::Executor, service::service_fn};
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{net::TcpListener, task::LocalSet};

use self::answer::Server;

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        process::exit(0);
    });
    LocalSet::new().block_on(&runtime, serve())
}

async fn serve() -> io::Result<()> {
    // Only the wildcard stands for all of 127.0.0.0/8; who comes from elsewhere is turned away.
    let listener = TcpListener::bind("0.0.0.0:0").await?;
    println!("{}", listener.local_addr()?.port());
    io::stdout().flush()?;
    let server = Rc::new(Server::default());
    loop {
        let (stream, from) = listener.accept().await?;
        if !from.ip().is_loopback() {
            continue;
        }
        stream.set_nodelay(true)?;
        server.count_connection();
        let server = server.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| {
                let server = server.clone();
                async move { Ok::<_, Infallible>(server.answer(request).await) }
            });
            // A client that goes away is none of its concern.
            let _ = auto::Builder::new(Local)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Runs hyper's tasks on the one thread.
#[derive(Clone)]
struct Local;

impl<F: Future + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async {
            future.await;
        });
    }
}
