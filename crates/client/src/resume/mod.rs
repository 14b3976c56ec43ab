//! Continues the bodies of responses where they break: [`retry_layer::resume`], with calls of this
//! crate to ask for the rest.
//!
//! It stands above redirects, so that the URL of the call is asked again, and below decoding. A
//! body is wrapped when its response leaves the call, or when it is about to be saved. Until then
//! only the parts of the request are kept that the retry layer has kept anyway.

mod again;
mod body;

use http::{
    Extensions, HeaderMap, Method, Request, Response, Uri,
    header::{CONTENT_ENCODING, HeaderValue},
};
use retry_layer::resume::ResumeBody;

pub(crate) use self::again::Calls;
use self::{
    again::{Again, Defaults},
    body::Resumed,
};
use crate::{ResponseBody, description::Description, forward::AsItIs};

/// Which bodies are continued where they break: a setting of the client, and of one call.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Resume {
    /// Only bodies that are saved to files.
    #[cfg(feature = "fs")]
    #[default]
    Saved,
    All,
    #[cfg_attr(not(feature = "fs"), default)]
    None,
}

impl Resume {
    /// The setting of the request, or else of the client. The body for a forwarded request is never
    /// continued.
    #[inline]
    pub(crate) fn of<B>(request: &Request<B>, of_client: Self) -> Self {
        if AsItIs::is(request) {
            return Self::None;
        }
        request.extensions().get().copied().unwrap_or(of_client)
    }
}

impl From<bool> for Resume {
    fn from(on: bool) -> Self {
        if on { Self::All } else { Self::None }
    }
}

/// The parts of a request from which the rest of the body is asked for, beside its method and URL.
/// They were kept for its attempts anyway.
pub(crate) struct Source<C> {
    calls: C,
    /// The method and the URI, where they are not those of the call: it was one that cannot be continued, and
    /// was redirected to one that can.
    hop: Option<Box<(Method, Uri)>>,
    headers: HeaderMap,
    extensions: Extensions,
}

impl<C: Calls> Source<C> {
    pub(crate) fn new(
        calls: C,
        hop: Option<Box<(Method, Uri)>>,
        headers: HeaderMap,
        extensions: Extensions,
    ) -> Self {
        Self {
            calls,
            hop,
            headers,
            extensions,
        }
    }

    /// Whether the head of a response does not rule it out at first sight.
    #[cfg(feature = "fs")]
    #[inline]
    pub(crate) fn suits<B>(response: &Response<B>) -> bool {
        matches!(response.status().as_u16(), 200 | 206)
    }

    /// Wraps the body of this response to a call, of which nothing was read, so that it is continued
    /// where it breaks, if that is possible.
    #[cold]
    pub(crate) fn wrap(self, asked: &Description, response: &mut Response<ResponseBody>) {
        let Self {
            calls,
            hop,
            headers,
            extensions,
        } = self;
        let (method, uri) = match &hop {
            Some(hop) => (&hop.0, &hop.1),
            None => asked.asked(),
        };
        let answered = again::answered(uri, response).clone();
        let mut request = Request::new(());
        request.method_mut().clone_from(method);
        request.uri_mut().clone_from(uri);
        *request.headers_mut() = headers;
        *request.extensions_mut() = extensions;
        // The head as it was before the body was decoded.
        let mut head = Response::new(());
        *head.status_mut() = response.status();
        head.headers_mut().clone_from(response.headers());
        head.extensions_mut().clone_from(response.extensions());
        let (codings, body) = response.body_mut().encoded();
        if let Some(codings) = codings {
            if let Ok(codings) = HeaderValue::try_from(codings) {
                head.headers_mut().insert(CONTENT_ENCODING, codings);
            }
        }
        let policy = calls.policy().clone();
        let (head, ()) = head.into_parts();
        let encoded = std::mem::take(body);
        let connection = encoded.connection().cloned();
        let defaults = Defaults::default();
        let resumed = ResumeBody::new(
            Again::new(calls, answered, defaults.clone()),
            &policy,
            request,
            &head,
            encoded,
        );
        *body = ResponseBody::wrapped(Resumed::new(resumed, connection, defaults));
    }
}
