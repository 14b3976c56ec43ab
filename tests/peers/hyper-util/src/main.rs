//! hyper-util's client, bare and below `tower::retry`.

mod policy;

use std::fmt;

use bytes::Bytes;
use harness::{Answer, Payload, Peer, Plan, Protocol, drain};
use http::{Request, Response, Uri};
use http_body::Body;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{Service, ServiceExt, retry::Retry};

use self::policy::ThreeAttempts;

type Legacy = Client<HttpConnector, Payload>;

fn main() {
    harness::main(|plan: &Plan| {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .http2_only(plan.protocol == Protocol::Http2)
            .build(connector);
        match plan.variant.as_str() {
            "bare" => HyperUtil::Bare(client),
            "retry" => HyperUtil::Retrying(Retry::new(ThreeAttempts::default(), client)),
            other => panic!("unknown variant {other}"),
        }
    });
}

#[derive(Clone)]
enum HyperUtil {
    Bare(Legacy),
    Retrying(Retry<ThreeAttempts, Legacy>),
}

impl Peer for HyperUtil {
    type Target = Uri;

    fn target(&self, uri: &Uri) -> Uri {
        uri.clone()
    }

    async fn exchange(&mut self, uri: &mut Uri, mut request: Request<Payload>) -> Answer {
        *request.uri_mut() = uri.clone();
        match self {
            Self::Bare(client) => call(client, request).await,
            Self::Retrying(client) => call(client, request).await,
        }
    }
}

async fn call<S, B>(service: &mut S, request: Request<Payload>) -> Answer
where
    S: Service<Request<Payload>, Response = Response<B>>,
    S::Error: fmt::Debug,
    B: Body<Data = Bytes>,
    B::Error: fmt::Debug,
{
    let ready = service.ready().await.expect("it is always ready");
    let response = ready.call(request).await.expect("the server answers");
    Answer {
        status: response.status(),
        bytes: drain(response.into_body()).await,
    }
}
