//! Connections that are upgraded on both sides of a gateway ([RFC 9110, section
//! 7.8](https://www.rfc-editor.org/rfc/rfc9110#section-7.8)).

use http::{Request, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

/// Takes the server's handle for an upgrade out of a request, if its connection can be upgraded.
pub(super) fn of_caller<B>(request: &mut Request<B>) -> Option<OnUpgrade> {
    let caller = request.extensions_mut().remove::<OnUpgrade>();
    // HTTP/1.0 and HTTP/2 have no `Upgrade`.
    caller.filter(|_| request.version() == Version::HTTP_11)
}

/// Copies bytes in both directions, in a task of its own, until both sides have ended or one has
/// failed.
pub(super) fn join(caller: OnUpgrade, upstream: OnUpgrade) {
    tokio::spawn(async move {
        let upgraded = async { Ok::<_, hyper::Error>((upstream.await?, caller.await?)) };
        let (upstream, caller) = match upgraded.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                tracing::debug!(%error, "an upgrade was not completed");
                return;
            }
        };
        let (mut upstream, mut caller) = (TokioIo::new(upstream), TokioIo::new(caller));
        if let Err(error) = copy_bidirectional(&mut caller, &mut upstream).await {
            tracing::debug!(%error, "an upgraded connection broke");
        }
    });
}
