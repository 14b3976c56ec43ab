//! The client that all downloads share.

use std::{fs, time::Duration};

use client::{
    Class, Classifier as _, Client, ClientBuilder, Error, Outcome, Proxy, RetryObserver,
    RetryPolicy, Timeouts, TlsOptions, Wait, budget::Unlimited, classifier_fn,
    retry_layer::EndedAttempt,
};
use tower::util::MapResponseLayer;

use crate::{
    arguments::{Arguments, shown},
    exit::Exit,
    screen::Screen,
    throttle::Throttled,
};

/// Builds it, or says why it cannot be, for which exit status.
pub(crate) fn client(arguments: &Arguments, screen: &Screen) -> Result<Client, (Exit, String)> {
    let usage = |error: Error| (Exit::Usage, format!("{error:#}"));
    let mut builder = Client::builder()
        .retry(policy(arguments, screen).map_err(usage)?)
        // A download takes as long as it takes; `--max-time` is for that.
        .deadline(None)
        // What is saved is what the server has.
        .decompression(false)
        .error_for_status(true);
    if let Some(time) = arguments.connect_timeout {
        builder = builder.timeouts(Timeouts::default().connect(time));
    }
    if let Some(proxy) = &arguments.proxy {
        let proxy = Proxy::all(proxy).map_err(|error| usage(error.into()))?;
        builder = builder.proxy(proxy);
    }
    if let Some(rate) = arguments.rate {
        builder = builder.layer(MapResponseLayer::new(
            move |response: http::Response<client::ResponseBody>| {
                response.map(|body| Throttled::new(body, rate))
            },
        ));
    }
    trusting(builder, arguments)?.build().map_err(usage)
}

fn policy(arguments: &Arguments, screen: &Screen) -> Result<RetryPolicy, Error> {
    let mut policy = RetryPolicy::builder()
        .max_attempts(arguments.retries.saturating_add(1))
        // The number that the user gave is the limit: there is no crowd of callers to hold back.
        .budget(Unlimited)
        .observer(Told(screen.clone()));
    if let Some(time) = arguments.retry_max_time {
        policy = policy.deadline(time);
    }
    if arguments.retry_all_errors {
        let any = classifier_fn(|outcome: &Outcome<'_>| match outcome.status() {
            Some(status) if status.is_client_error() || status.is_server_error() => {
                Class::Ambiguous
            }
            Some(_) => Class::Final,
            None => Class::Ambiguous,
        });
        policy = policy.map_classifier(|usual| usual.or(any));
    }
    Ok(policy.build()?)
}

fn trusting(
    builder: ClientBuilder,
    arguments: &Arguments,
) -> Result<ClientBuilder, (Exit, String)> {
    let Some(file) = &arguments.authorities else {
        return Ok(builder);
    };
    let bad = |why: String| (Exit::BadAuthority, format!("{}: {why}", file.display()));
    let pem = fs::read(file).map_err(|error| bad(error.to_string()))?;
    let options = TlsOptions::new().add_roots_pem(pem);
    let options = options.map_err(|error| bad(error.to_string()))?;
    let builder = builder.tls(options.only_added_roots());
    builder.map_err(|error| bad(format!("{error:#}")))
}

/// Tells of each attempt that failed and is made again.
struct Told(Screen);

impl RetryObserver for Told {
    fn sends_again(&self, attempt: &EndedAttempt<'_>, wait: Wait) {
        let url = attempt.uri().to_string();
        // A millisecond is all that a timer keeps.
        let wait = u64::try_from(wait.delay().as_millis()).unwrap_or(u64::MAX);
        self.0.note(&format!(
            "{}: {}; again after {:?}",
            shown(&url),
            attempt.record(),
            Duration::from_millis(wait)
        ));
    }
}
