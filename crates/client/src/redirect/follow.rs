use std::mem;

use http::{
    Extensions, HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::LOCATION,
};
use http_body::Body as HttpBody;
use retry_layer::{
    BodyFactory, Deadline, EarlierTransparentRetries, KeptBody, ResponseExt as _, Resumption,
    RetryReport,
};
use session_layer::{RequestOptions, TriedAddresses};

use super::{
    headers,
    history::{Answerer, CrossOrigin, Hop, Redirected},
    location::Location,
    policy::{CallPolicy, Redirect, RedirectAction, Redirects},
};
use crate::{
    Body, Error, ResponseBody, UrlTemplate, call_settings,
    deadline::Limit,
    error::Kind,
    observe::{SentBefore, SentBytes},
    origin, setting,
};

/// What is kept of a request so that a redirect can be followed, and an error can say what it is
/// about.
#[derive(Debug)]
pub(crate) struct Kept {
    redirects: Redirects,
    request: Request<Again>,
}

/// How the body of a request is had again.
#[derive(Debug)]
pub(crate) enum Again {
    /// It was copied before the request was sent; `None` if it cannot be had again.
    Copied(Option<Body>),
    /// The retry layer has kept it.
    Replayed(KeptBody<Body>),
}

/// The request of a call that was redirected.
#[derive(Debug)]
pub(crate) struct First {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    /// What else is needed to ask for the rest of a body. `None` if that is not possible.
    pub(crate) head: Option<(HeaderMap, Extensions)>,
}

/// The redirects of a call by now.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// There from the first redirect on, until the response of the call is given.
    pub(crate) first: Option<First>,
    /// The policy of another crate, if there is one.
    policy: Option<Box<dyn CallPolicy>>,
    hops: Vec<Hop>,
    fragment: Option<String>,
    /// What was tried on these hops.
    report: Option<RetryReport>,
}

/// What follows a redirect.
#[derive(Debug)]
#[must_use = "a redirect that is not acted upon leaves the call hanging"]
pub(crate) enum Next {
    Return,
    Follow(Box<Request<Body>>),
    Fail(Error),
}

impl Kept {
    pub(crate) fn new(request: Request<Again>, of_client: &Redirects) -> Self {
        let redirects = request.extensions().get().unwrap_or(of_client);
        Self {
            redirects: redirects.clone(),
            request,
        }
    }

    pub(crate) fn into_request(self) -> Request<Again> {
        self.request
    }

    pub(crate) fn asked(&self) -> (&Method, &Uri) {
        (self.request.method(), self.request.uri())
    }

    /// Decides what follows this answer, in a call that has to be over by `limit`.
    #[cold]
    pub(crate) fn next(
        &mut self,
        history: &mut Option<Box<History>>,
        limit: Option<Limit>,
        response: &Response<ResponseBody>,
    ) -> Next {
        match self.decide(history, response) {
            Ok(None) => Next::Return,
            Ok(Some(mut next)) => {
                if let Some(limit) = limit {
                    setting::set(next.extensions_mut(), Deadline::at(limit.at));
                }
                Next::Follow(next)
            }
            Err(error) => Next::Fail(error),
        }
    }

