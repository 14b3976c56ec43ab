use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use retry_layer::{Deadline, TimeoutHeader};
use session_layer::RequestOptions;
use tonic::Status;
use tower_service::Service;

use super::{body::ResponseBody, future::ResponseFuture};
use crate::{Body, Client, NoDecompression, Redirects, call::Streaming, error::BoxError};

/// A [`Client`] for the clients that tonic generates; made by [`Client::grpc`].
///
/// See the [module docs](crate::grpc). A clone is the same channel.
#[derive(Clone, Debug)]
pub struct GrpcChannel {
    client: Client,
}

impl Client {
    /// Returns this client as the transport for clients that tonic generates. Its errors have
    /// gRPC's codes; see [`grpc`](crate::grpc).
    ///
    /// A generated client that is made by `new` needs a [base URL] here, or else `with_origin`.
    ///
    /// [base URL]: crate::ClientBuilder::base_url
    #[must_use]
    pub fn grpc(&self) -> GrpcChannel {
        GrpcChannel {
            client: self.clone(),
        }
    }
}

impl GrpcChannel {
    /// The client inside.
    #[must_use]
    pub fn get_ref(&self) -> &Client {
        &self.client
    }

    /// The client inside.
    #[must_use]
    pub fn into_inner(self) -> Client {
        self.client
    }
}

impl<B> Service<Request<B>> for GrpcChannel
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = Status;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let mut request = request.map(Body::new);
        let asked = Deadline::from_headers(request.headers(), &TimeoutHeader::grpc());
        let extensions = request.extensions_mut();
        if let Some(deadline) = asked {
            extensions.get_or_insert_with(|| deadline);
        }
        let bounds_body = extensions.get::<Deadline>().is_some();
        extensions.insert(Redirects::none());
        extensions.insert(NoDecompression);
        extensions.get_or_insert_with(|| {
            RequestOptions::new()
                .prior_knowledge()
                .only_chosen_timeouts()
        });
        let call: Streaming = self.client.start(request, None);
        // The client's own deadline ends at the head of a response that streams.
        let limit = call.limit().filter(|_| bounds_body);
        ResponseFuture::new(call, limit)
    }
}
