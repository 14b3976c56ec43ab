//! What the settings become: the settings of a call, and the parts of the stack.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Body as HttpBody;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;
use session_layer::Session;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Body, Client, ClientBuilder, Error, attempt, call, classify, decode,
    error::BoxError,
    explain::{Below, Facts},
    extras::Circuits,
    layers::AttemptBody,
    observe::Paths,
    resume::Resume,
    stack::{self, Parts},
    target::Base,
};

impl ClientBuilder {
    /// Builds the client. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// If a setting is not valid, such as 0 attempts, a cap below the base, or a limit or timeout
    /// of 0. The error names the setting, and [`is_builder`](Error::is_builder) holds for it.
    pub fn build(self) -> Result<Client, Error> {
        // The connect timeout covers all addresses of a name together.
        let connect = self.timeouts.connect_timeout();
        let connector = self.connector.clone().connect_timeout(connect);
        let below = Below::Session(Box::new(connector.clone()));
        self.build_over(connector, below)
    }

    /// Builds the client over your own connector, such as an in-memory one for tests, or one that
    /// wraps a [`Connector`](session_layer::Connector). The settings of this crate's [`connector`](Self::connector), such as
    /// TLS and proxies, have no effect then.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build).
    pub fn build_with_connector<C>(self, connector: C) -> Result<Client, Error>
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Read + Write + Connection + Unpin + Send + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
    {
        self.build_over(connector, Below::OwnConnector)
    }

    fn build_over<C>(mut self, connector: C, below: Below) -> Result<Client, Error>
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Read + Write + Connection + Unpin + Send + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
    {
        let session: Session<AttemptBody> = self.session_layer()?.layer(connector);
        let (mut settings, parts) = self.split()?;
        settings.facts.below = below;
        let stack = stack::over_session(session.clone(), parts);
        Ok(Client::assemble(settings, stack, Some(session)))
    }

    /// Builds the client with its retries, over a service in place of the session: a mock whose
    /// failures are to be retried, or a client of hyper-util.
    ///
    /// The retries judge an error of the service by its causes. The settings of the session have no
    /// effect. A [`Session`] is such a service too, whose errors are known, so several clients with
    /// different settings can share one.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build).
    pub fn build_with_service<S, R>(self, service: S) -> Result<Client, Error>
    where
        S: Service<Request<Body>, Response = Response<R>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        R: HttpBody<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let (settings, parts) = self.split()?;
        let stack = stack::over_service(service, parts);
        Ok(Client::assemble(settings, stack, None))
    }

    /// Builds the client over a service in place of the whole stack: without retries, and without
    /// what is done for each attempt, such as headers and credentials. [`Client::from_service`] is
    /// this with the default settings.
    ///
    /// # Errors
    ///
    /// If the deadline is 0, or there is an [`attempt_layer`](Self::attempt_layer) or a jar of
    /// cookies: without retries there are no attempts.
    pub fn build_from_service<S, R>(self, service: S) -> Result<Client, Error>
    where
        S: Service<Request<Body>, Response = Response<R>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        R: HttpBody<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let (mut settings, parts) = self.split()?;
        settings.resume = Resume::None;
        settings.facts.below = Below::Bare;
        let stack = stack::bare(service, parts)?;
        Ok(Client::assemble(settings, stack, None))
    }

    fn split(mut self) -> Result<(call::Settings, Parts), Error> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        if self.deadline.is_some_and(|deadline| deadline.is_zero()) {
            return Err(Error::builder(
                "deadline must be longer than 0; `None` turns it off, `\"none\"` in a configuration file",
            ));
        }
        let sinks = self.sinks();
        let guards = self.guards()?;
        let endpoints = self.extras.endpoints.len();
        let policy = self
            .retry
            .and_then(|policy| classify::over_session(&policy, self.deadline, endpoints))?;
        let policy = match &guards {
            Some(guards) => policy.to_builder().ledger(guards.ledger.clone()).build()?,
            None => policy,
        };
        let policy = match self.paths {
            Paths::Redacted => policy,
            // Policies that requests bring record paths too.
            Paths::Recorded => policy.to_builder().record_paths().build()?,
        };
        let policy = match self.hedging? {
            None => policy,
            Some(hedging) => {
                let hedging = match &guards {
                    Some(guards) => hedging
                        .to_builder()
                        .default_ledger(guards.ledger.clone())
                        .build()?,
                    None => hedging,
                };
                policy.to_builder().hedging(hedging).build()?
            }
        };
        let bases = match &self.base {
            Some(base) if self.extras.endpoints.is_empty() => std::slice::from_ref(base),
            Some(_) | None => &self.extras.endpoints,
        };
        self.extras.own_origins = bases.iter().map(Base::origin).collect::<Result<_, _>>()?;
        if let Some(breaker) = guards.as_ref().and_then(|it| it.breaker.clone()) {
            self.extras.circuits = Circuits::new(breaker, &self.extras.own_origins);
        }
        let attempt = Arc::new(attempt::Settings {
            user_agent: self.user_agent,
            extras: self.extras.boxed(),
            sinks: sinks.clone(),
            paths: self.paths,
            accept_encoding: decode::accepted(),
            guards: guards.clone(),
        });
        let renews = attempt.extras.as_ref().is_some_and(|it| it.auth.is_some());
        let facts = Facts {
            timeouts: self.timeouts,
            queue_timeout: self.pool.longest_queue_wait(),
            #[cfg(feature = "http2")]
            prior_knowledge: self.http2.has_prior_knowledge(),
            attempt: attempt.clone(),
            call_layers: self.call_layers.len(),
            attempt_layers: self.attempt_layers.len(),
            #[cfg(feature = "cookies")]
            has_jar: self.jar.is_some(),
            ..Facts::default()
        };
        let settings = call::Settings {
            base: self.base,
            deadline: self.deadline,
            max_body: self.max_body,
            redirects: self.redirects,
            request_id: self.request_id,
            call_spans: self.call_spans,
            paths: self.paths,
            sinks,
            renews,
            spreading: self.spreading,
            guards: guards.clone(),
            decompression: self.decompression,
            decode_limits: self.decode_limits,
            error_for_status: self.error_for_status,
            resume: self.resume,
            policy: policy.clone(),
            facts,
            ..call::Settings::default()
        };
        let parts = Parts {
            policy,
            attempt,
            max_body: self.max_body,
            decode_limits: self.decode_limits,
            #[cfg(feature = "cookies")]
            jar: self.jar,
            call_layers: self.call_layers,
            attempt_layers: self.attempt_layers,
        };
        Ok((settings, parts))
    }
}
