//! reqwest.

use bytes::Bytes;
use harness::{Answer, Peer, Plan, Protocol, drain};
use http::Uri;
use reqwest::{Body, Client, Url};

fn main() {
    harness::main(|plan: &Plan| {
        let builder = Client::builder();
        let builder = match plan.protocol {
            Protocol::Http1 => builder.http1_only(),
            Protocol::Http2 => builder.http2_prior_knowledge(),
        };
        Reqwest(builder.build().expect("the settings are valid"))
    });
}

#[derive(Clone)]
struct Reqwest(Client);

impl Peer for Reqwest {
    type Target = Url;

    fn target(&self, uri: &Uri) -> Url {
        uri.to_string().parse().expect("it is a URL")
    }

    async fn exchange(&mut self, url: &mut Url, upload: Option<Bytes>) -> Answer {
        let request = match upload {
            None => self.0.get(url.clone()),
            Some(bytes) => self.0.post(url.clone()).body(bytes),
        };
        let response = request.send().await.expect("the server answers");
        Answer {
            status: response.status(),
            bytes: drain(Body::from(response)).await,
        }
    }
}
