use http::{
    Extensions, HeaderMap, Method, Request, Response, StatusCode, Uri, Version, header::LOCATION,
};
use retry_layer::{BodyFactory, ResponseExt as _, RetryReport};

use super::{
    headers,
    history::{Answerer, Hop, Redirected},
    location::Location,
    policy::{Redirect, RedirectAction, Redirects},
};
use crate::{Body, Error, ResponseBody, error::Kind, observe::SentBefore, origin};

/// What is kept of a request so that a redirect can be followed: counts, but for headers and
/// extensions where there are any.
#[derive(Debug)]
pub(crate) struct Kept {
    redirects: Redirects,
    version: Version,
    /// Nothing if there are none, which is cheaper to drop than an empty map.
    headers: Option<HeaderMap>,
    extensions: Extensions,
    /// None if it cannot be had again.
    body: Option<Body>,
    /// What happened by now: nothing, for most calls.
    history: Option<Box<History>>,
}

#[derive(Debug, Default)]
struct History {
    hops: Vec<Hop>,
    fragment: Option<String>,
    /// What was tried on these hops.
    report: Option<RetryReport>,
}

/// What follows a redirect.
#[derive(Debug)]
#[must_use = "a redirect that nobody acts upon leaves the call hanging"]
pub(crate) enum Next {
    Return,
    Follow(Box<Request<Body>>),
    Fail(Error),
}

impl Kept {
    /// Keeps a request, unless none of its redirects would be followed.
    pub(crate) fn new(request: &Request<Body>, of_client: &Redirects) -> Option<Self> {
        let redirects = request.extensions().get().unwrap_or(of_client);
        redirects.limit()?;
        Some(Self {
            redirects: redirects.clone(),
            version: request.version(),
            headers: (!request.headers().is_empty()).then(|| request.headers().clone()),
            extensions: request.extensions().clone(),
            body: request.body().again(),
            history: None,
        })
    }

    /// Decides what follows this answer to the request that `method` and `uri` describe.
    pub(crate) fn next(
        &mut self,
        method: &Method,
        uri: &Uri,
        response: &Response<ResponseBody>,
    ) -> Next {
        self.decide(method, uri, response)
            .unwrap_or_else(Next::Fail)
    }

    fn decide(
        &mut self,
        method: &Method,
        uri: &Uri,
        response: &Response<ResponseBody>,
    ) -> Result<Next, Error> {
        let status = response.status();
        let (Some(changed), Some(location)) = (
            method_after(status, method),
            response.headers().get(LOCATION),
        ) else {
            return Ok(Next::Return);
        };
        let body = match changed {
            Change::ToGet => Some(Body::empty()),
            Change::Nothing => self.body_again(),
        };
        let Some(body) = body else {
            return Ok(Next::Return);
        };
        let uri = Answerer::of(response).unwrap_or(uri);
        let to = Location::resolve(location, uri)?;
        self.check(uri, &to.uri)?;
        let method = match changed {
            Change::ToGet => &Method::GET,
            Change::Nothing => method,
        };
        let redirect = Redirect {
            status,
            method,
            from: uri,
            to: &to.uri,
            number: self.followed().saturating_add(1),
        };
        match self.redirects.action(&redirect) {
            RedirectAction::Follow => {}
            RedirectAction::Stop => return Ok(Next::Return),
            RedirectAction::Refuse => return Err(refused("the client's rules refuse a redirect")),
        }
        if redirect.is_cross_origin() {
            if let Some(headers) = &mut self.headers {
                headers::leave_origin(headers, &self.redirects);
            }
            self.extensions = headers::leave_origin_behind(&self.extensions);
        }
        if let Change::ToGet = changed {
            if let Some(headers) = &mut self.headers {
                headers::drop_those_of_the_body(headers);
            }
            self.extensions.remove::<BodyFactory<Body>>();
            self.body = Some(Body::empty());
        }
        let report = self.complete(Some(response.retry_report()));
        let sent = report.as_ref().map_or(0, |report| report.attempts().len());
        let sent = SentBefore(u32::try_from(sent).unwrap_or(u32::MAX));
        let history = self.history.get_or_insert_default();
        history.report = report;
        history.hops.push(Hop {
            uri: uri.clone(),
            status,
        });
        if to.fragment.is_some() {
            history.fragment = to.fragment;
        }
        let mut request = self.request(method, to.uri, body);
        request.extensions_mut().insert(sent);
        Ok(Next::Follow(Box::new(request)))
    }

    fn check(&self, from: &Uri, to: &Uri) -> Result<(), Error> {
        let limit = self.redirects.limit().unwrap_or_default();
        if self.followed() >= limit {
            return Err(refused(format!(
                "more than {limit} redirects; see `Redirects::limited`"
            )));
        }
        let downgrade = origin::is_secure(from) && !origin::is_secure(to);
        if downgrade && !self.redirects.allows_downgrade() {
            return Err(refused(
                "a redirect from https to http is not followed; see `Redirects::allow_downgrade`",
            ));
        }
        Ok(())
    }

    fn followed(&self) -> u32 {
        let hops = self
            .history
            .as_ref()
            .map_or(0, |history| history.hops.len());
        u32::try_from(hops).unwrap_or(u32::MAX)
    }

    fn body_again(&self) -> Option<Body> {
        match self.extensions.get::<BodyFactory<Body>>() {
            Some(factory) => Some(factory.make()),
            None => self.body.as_ref()?.again(),
        }
    }

    fn request(&self, method: &Method, uri: Uri, body: Body) -> Request<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri;
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.clone().unwrap_or_default();
        *request.extensions_mut() = self.extensions.clone();
        request
    }

    /// Puts what was tried on the hops before in front of what was tried on the last one.
    pub(crate) fn complete(&mut self, last: Option<RetryReport>) -> Option<RetryReport> {
        let history = self.history.as_mut();
        let before = history.and_then(|history| history.report.take());
        match (before, last) {
            (Some(before), Some(last)) => Some(before.followed_by(last)),
            (before, last) => before.or(last),
        }
    }

    /// Tells the response of a call that was redirected how it came about.
    pub(crate) fn annotate(&mut self, uri: &Uri, response: &mut Response<ResponseBody>) {
        if self.history.is_none() {
            return;
        }
        if let Some(report) = self.complete(Some(response.retry_report())) {
            response.extensions_mut().insert(report);
        }
        if let Some(history) = self.history.take() {
            let uri = Answerer::of(response).unwrap_or(uri).clone();
            response.extensions_mut().insert(Redirected {
                uri,
                fragment: history.fragment,
                hops: history.hops,
            });
        }
    }
}

/// Whether this response may be followed.
pub(crate) fn is_redirect<T>(response: &Response<T>) -> bool {
    response.status().is_redirection() && response.headers().contains_key(LOCATION)
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Change {
    Nothing,
    ToGet,
}

/// What becomes of the method; `None` for a status that is not followed.
fn method_after(status: StatusCode, method: &Method) -> Option<Change> {
    match status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND if method == Method::POST => {
            Some(Change::ToGet)
        }
        StatusCode::SEE_OTHER if method != Method::GET && method != Method::HEAD => {
            Some(Change::ToGet)
        }
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => Some(Change::Nothing),
        _ => None,
    }
}

fn refused(why: impl Into<String>) -> Error {
    Error::new(Kind::Redirect(why.into()))
}
