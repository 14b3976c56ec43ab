//! Who shares a lookup, and what becomes of it when they go.

use std::{
    error::Error,
    future::{Ready, poll_fn, ready},
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::mpsc,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};
use tokio_test::{assert_pending, assert_ready_err, task};
use tower::{Service, service_fn};

use super::{
    super::{DnsError, Name, Resolver},
    SECOND, Seen, first, fixed, ip, slow,
};

fn runtime(paused: bool) -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .start_paused(paused)
        .build()
        .expect("a runtime can be made")
}

/// A resolver without a cache, whose source answers after a few polls.
fn quick() -> (Resolver, Seen) {
    let seen = Seen::default();
    let counting = seen.clone();
    let source = service_fn(move |_: Name| {
        let running = counting.begin();
        async move {
            let _running = running;
            for _ in 0..3 {
                yield_now().await;
            }
            Ok::<_, io::Error>([SocketAddr::from((Ipv4Addr::LOCALHOST, 0))])
        }
    });
    (Resolver::over(source).ttl(None), seen)
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_at_once_make_one_lookup_and_all_get_its_answer() {
    let (resolver, seen) = fixed(&["192.0.2.1"]);
    let mut calls = JoinSet::new();
    for number in 0..100 {
        let resolver = resolver.clone();
        let name = ["peer", "PEER", "Peer"][number % 3];
        calls.spawn(async move { resolver.resolve(name, 443).await });
    }
    for addresses in calls.join_all().await {
        assert_eq!(addresses.unwrap(), ["192.0.2.1:443".parse().unwrap()]);
    }
    assert_eq!(seen.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn different_names_do_not_wait_for_each_other() {
    let (resolver, seen) = fixed(&["192.0.2.1"]);
    let mut one = task::spawn(resolver.resolve("one", 80));
    // With a dot at its end a name is not looked up on the search list: another question.
    let mut two = task::spawn(resolver.resolve("one.", 80));
    assert_pending!(one.poll());
    assert_pending!(two.poll());
    yield_now().await;
    assert_eq!(seen.running(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_disturbs_no_other_even_if_it_came_first() {
    for leaving in 0..3 {
        let (resolver, seen) = fixed(&["192.0.2.1"]);
        let mut calls: Vec<_> = (0..3)
            .map(|_| task::spawn(resolver.resolve("peer", 80)))
            .collect();
        for call in &mut calls {
            assert_pending!(call.poll());
        }
        sleep(SECOND / 2).await;
        drop(calls.remove(leaving));
        for call in calls {
            call.await.unwrap();
        }
        assert_eq!(seen.begun(), 1, "after {leaving} left");
    }
}

#[tokio::test(start_paused = true)]
async fn with_the_last_one_the_lookup_ends_and_the_next_begins_anew() {
    let (resolver, seen) = fixed(&["192.0.2.1"]);
    let mut one = task::spawn(resolver.resolve("peer", 80));
    let mut two = task::spawn(resolver.resolve("peer", 80));
    assert_pending!(one.poll());
    assert_pending!(two.poll());
    yield_now().await;
    drop(one);
    yield_now().await;
    assert_eq!((seen.begun(), seen.running()), (1, 1));
    drop(two);
    yield_now().await;
    assert_eq!((seen.begun(), seen.running()), (1, 0));

    first(&resolver).await;
    assert_eq!((seen.begun(), seen.running()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn one_who_comes_while_an_abandoned_lookup_ends_gets_an_answer() {
    let (resolver, seen) = fixed(&["192.0.2.1"]);
    let mut one = task::spawn(resolver.resolve("peer", 80));
    assert_pending!(one.poll());
    yield_now().await;
    drop(one);
    // The task of the first lookup has not seen yet that no caller waits for it.
    first(&resolver).await;
    assert_eq!((seen.begun(), seen.running()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_source_fails_that_lookup_only() {
    let (resolver, seen) = slow(|name| match name {
        "bad" => panic!("the test's source panics"),
        _ => Ok(vec![ip("192.0.2.1")]),
    });
    let (one, two) = tokio::join!(resolver.resolve("bad", 80), resolver.resolve("bad", 80));
    for error in [one, two].map(Result::unwrap_err) {
        assert_eq!(error.source().unwrap().to_string(), "the resolver panicked");
    }
    assert_eq!(seen.begun(), 1);
    resolver.resolve("good", 80).await.unwrap();
    resolver.resolve("bad", 80).await.unwrap_err();
    assert_eq!((seen.begun(), seen.running()), (3, 0));
}

#[test]
fn a_lookup_whose_runtime_shuts_down_is_begun_anew_by_its_waiters() {
    let (resolver, seen) = fixed(&["192.0.2.1"]);
    let first_runtime = runtime(false);
    let mut leader = task::spawn(resolver.resolve("peer", 80));
    first_runtime.block_on(async {
        assert_pending!(leader.poll());
        yield_now().await;
    });
    assert_eq!(seen.running(), 1);

    let waiting = resolver.clone();
    let (joined, has_joined) = mpsc::channel();
    let waiter = thread::spawn(move || {
        runtime(true).block_on(async {
            let mut call = task::spawn(waiting.resolve("peer", 80));
            assert_pending!(call.poll());
            joined.send(()).expect("the test waits for this");
            call.await
        })
    });
    has_joined.recv().unwrap();
    drop(first_runtime);
    assert!(waiter.join().unwrap().is_ok());
    assert_eq!((seen.begun(), seen.running()), (2, 0));
    // Whose own runtime is gone is told so, and does not try for ever.
    let error = runtime(false).block_on(leader).unwrap_err();
    assert!(!error.is_not_found());
}

#[test]
fn a_lookup_on_a_runtime_that_stands_still_holds_no_caller_up() {
    let (resolver, seen) = fixed(&["192.0.2.1"]);
    let idle = runtime(false);
    idle.block_on(async {
        timeout(Duration::from_millis(1), first(&resolver))
            .await
            .unwrap_err();
    });
    runtime(true).block_on(first(&resolver));
    assert_eq!(seen.begun(), 2);
}

#[test]
fn without_a_runtime_it_is_an_error() {
    let (resolver, seen) = fixed(&["192.0.2.1"]);
    let mut call = task::spawn(resolver.resolve("peer", 80));
    let error = assert_ready_err!(call.poll());
    assert!(error.source().is_some());
    assert_eq!(seen.begun(), 0);
}

/// This and the next are for the races between one who comes, one who leaves, and the end.
#[test]
fn callers_on_many_threads_never_make_two_lookups_at_once() {
    let (resolver, seen) = quick();
    let threads = Builder::new_multi_thread()
        .worker_threads(4)
        .build()
        .unwrap();
    threads.block_on(async {
        let mut calls = JoinSet::new();
        for _ in 0..50 {
            let resolver = resolver.clone();
            calls.spawn(async move {
                for _ in 0..50 {
                    resolver
                        .resolve("peer", 80)
                        .await
                        .expect("the source answers");
                }
            });
        }
        calls.join_all().await;
    });
    assert_eq!((seen.most(), seen.running()), (1, 0));
}

#[test]
fn callers_on_many_threads_leave_nothing_behind_and_all_are_answered() {
    let (resolver, seen) = quick();
    let threads = Builder::new_multi_thread()
        .worker_threads(4)
        .build()
        .unwrap();
    threads.block_on(async {
        let mut calls = JoinSet::new();
        for number in 0..600 {
            let resolver = resolver.clone();
            calls.spawn(async move {
                let mut call = Box::pin(resolver.resolve("peer", 80));
                // Two of three leave after a few polls.
                for _ in 0..number % 3 * 2 {
                    let polled = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
                    if polled.is_ready() {
                        return;
                    }
                    yield_now().await;
                }
                if number % 3 == 0 {
                    call.await.expect("the source answers");
                }
            });
        }
        calls.join_all().await;
        while seen.running() > 0 {
            yield_now().await;
        }
    });
    assert_eq!(resolver.in_flight(), 0);
}

/// Is ready at its second poll, and its clones are not; panics if it is called before.
#[derive(Debug, Default)]
struct Strict {
    polls: usize,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Service<Name> for Strict {
    type Response = [SocketAddr; 1];
    type Error = DnsError;
    type Future = Ready<Result<Self::Response, DnsError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DnsError>> {
        self.polls += 1;
        if self.polls == 1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        assert!(self.polls > 1, "it was called before it was ready");
        ready(Ok([SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]))
    }
}

#[tokio::test]
async fn a_source_is_called_when_it_is_ready() {
    let resolver = Resolver::over(Strict::default());
    resolver.resolve("peer", 80).await.unwrap();
}
