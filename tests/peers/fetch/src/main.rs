//! Microsoft's fetch, whose transport is `fetch_hyper`: with its standard pipeline (metrics,
//! timeouts, retries, circuit breaker, logging), and with its minimal one, which has none of them.

use std::{env, pin::pin, time::Duration};

use bytesbuf::BytesView;
use fetch::{HttpBody, HttpClient, HttpError, Version, tokio::TokioDeps};
use harness::{Answer, Payload, Peer, Plan, Protocol};
use http::{Request, Uri};
use http_body_util::BodyExt;

fn main() {
    let plan = Plan::of(env::args().skip(1));
    match plan.variant.as_str() {
        "standard" => harness::main(|plan| Fetch(client(plan, true))),
        "minimal" => harness::main(|plan| Fetch(client(plan, false))),
        other => panic!("unknown variant {other}"),
    }
}

/// As it is built by default, but that it may speak without TLS and does not wait for longer than
/// the others before it tries again.
fn client(plan: &Plan, standard: bool) -> HttpClient {
    let version = match plan.protocol {
        Protocol::Http1 => Version::HTTP_11,
        Protocol::Http2 => Version::HTTP_2,
    };
    let builder = HttpClient::builder_tokio(TokioDeps::default())
        .insecure_allow_http()
        .supported_http_versions(&[version]);
    let builder = if standard {
        let (base, most) = (Duration::from_millis(1), Duration::from_millis(2));
        builder.standard_pipeline(move |pipeline, _| {
            pipeline.retry(|retry| retry.base_delay(base).max_delay(most))
        })
    } else {
        builder.minimal_pipeline()
    };
    builder.build()
}

#[derive(Clone)]
struct Fetch(HttpClient);

impl Peer for Fetch {
    type Target = fetch::Uri;

    fn target(&self, uri: &Uri) -> fetch::Uri {
        uri.clone().try_into().expect("it is a URL")
    }

    async fn exchange(&mut self, uri: &mut fetch::Uri, request: Request<Payload>) -> Answer {
        let (head, payload) = request.into_parts();
        let mut builder = self.0.request(head.method, uri.clone());
        if payload.is_stream() {
            let frames = payload.map_frame(|frame| frame.map_data(BytesView::from));
            builder = builder.custom_body(frames.map_err(|never| -> HttpError { match never {} }));
        } else if !payload.is_empty() {
            builder = builder.bytes(payload.into_bytes());
        }
        let response = builder.fetch().await.expect("the server answers");
        Answer {
            status: response.status(),
            bytes: drain(response.into_body()).await,
        }
    }
}

/// Reads a body to its end, keeping nothing; returns how many bytes it had.
async fn drain(body: HttpBody) -> usize {
    let mut body = pin!(body);
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.expect("the body comes whole");
        bytes += frame.data_ref().map_or(0, BytesView::len);
    }
    bytes
}
