//! A future, or the body of a response, goes on on another runtime.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use http::Response;
use http_body_util::BodyExt;
use session_layer::{RequestOptions, Timeouts};
use tokio::{
    runtime::{Builder, Runtime},
    sync::Notify,
};
use tower::ServiceExt;

use super::{
    AnySession, BOTH, Duration, Protocol, SECOND, Script, floor, get, over_http1, over_http2,
    serving, with,
};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn poll_once<F: Future>(on: &Runtime, future: F) -> Poll<F::Output> {
    let _entered = on.enter();
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// A session whose server sends ten bytes of a body, and as many more when it is told to. It takes an
/// upload when it is told to.
fn half(protocol: Protocol, timeouts: Timeouts, goes_on: &Arc<Notify>) -> AnySession {
    let goes_on = goes_on.clone();
    match protocol {
        Protocol::Http1 => over_http1(timeouts, move |mut connection| {
            let goes_on = goes_on.clone();
            async move {
                while let Some(head) = connection.read_head().await {
                    if let Some(length) = head.header("content-length") {
                        let mut left: usize = length.parse().unwrap();
                        goes_on.notified().await;
                        while left > 0 {
                            left -= connection.read_piece(left).await.unwrap().len();
                        }
                        connection.respond(200, "ok").await;
                        continue;
                    }
                    let head = "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n0123456789";
                    connection.write(head).await;
                    goes_on.notified().await;
                    connection.write("0123456789").await;
                    connection.answered();
                }
            }
        }),
        Protocol::Http2 => over_http2(timeouts, move |mut stream| {
            let goes_on = goes_on.clone();
            async move {
                if stream.request.method() == "POST" {
                    goes_on.notified().await;
                    let body = stream.request.body_mut();
                    while let Some(Ok(data)) = body.data().await {
                        let _ = body.flow_control().release_capacity(data.len());
                    }
                    stream.answer(200, "ok");
                    return;
                }
                let (mut send, _request) = stream.begin(Response::new(()));
                let _ = send.send_data("0123456789".into(), false);
                goes_on.notified().await;
                let _ = send.send_data("0123456789".into(), true);
            }
        }),
    }
}

#[test]
fn a_body_goes_on_when_a_runtime_is_gone_that_it_was_read_on_before() {
    for protocol in BOTH {
        for timeouts in [
            Timeouts::default().download_floor(floor(1, 60)),
            Timeouts::default(),
        ] {
            let drives = Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            let goes_on = Arc::new(Notify::new());
            let session = drives.block_on(async { half(protocol, timeouts, &goes_on) });
            let send = session.clone().oneshot(get());
            let mut body = drives.block_on(send).unwrap().into_body();
            let first = drives.block_on(body.frame()).unwrap().unwrap();
            assert_eq!(first.into_data().unwrap().len(), 10);
            let gone = runtime();
            assert!(poll_once(&gone, body.frame()).is_pending());
            drop(gone);
            goes_on.notify_one();
            let rest = runtime().block_on(body.collect()).unwrap();
            assert_eq!(rest.to_bytes().len(), 10, "{protocol:?}");
        }
    }
}

#[test]
fn a_request_goes_on_when_a_runtime_is_gone_that_it_was_polled_on_before() {
    for protocol in BOTH {
        for options in [
            RequestOptions::new().head_timeout(60 * SECOND),
            RequestOptions::new(),
        ] {
            let drives = Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            let goes_on = Arc::new(Notify::new());
            let timeouts = Timeouts::default().upload_floor(floor(1, 60));
            let session = drives.block_on(async { half(protocol, timeouts, &goes_on) });
            // A connection that is there takes it at once.
            let before = drives.block_on(session.clone().oneshot(get())).unwrap();
            goes_on.notify_one();
            drives.block_on(before.into_body().collect()).unwrap();
            let upload = with(super::request("POST", vec![b'x'; 100_000]), options);
            let mut sent = Box::pin(session.clone().oneshot(upload));
            assert!(poll_once(&drives, sent.as_mut()).is_pending());
            let gone = runtime();
            assert!(poll_once(&gone, sent.as_mut()).is_pending());
            drop(gone);
            goes_on.notify_one();
            let response = runtime().block_on(sent).unwrap();
            assert_eq!(response.status(), 200, "{protocol:?}");
        }
    }
}

#[test]
fn what_has_times_of_its_own_may_be_polled_outside_of_a_runtime() {
    for protocol in BOTH {
        let drives = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let session = drives.block_on(async {
            serving(
                protocol,
                Timeouts::default(),
                Script::steady(SECOND / 5, 10, 2),
            )
        });
        let options = RequestOptions::new()
            .head_timeout(60 * SECOND)
            .body_idle_timeout(60 * SECOND);
        let mut cx = Context::from_waker(Waker::noop());
        let mut sent = Box::pin(session.clone().oneshot(with(get(), options)));
        // The request is sent in the runtime, and waited for outside.
        let mut polled = poll_once(&drives, sent.as_mut());
        let response = loop {
            if let Poll::Ready(response) = polled {
                break response.unwrap();
            }
            std::thread::sleep(Duration::from_millis(5));
            polled = sent.as_mut().poll(&mut cx);
        };
        let mut body = response.into_body();
        let mut read = 0;
        loop {
            match pin!(body.frame()).poll(&mut cx) {
                Poll::Ready(None) => break,
                Poll::Ready(Some(frame)) => read += frame.unwrap().into_data().unwrap().len(),
                Poll::Pending => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        assert_eq!(read, 20, "{protocol:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_goes_on_in_another_task_keeps_its_times() {
    for protocol in BOTH {
        let timeouts = super::patient();
        let session = super::taking(protocol, timeouts, Duration::ZERO, 1 << 20, 3600 * SECOND);
        for options in [
            RequestOptions::new().head_timeout(7 * SECOND),
            RequestOptions::new(),
        ] {
            let is_timed = options != RequestOptions::new();
            let mut sent = Box::pin(
                session
                    .clone()
                    .oneshot(with(super::request("POST", vec![b'x'; 100]), options)),
            );
            // Until it has a connection, and waits for the head.
            for _ in 0..20 {
                let polled = sent.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                assert!(polled.is_pending());
                tokio::time::sleep(SECOND / 1000).await;
            }
            let began = tokio::time::Instant::now();
            let sent = tokio::spawn(sent).await.unwrap();
            assert_eq!(sent.is_err(), is_timed, "{protocol:?}");
            if is_timed {
                let took = began.elapsed();
                assert!(took <= 8 * SECOND, "{protocol:?}: {took:?}");
            }
        }
    }
}
