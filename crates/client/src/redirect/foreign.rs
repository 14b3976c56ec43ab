//! Policies for redirects that others have written: those of tower-http.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::{Future as _, ready},
    pin::pin,
    task::{Context, Waker},
};

use http::{
    Method, Request, Response,
    header::{HeaderValue, LOCATION},
};
use tower::service_fn;
use tower_http::follow_redirect::{
    FollowRedirect,
    policy::{Action, Attempt, Policy, redirect_fn},
};
use tower_service::Service as _;

use super::policy::{CallPolicy, Redirect, RedirectAction};
use crate::{Body, error::BoxError};

impl<P> CallPolicy for P
where
    P: Policy<Body, BoxError> + Send,
{
    fn on_request(&mut self, request: &mut Request<Body>) {
        Policy::on_request(self, request);
    }

    /// Only tower-http's own service makes an `Attempt`, so it is given a request and its redirect. What it
    /// would send next it does not get to send.
    fn action(
        &mut self,
        asked: &Method,
        redirect: &Redirect<'_>,
    ) -> Result<RedirectAction, BoxError> {
        let policy = RefCell::new(self);
        let decided = RefCell::new(None);
        let ask = |attempt: &Attempt<'_>| {
            let action = policy.borrow_mut().redirect(attempt);
            *decided.borrow_mut() = Some(action);
            Ok(Action::Stop)
        };
        let answer = |_: Request<Body>| ready(Ok::<_, Infallible>(response_of(redirect)));
        let mut service = FollowRedirect::with_policy(service_fn(answer), redirect_fn(ask));
        let mut request = Request::new(Body::empty());
        request.method_mut().clone_from(asked);
        request.uri_mut().clone_from(redirect.from());
        {
            let call = pin!(service.call(request));
            let polled = call.poll(&mut Context::from_waker(Waker::noop()));
            debug_assert!(polled.is_ready(), "it is answered at once");
        }
        match decided.into_inner() {
            Some(Ok(Action::Follow)) => Ok(RedirectAction::Follow),
            // None where tower-http does not see a redirect: what it would return is returned.
            Some(Ok(Action::Stop)) | None => Ok(RedirectAction::Stop),
            Some(Err(error)) => Err(error),
        }
    }
}

fn response_of(redirect: &Redirect<'_>) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = redirect.status();
    if let Ok(location) = HeaderValue::try_from(redirect.to().to_string()) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}
