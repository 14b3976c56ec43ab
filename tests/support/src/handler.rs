use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

use crate::{Connection, Reply, Request};

/// What a ready handler makes of one connection.
pub type Handling = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Answers every request in the same way.
pub fn always(
    status: u16,
    body: impl Into<Bytes>,
) -> impl Fn(Connection) -> Handling + Clone + Send + Sync + 'static {
    let reply = Reply::status(status).body(body);
    answer(move |_| reply.clone())
}

/// Answers the requests of all connections together one after the other from a list, the last entry again and again.
///
/// # Panics
///
/// Panics if the list is empty.
pub fn sequence(
    replies: impl IntoIterator<Item = Reply>,
) -> impl Fn(Connection) -> Handling + Clone + Send + Sync + 'static {
    let replies: Vec<_> = replies.into_iter().collect();
    let last = replies
        .last()
        .expect("a sequence has at least one reply")
        .clone();
    let next = AtomicUsize::new(0);
    answer(move |_| {
        let index = next.fetch_add(1, Ordering::Relaxed);
        replies.get(index).unwrap_or(&last).clone()
    })
}

/// Answers each request, once it was read with its body, as a function of it says.
pub fn answer(
    reply: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> impl Fn(Connection) -> Handling + Clone + Send + Sync + 'static {
    let reply = Arc::new(reply);
    move |mut connection| {
        let reply = reply.clone();
        Box::pin(async move {
            while let Some(request) = connection.read_request().await {
                let Some(same) = reply(&request).perform(connection).await else {
                    return;
                };
                connection = same;
            }
        })
    }
}