    fn decide(
        &mut self,
        history: &mut Option<Box<History>>,
        response: &Response<ResponseBody>,
    ) -> Result<Option<Box<Request<Body>>>, Error> {
        let Some(limit) = self.redirects.limit() else {
            return Ok(None);
        };
        let status = response.status();
        let (Some(changed), Some(location)) = (
            method_after(status, self.request.method()),
            location_of(response),
        ) else {
            return Ok(None);
        };
        // Before its body is taken.
        let first = history.is_none().then(|| First::of(&self.request));
        let body = match changed {
            Change::ToGet => Some(Body::empty()),
            Change::Nothing => self.take_body(),
        };
        let Some(body) = body else {
            return Ok(None);
        };
        let from = Answerer::of(response).unwrap_or(self.request.uri()).clone();
        let to = Location::resolve(location, &from)?;
        let hops = history.as_ref().map_or(&[][..], |history| &history.hops);
        if changed == Change::Nothing
            && !self.request.method().is_idempotent()
            && is_loop(&to.uri, &from, hops)
        {
            return Ok(None);
        }
        let followed = hops.len();
        let followed = u32::try_from(followed).unwrap_or(u32::MAX);
        self.check(followed, limit, &from, &to.uri)?;
        let method = match changed {
            Change::ToGet => &Method::GET,
            Change::Nothing => self.request.method(),
        };
        let redirect = Redirect {
            status,
            method,
            from: &from,
            to: &to.uri,
            number: followed.saturating_add(1),
        };
        match self.redirects.action(&redirect) {
            RedirectAction::Follow => {}
            RedirectAction::Stop => return Ok(None),
            RedirectAction::Refuse => return Err(refused("the client's rules refuse a redirect")),
        }
        let mut policy = self.policy(history);
        if let Some(policy) = &mut policy {
            let decided = policy.action(self.request.method(), &redirect);
            match decided.map_err(|why| refused("the policy refuses a redirect").with(why))? {
                RedirectAction::Follow => {}
                RedirectAction::Stop => return Ok(None),
                RedirectAction::Refuse => return Err(refused("the policy refuses a redirect")),
            }
        }
        let leaves = redirect.is_cross_origin();
        let spreads = self.request.extensions_mut().remove::<TriedAddresses>();
        if leaves {
            self.leave_origin();
        }
        if spreads.is_some() {
            // Those that answered the last hop are as good as any for this one.
            setting::set(self.request.extensions_mut(), TriedAddresses::new());
        }
        if let Change::ToGet = changed {
            *self.request.method_mut() = Method::GET;
            headers::drop_those_of_the_body(self.request.headers_mut());
            self.request.extensions_mut().remove::<BodyFactory<Body>>();
            self.request.extensions_mut().remove::<SentBytes>();
        }
        let history = history.get_or_insert_default();
        history.first = history.first.take().or(first);
        let report = history.complete(Some(response.retry_report()));
        let sent = report.as_ref().map_or(0, |report| report.attempts().len());
        let before = self.request.extensions().get();
        let before = before.map_or(0, Resumption::exchanges);
        let sent = u32::try_from(sent).unwrap_or(u32::MAX);
        let sent = SentBefore(before.saturating_add(sent));
        let earlier = report.as_ref().map(EarlierTransparentRetries::of);
        history.report = report;
        history.hops.push(Hop { uri: from, status });
        if to.fragment.is_some() {
            history.fragment = to.fragment;
        }
        // It is for the URL that is left.
        self.request.extensions_mut().remove::<UrlTemplate>();
        let mut next = mem::take(&mut self.request).map(|_| body);
        *next.uri_mut() = to.uri;
        if let Some(policy) = &mut policy {
            show(&mut **policy, &mut next);
        }
        history.policy = policy;
        setting::set(next.extensions_mut(), sent);
        if let Some(earlier) = earlier {
            setting::set(next.extensions_mut(), earlier);
        }
        Ok(Some(Box::new(next)))
    }

    /// Takes out of the request what another origin must not get.
    fn leave_origin(&mut self) {
        headers::leave_origin(self.request.headers_mut(), &self.redirects);
        let mut of_the_call = call_settings::only(self.request.extensions());
        setting::set(&mut of_the_call, CrossOrigin);
        if let Some(options) = self.request.extensions().get().copied() {
            setting::set(&mut of_the_call, RequestOptions::for_another_peer(options));
        }
        *self.request.extensions_mut() = of_the_call;
    }

    /// The policy of the caller, which has seen all requests of the call by now.
    fn policy(&self, history: &mut Option<Box<History>>) -> Option<Box<dyn CallPolicy>> {
        if let Some(history) = history {
            return history.policy.take();
        }
        let mut policy = self.redirects.begin_policy()?;
        let mut first = Request::new(());
        first.method_mut().clone_from(self.request.method());
        first.uri_mut().clone_from(self.request.uri());
        first.headers_mut().clone_from(self.request.headers());
        first.extensions_mut().clone_from(self.request.extensions());
        show(&mut *policy, &mut first);
        Some(policy)
    }

