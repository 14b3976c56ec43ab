//! Optional changes to the attempts of a client. A client without any of them has no `Extras`, so
//! an attempt pays one check for all of them.

use std::fmt;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{AUTHORIZATION, Entry},
    uri::Scheme,
};
use retry_layer::{Attempt, breaker::Breaker, health::PartitionKey};

use crate::{
    CrossOrigin, auth::Auth, forward::AsItIs, id, observe::TraceContext, origin, target::Base,
    without_defaults::WithoutDefaults,
};

#[derive(Default)]
pub(crate) struct Extras {
    /// The own origins, to which all this applies; if empty, the first origin of each call is its
    /// own.
    pub(crate) own_origins: Vec<Uri>,
    pub(crate) headers: HeaderMap,
    pub(crate) auth: Option<Auth>,
    pub(crate) attempt_id: Option<HeaderName>,
    /// The endpoints of the attempts of a call, one after the other; the last one repeats.
    pub(crate) endpoints: Vec<Base>,
    /// Whether no attempt may go out without TLS.
    pub(crate) https_only: bool,
    pub(crate) trace_context: TraceContext,
    /// Which endpoints are passed over.
    pub(crate) circuits: Option<Circuits>,
}

/// What is left to do for an attempt.
#[derive(Debug, Default)]
pub(crate) struct Decorated {
    /// The URI, if it was changed.
    pub(crate) moved: Option<Uri>,
    /// Whether credentials have to be fetched or computed.
    pub(crate) authorizes: bool,
    /// Whether it must not be sent, because it would go out without TLS.
    pub(crate) refused: bool,
    /// Whether it carries the context of its trace.
    pub(crate) traced: bool,
}

impl Decorated {
    /// Whether nothing is left to do.
    pub(crate) fn is_ready(&self) -> bool {
        self.moved.is_none() && !self.authorizes
    }
}

impl Extras {
    /// `None` if no option is set.
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        let Self {
            own_origins: _,
            headers,
            auth,
            attempt_id,
            endpoints,
            https_only,
            trace_context,
            circuits: _,
        } = &self;
        let idle = headers.is_empty()
            && auth.is_none()
            && attempt_id.is_none()
            && endpoints.is_empty()
            && !https_only
            && !trace_context.is_set();
        (!idle).then(|| Box::new(self))
    }

    /// Makes the changes that need no wait.
    pub(crate) fn decorate<B>(&self, request: &mut Request<B>) -> Decorated {
        let without = WithoutDefaults::of(request);
        if let Some(name) = self.attempt_id.as_ref().filter(|it| !without.has(it)) {
            id::give(request.headers_mut(), name);
        }
        let moved = self.endpoint(request);
        if let Some(uri) = &moved {
            *request.uri_mut() = uri.clone();
        }
        let is_own = self.is_own_origin(request);
        // The response to TRACE repeats the request's headers (RFC 9110, section 9.3.8).
        let is_shown = request.method() == Method::TRACE;
        if is_own {
            add(request.headers_mut(), &self.headers, &without, is_shown);
        }
        let authorizes = is_own
            && !is_shown
            && self.auth.is_some()
            && !without.has(&AUTHORIZATION)
            && !request.headers().contains_key(AUTHORIZATION);
        let refused = self.refuses(request.uri());
        Decorated {
            moved,
            authorizes,
            refused,
            traced: self.trace_context.is_for(request),
        }
    }

    /// Whether no attempt may go to this URI, because it would go out without TLS.
    pub(crate) fn refuses(&self, uri: &Uri) -> bool {
        self.https_only && uri.scheme() != Some(&Scheme::HTTPS)
    }

    /// Whether a request goes where the client's own headers and credentials may go.
    pub(crate) fn is_own_origin<B>(&self, request: &Request<B>) -> bool {
        let uri = request.uri();
        request.extensions().get::<CrossOrigin>().is_none()
            && !AsItIs::is(request)
            && (self.own_origins.is_empty()
                || self.own_origins.iter().any(|own| origin::is_same(own, uri)))
    }

    /// Returns the URI of an attempt that goes to another endpoint than the first.
    fn endpoint<B>(&self, request: &Request<B>) -> Option<Uri> {
        let last = self.endpoints.len().checked_sub(1)?;
        let attempt = request.extensions().get::<Attempt>();
        let index = match (attempt, &self.circuits) {
            (None, None) => return None,
            (None, Some(_)) => 0,
            (Some(attempt), _) => usize::try_from(attempt.number()).ok()?.checked_sub(1)?,
        };
        let index = match &self.circuits {
            Some(circuits) => circuits.pass_over_open(index.min(last)),
            None => index.min(last),
        };
        let (first, base) = (self.endpoints.first()?, self.endpoints.get(index)?);
        let own = self.own_origins.first()?;
        let is_below = origin::is_same(own, request.uri());
        if index == 0 || !is_below || request.extensions().get::<CrossOrigin>().is_some() {
            return None;
        }
        first.moved(request.uri(), base)
    }
}

/// The circuits of the endpoints.
#[derive(Debug)]
pub(crate) struct Circuits {
    breaker: Breaker,
    /// Those of the endpoints, in their order.
    keys: Vec<PartitionKey>,
}

impl Circuits {
    /// `None` if there is nothing to choose from.
    pub(crate) fn new(breaker: Breaker, origins: &[Uri]) -> Option<Self> {
        let keys = origins.iter().map(PartitionKey::of).collect();
        (origins.len() > 1).then_some(Self { breaker, keys })
    }

    /// The endpoint at this index, or the next one whose circuit lets a request pass: it is not open,
    /// nor probed by another request at this moment. If there is none, it stays.
    fn pass_over_open(&self, index: usize) -> usize {
        let keys = self.keys.iter().enumerate();
        keys.cycle()
            .skip(index)
            .take(self.keys.len())
            .find(|(_, key)| self.breaker.admits(key))
            .map_or(index, |(index, _)| index)
    }
}

impl fmt::Debug for Extras {
    // Only the names of headers, because any value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extras")
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("auth", &self.auth)
            .field("attempt_id", &self.attempt_id)
            .field("endpoints", &self.endpoints)
            .field("https_only", &self.https_only)
            .field("trace_context", &self.trace_context)
            .finish_non_exhaustive()
    }
}

/// Adds the headers that a request does not have and does not exclude; where the response will
/// repeat the headers, no secret ones.
fn add(headers: &mut HeaderMap, added: &HeaderMap, without: &WithoutDefaults, is_shown: bool) {
    for name in added.keys().filter(|name| !without.has(name)) {
        if let Entry::Vacant(vacant) = headers.entry(name) {
            let values = added.get_all(name).iter();
            let mut values = values
                .filter(|it| !(is_shown && it.is_sensitive()))
                .cloned();
            if let Some(first) = values.next() {
                let mut entry = vacant.insert_entry(first);
                values.for_each(|value: HeaderValue| entry.append(value));
            }
        }
    }
}
