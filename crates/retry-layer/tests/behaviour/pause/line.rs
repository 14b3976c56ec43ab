//! Requests in the line that are not polled, or whose service has room for one request.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use http::{Request, Response};
use retry_layer::pause::{Pause, SharedPause};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};
use tower::{Service, ServiceExt};

use super::{SECOND, Stack, builder, key, request, throttled};
use crate::support::status;

/// A service that has room for one request, and reserves it when it becomes ready.
struct OneAtATime {
    room: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
    waiting: Option<Pin<Box<dyn Future<Output = OwnedSemaphorePermit>>>>,
}

impl Clone for OneAtATime {
    fn clone(&self) -> Self {
        Self {
            room: self.room.clone(),
            permit: None,
            waiting: None,
        }
    }
}

impl Service<Request<u16>> for OneAtATime {
    type Response = Response<()>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Response<()>, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.permit.is_none() {
            let waiting = self.waiting.get_or_insert_with(|| {
                let room = self.room.clone();
                Box::pin(async { room.acquire_owned().await.unwrap() })
            });
            self.permit = Some(std::task::ready!(waiting.as_mut().poll(cx)));
            self.waiting = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Answers with the status that the request's body is.
    fn call(&mut self, request: Request<u16>) -> Self::Future {
        drop(self.permit.take().expect("it was ready"));
        let response = Response::builder().status(*request.body());
        std::future::ready(Ok(response.header("retry-after", "2").body(()).unwrap()))
    }
}

fn one_at_a_time() -> SharedPause<OneAtATime> {
    let service = OneAtATime {
        room: Arc::new(Semaphore::new(1)),
        permit: None,
        waiting: None,
    };
    SharedPause::new(service, builder().build().unwrap())
}

fn answered_with(uri: &str, status: u16) -> Request<u16> {
    Request::get(uri).body(status).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_leaves_the_room_of_its_service_to_others() {
    let mut service = one_at_a_time();
    let throttled = answered_with("http://peer/", 429);
    service
        .ready()
        .await
        .unwrap()
        .call(throttled)
        .await
        .unwrap();
    let waits = answered_with("http://peer/", 200);
    let waits = service.ready().await.unwrap().call(waits);
    // One of another origin, by a service that shares the room.
    let other = service.clone().oneshot(answered_with("http://other/", 200));
    timeout(SECOND, other).await.unwrap().unwrap();
    let answer = timeout(10 * SECOND, waits).await.unwrap();
    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_wait_leaves_the_room_of_its_service_to_others() {
    let mut service = one_at_a_time();
    let throttled = answered_with("http://peer/", 429);
    service
        .ready()
        .await
        .unwrap()
        .call(throttled)
        .await
        .unwrap();
    let mut late = answered_with("http://peer/", 200);
    let deadline = retry_layer::Deadline::within(SECOND);
    late.extensions_mut().insert(deadline);
    service.ready().await.unwrap().call(late).await.unwrap_err();
    let other = service.clone().oneshot(answered_with("http://other/", 200));
    timeout(SECOND, other).await.unwrap().unwrap();
}

/// A service that fails to become ready while it is told to.
#[derive(Clone)]
struct Moody(Arc<AtomicBool>);

impl Service<Request<u16>> for Moody {
    type Response = Response<()>;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<Response<()>, std::io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(if self.0.load(Ordering::SeqCst) {
            Err(std::io::Error::other("not ready"))
        } else {
            Ok(())
        })
    }

    fn call(&mut self, request: Request<u16>) -> Self::Future {
        let response = Response::builder().status(*request.body());
        std::future::ready(Ok(response.header("retry-after", "2").body(()).unwrap()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_over_when_the_service_fails_to_become_ready() {
    let fails = Arc::new(AtomicBool::new(false));
    let mut service = SharedPause::new(Moody(fails.clone()), builder().build().unwrap());
    let throttled = answered_with("http://peer/", 429);
    service
        .ready()
        .await
        .unwrap()
        .call(throttled)
        .await
        .unwrap();
    let next = answered_with("http://peer/", 200);
    let mut failed = Box::pin(service.ready().await.unwrap().call(next));
    fails.store(true, Ordering::SeqCst);
    failed.as_mut().await.unwrap_err();
    fails.store(false, Ordering::SeqCst);
    let begun = Instant::now();
    let next = answered_with("http://peer/", 200);
    service.ready().await.unwrap().call(next).await.unwrap();
    assert!(begun.elapsed() < SECOND / 2, "{:?}", begun.elapsed());
    drop(failed);
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_not_polled_do_not_hold_up_the_others() {
    for (were_polled, dead) in [(false, 1), (true, 1), (false, 20), (true, 20)] {
        let replies = (0..60).map(|_| status(200));
        let stack = Stack::new(builder(), [throttled(2)].into_iter().chain(replies));
        stack.ask().await.unwrap();
        let mut forgotten = Vec::new();
        for _ in 0..dead {
            let mut service = stack.service.clone();
            let ready = ServiceExt::<super::Sent>::ready(&mut service)
                .await
                .unwrap();
            let mut call = Box::pin(ready.call(request("http://peer/forgotten")));
            if were_polled {
                poll_once(call.as_mut()).await;
            }
            forgotten.push(call);
        }
        let begun = Instant::now();
        for path in ["/a", "/b"] {
            let answer = stack.call(request(&format!("http://peer{path}"))).await;
            assert_eq!(answer.unwrap().status(), 200);
        }
        assert!(begun.elapsed() < 6 * SECOND, "{:?}", begun.elapsed());
        assert_eq!(stack.paths()[1..], ["/a", "/b"]);
        // They have kept their places.
        for call in forgotten {
            let last = stack.call(request("http://peer/last"));
            let (first, last) = tokio::join!(timeout(5 * SECOND, call), last);
            assert_eq!(first.unwrap().unwrap().status(), 200);
            drop(last);
        }
        assert_eq!(stack.waiting(), 0);
    }
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) {
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

/// A waker whose drop looks at the ledger.
struct Nosy(Pause);

impl Wake for Nosy {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Nosy {
    fn drop(&mut self) {
        let _ = self.0.ledger().health(&key());
    }
}

#[test]
fn no_lock_is_held_while_a_waker_is_dropped() {
    let (done, is_done) = mpsc::channel();
    // A thread of its own, since it would hang.
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(async {
            let stack = Stack::new(builder(), [throttled(30)]);
            stack.ask().await.unwrap();
            let mut call = stack.call(request("http://peer/"));
            for _ in 0..2 {
                // The second takes the place of the first.
                let waker = Waker::from(Arc::new(Nosy(stack.pause.clone())));
                let polled = call.as_mut().poll(&mut Context::from_waker(&waker));
                assert!(polled.is_pending());
            }
            drop(call);
            assert_eq!(stack.waiting(), 0);
        });
        done.send(()).unwrap();
    });
    assert_eq!(is_done.recv_timeout(Duration::from_secs(20)), Ok(()));
}
