use std::{
    future::{Ready, ready},
    io,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::{
    client::legacy::connect::proxy::{SocksV4, SocksV5},
    rt::TokioIo,
};
use tower_service::Service;

use super::{Credentials, Stream, Version};
use crate::box_error::BoxError;

/// Has a SOCKS proxy connect to an address, or to a name which it resolves
/// ([RFC 1928](https://www.rfc-editor.org/rfc/rfc1928),
/// [RFC 1929](https://www.rfc-editor.org/rfc/rfc1929)).
pub(super) async fn open(
    stream: Stream,
    version: Version,
    address: &str,
    credentials: &Credentials,
) -> Result<Stream, BoxError> {
    let target = Uri::builder()
        .scheme("http")
        .authority(address)
        .path_and_query("/")
        .build()?;
    let proxy = Uri::default();
    let opened = Opened(Some(TokioIo::new(stream)));
    let stream = match version {
        Version::V4 => SocksV4::new(proxy, opened).call(target).await?,
        Version::V5 => {
            let mut socks = SocksV5::new(proxy, opened);
            if let Credentials::Password(user, password) = credentials {
                socks = socks.with_auth(user.clone(), password.clone());
            }
            socks.call(target).await?
        }
    };
    Ok(stream.into_inner())
}

/// A connector whose stream is open already, and which is called once.
struct Opened(Option<TokioIo<Stream>>);

impl Service<Uri> for Opened {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<Stream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(
            self.0
                .take()
                .ok_or_else(|| io::ErrorKind::NotConnected.into()),
        )
    }
}
