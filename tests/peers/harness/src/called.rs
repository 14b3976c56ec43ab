use std::{fmt, future::poll_fn};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Body;
use tower_service::Service;

use crate::{Answer, Payload, Peer, drain};

/// A client that is a tower service, and is called as one.
#[derive(Clone, Debug)]
pub struct Called<S>(pub S);

impl<S, B> Peer for Called<S>
where
    S: Service<Request<Payload>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: fmt::Debug,
    S::Future: Send,
    B: Body<Data = Bytes> + Send,
    B::Error: fmt::Debug,
{
    type Target = Uri;

    fn target(&self, uri: &Uri) -> Uri {
        uri.clone()
    }

    async fn exchange(&mut self, uri: &mut Uri, mut request: Request<Payload>) -> Answer {
        *request.uri_mut() = uri.clone();
        let ready = poll_fn(|cx| self.0.poll_ready(cx)).await;
        ready.expect("it is always ready");
        let response = self.0.call(request).await.expect("the server answers");
        Answer {
            status: response.status(),
            bytes: drain(response.into_body()).await,
        }
    }
}
