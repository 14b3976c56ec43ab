//! How a call begins: the URL is made absolute, its credentials are taken out, the deadline is set.

use std::{mem, sync::atomic::Ordering::Acquire, time::Duration};

use http::{Method, Request, header::AUTHORIZATION};
use http_body::Body as _;
use retry_layer::Deadline;
use session_layer::{RequestOptions, TriedAddresses};
use tokio::time::Instant;

use super::{Call, Settings, Shared, observed::Observed, state::State};
use crate::{
    Body, DeadlinePhase, Error, NoDecompression,
    auth::{self, Refresh},
    collect::FollowsNone,
    deadline::{DeadlineTimer, Limit},
    decode,
    error::Kind,
    id,
    observe::{self, CallRecord},
    redirect::{self, Again, Kept},
    resume::Resume,
    setting,
    spreading::Spreading,
    stack::{Mode, Stack},
    target::{self, Credentials, Target},
    without_defaults::WithoutDefaults,
};

/// Starts a call.
#[inline]
pub(crate) fn start<W: Mode>(
    shared: &Shared,
    request: Request<Body>,
    timeout: Option<Duration>,
) -> Call<W> {
    let now = Instant::now();
    if shared.settings.are_calls_observed() {
        return start_observed(shared, request, timeout, now);
    }
    enter(shared, request, timeout, now, prepare)
}

/// Starts a call that a subscriber or a sink of metrics may want to know of.
#[cold]
fn start_observed<W: Mode>(
    shared: &Shared,
    mut request: Request<Body>,
    timeout: Option<Duration>,
    now: Instant,
) -> Call<W> {
    let prepared = prepare(&shared.settings, &mut request);
    let Settings {
        call_spans,
        sinks,
        paths,
        deferral,
        ..
    } = &shared.settings;
    let Some(record) = CallRecord::begin(&request, *call_spans, sinks, *paths) else {
        return enter(shared, request, timeout, now, |_, _| prepared);
    };
    if sinks.are_any() {
        observe::count_sent(&mut request);
    }
    let observed = Observed::start(record, request, |request| {
        enter(shared, request, timeout, now, |_, _| prepared)
    });
    let limit = observed.get_ref().and_then(Call::limit);
    let resume = observed.get_ref().map_or(Resume::None, Call::resume);
    Call {
        state: State::Observed {
            observed: Box::new(observed),
        },
        timer: DeadlineTimer::new(limit, deferral),
        decode: None,
        resume,
        shared: shared.clone(),
        kept: None,
        history: None,
    }
}

/// Prepares a call, and gives it to the stack.
#[inline]
pub(super) fn enter<W: Mode>(
    shared: &Shared,
    mut request: Request<Body>,
    timeout: Option<Duration>,
    now: Instant,
    prepare: impl FnOnce(&Settings, &mut Request<Body>) -> Result<(), Error>,
) -> Call<W> {
    let settings = &shared.settings;
    let prepared = prepare(settings, &mut request);
    if let Some(timeout) = timeout {
        setting::set(request.extensions_mut(), Deadline::within(timeout));
    }
    let of_request = request.extensions().get::<Deadline>();
    let within = timeout
        .or(of_request.map(Deadline::remaining))
        .or(settings.deadline);
    let limit = within.and_then(|within| Limit::new(now, within));
    let mut timer = DeadlineTimer::new(limit, &settings.deferral);
    let options = request.extensions().get::<RequestOptions>();
    if options.is_some_and(RequestOptions::may_wait_long) {
        // The session's timeouts, on which a call without a timer relies, do not count.
        timer.arm();
    }
    if !request.body().is_end_stream() {
        // How long it takes to be sent is bound by nothing else.
        timer.arm();
        if let Some(factory) = request.body().factory() {
            setting::set(request.extensions_mut(), factory);
        }
    }
    // Nothing is left to decode if the body was collected, below the retries.
    let decode = if settings.decompression {
        decode::wanted(&request, settings.decode_limits)
    } else {
        None
    };
    // To call the stack is to begin: what is too late must not get there.
    let prepared = prepared.and_then(|()| match limit {
        Some(limit) if limit.within().is_zero() => {
            Err(limit.exceeded().in_phase(Some(DeadlinePhase::Start)))
        }
        Some(_) | None => Ok(()),
    });
    if W::COLLECTS && redirect::follows_none(&request, &settings.redirects) {
        setting::set(request.extensions_mut(), FollowsNone);
    }
    if let Err(error) = prepared {
        return Call::failed(shared, &request, error);
    }
    let kept = keep(&shared.stack, &request, settings);
    let resume = if W::COLLECTS {
        Resume::None
    } else {
        Resume::of(&request, settings.resume)
    };
    // One literal, with the state made where it stays.
    Call {
        state: State::enter(&shared.stack, request, now),
        timer,
        decode,
        resume,
        shared: shared.clone(),
        kept,
        history: None,
    }
}

pub(crate) fn prepare(settings: &Settings, request: &mut Request<Body>) -> Result<(), Error> {
    if settings.closed.load(Acquire) {
        return Err(Error::new(Kind::Closed));
    }
    let credentials = if target::is_sendable(request.uri()) {
        None
    } else {
        let uri = mem::take(request.uri_mut());
        let Target { uri, credentials } = target::resolve(uri, settings.base.as_ref())?;
        *request.uri_mut() = uri;
        if target::is_asterisk(request.uri()) && request.method() != Method::OPTIONS {
            return Err(Error::builder(
                "only an OPTIONS request can be about the server as a whole, with `*` for its path",
            ));
        }
        credentials
    };
    let request_id = settings.request_id.as_ref();
    if let Some(name) = request_id.filter(|name| !WithoutDefaults::of(request).has(name)) {
        id::give(request.headers_mut(), name);
    }
    if settings.renews {
        setting::set(request.extensions_mut(), Refresh::default());
    }
    if settings.spreading == Spreading::On {
        setting::set(request.extensions_mut(), TriedAddresses::new());
    }
    if decode::IS_POSSIBLE && !settings.decompression {
        setting::set(request.extensions_mut(), NoDecompression);
    }
    authorize(request, credentials)
}

/// Sends the credentials of a URL as Basic ones, unless the request has others.
#[inline]
pub(crate) fn authorize(
    request: &mut Request<Body>,
    credentials: Option<Credentials>,
) -> Result<(), Error> {
    let Some(Credentials { user, password }) = credentials else {
        return Ok(());
    };
    let value = auth::basic(&user, &password)?;
    request.headers_mut().entry(AUTHORIZATION).or_insert(value);
    Ok(())
}

/// Keeps what the stack does not keep.
pub(super) fn keep(
    stack: &Stack,
    request: &Request<Body>,
    settings: &Settings,
) -> Option<Box<Kept>> {
    if stack.keeps(request) {
        return None;
    }
    let mut again = Request::new(Again::Copied(request.body().again()));
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.version_mut() = request.version();
    *again.headers_mut() = request.headers().clone();
    *again.extensions_mut() = request.extensions().clone();
    Some(Box::new(Kept::new(again, &settings.redirects)))
}