    fn check(&self, followed: u32, limit: u32, from: &Uri, to: &Uri) -> Result<(), Error> {
        if followed >= limit {
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

    fn take_body(&mut self) -> Option<Body> {
        match self.request.extensions().get::<BodyFactory<Body>>() {
            Some(factory) => Some(factory.make()),
            None => match self.request.body_mut() {
                Again::Copied(body) => body.take(),
                Again::Replayed(body) => body.again().map(Body::new),
            },
        }
    }
}

impl Again {
    fn is_empty(&self) -> bool {
        match self {
            Self::Copied(body) => body.as_ref().is_some_and(HttpBody::is_end_stream),
            Self::Replayed(body) => body.is_empty(),
        }
    }
}

impl Default for Again {
    fn default() -> Self {
        Self::Copied(None)
    }
}

impl First {
    fn of(request: &Request<Again>) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            head: can_be_continued(request)
                .then(|| (request.headers().clone(), request.extensions().clone())),
        }
    }
}

/// Whether the body of a response to this request could be continued, as far as the request tells.
#[inline]
pub(crate) fn can_be_continued(request: &Request<Again>) -> bool {
    request.method() == Method::GET && request.body().is_empty()
}

impl History {
    /// Puts what was tried on the hops before in front of what was tried on the last one.
    pub(crate) fn complete(&mut self, last: Option<RetryReport>) -> Option<RetryReport> {
        match (self.report.take(), last) {
            (Some(before), Some(last)) => Some(before.followed_by(last)),
            (before, last) => before.or(last),
        }
    }

    /// Tells the response of a call that was redirected how it came about.
    pub(crate) fn annotate(&mut self, last: &Kept, response: &mut Response<ResponseBody>) {
        if let Some(report) = self.complete(Some(response.retry_report())) {
            response.extensions_mut().insert(report);
        }
        let (method, asked) = last.asked();
        let uri = Answerer::of(response).unwrap_or(asked).clone();
        response.extensions_mut().insert(Redirected {
            method: method.clone(),
            uri,
            fragment: self.fragment.take(),
            hops: mem::take(&mut self.hops),
        });
    }
}

/// Has a policy look at what is its caller's of a request: headers, and extensions but for the settings of the
/// call. What it leaves of them stays; all else it cannot change.
fn show<B>(policy: &mut dyn CallPolicy, request: &mut Request<B>) {
    let settings = call_settings::take(request.extensions_mut());
    let mut shown = Request::new(Body::empty());
    shown.method_mut().clone_from(request.method());
    shown.uri_mut().clone_from(request.uri());
    *shown.version_mut() = request.version();
    *shown.headers_mut() = mem::take(request.headers_mut());
    *shown.extensions_mut() = mem::take(request.extensions_mut());
    policy.on_request(&mut shown);
    let (shown, _) = shown.into_parts();
    *request.headers_mut() = shown.headers;
    *request.extensions_mut() = shown.extensions;
    request.extensions_mut().extend(settings);
}

/// Whether no redirect of this request will be followed.
pub(crate) fn follows_none<B>(request: &Request<B>, of_client: &Redirects) -> bool {
    let redirects = request.extensions().get().unwrap_or(of_client);
    redirects.limit().is_none()
}

/// Whether this response may be followed.
pub(crate) fn is_redirect<T>(response: &Response<T>) -> bool {
    response.status().is_redirection() && location_of(response).is_some()
}

/// The `Location` of a response. One without a value leads nowhere; as a reference it would mean
/// the URL that gave it.
fn location_of<T>(response: &Response<T>) -> Option<&HeaderValue> {
    let location = response.headers().get(LOCATION)?;
    (!location.as_bytes().trim_ascii().is_empty()).then_some(location)
}

/// Whether this URL has been asked in this call. A method that is not idempotent has not changed by
/// then, since it can only become GET: so the same request would be processed again.
fn is_loop(to: &Uri, from: &Uri, hops: &[Hop]) -> bool {
    let asked = hops.iter().map(|hop| &hop.uri).chain([from]);
    let is_same = |uri: &Uri| origin::is_same(uri, to) && path_of(uri) == path_of(to);
    asked.into_iter().any(is_same)
}

/// Path and query, where none stands for the root.
fn path_of(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |it| it.as_str())
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
