//! Requests in the line whose service has room for one request.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use retry_layer::pause::SharedPause;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tower::{Service, ServiceExt};

use super::{SECOND, builder};

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
