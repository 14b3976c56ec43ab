//! Constructors of an error, and what is added to it before the caller gets it.

use bytes::Bytes;
use http::{Method, Response, Uri};
use retry_layer::RetryReport;

use super::{Answer, BoxError, DeadlinePhase, Error, Inner, KEPT_OF_BODY, Kind};
#[cfg(feature = "fs")]
use crate::download::PartialFile;
use crate::{
    observe::Paths,
    origin,
    redirect::{Answerer, Redirected},
};

impl Error {
    pub(crate) fn new(kind: Kind) -> Self {
        Self(Box::new(Inner {
            kind,
            method: None,
            origin: None,
            uri: None,
            source: None,
            report: None,
            paths: Paths::default(),
            phase: None,
            answer: None,
            #[cfg(feature = "fs")]
            partial_file: None,
        }))
    }

    pub(crate) fn builder(why: impl Into<String>) -> Self {
        Self::new(Kind::Builder(why.into()))
    }

    pub(crate) fn with(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds the partial file of a failed download.
    #[cfg(feature = "fs")]
    pub(crate) fn with_partial_file(mut self, file: Option<PartialFile>) -> Self {
        self.0.partial_file = file;
        self
    }

    /// Adds what the call was doing when its deadline passed.
    pub(crate) fn in_phase(mut self, phase: Option<DeadlinePhase>) -> Self {
        self.0.phase = phase;
        self
    }

    /// Takes any error of a service or a body. An error of this type, which the caller's layers
    /// have boxed, is unwrapped and returned as it was; an error of the session is recognized.
    pub(crate) fn from_below(error: impl Into<BoxError>) -> Self {
        let error = match error.into().downcast::<Self>() {
            Ok(error) => return *error,
            Err(error) => error,
        };
        match error.downcast::<session_layer::Error>() {
            Ok(error) => Self::from(*error),
            Err(error) => Self::new(Kind::Service).with(error),
        }
    }

    /// Adds the method and URL of the request, as far as they are missing.
    pub(crate) fn of(mut self, method: &Method, uri: Option<&Uri>) -> Self {
        self.0.method.get_or_insert_with(|| method.clone());
        if let Some(uri) = uri {
            self.locate(uri);
        }
        self
    }

    /// Sets whether the line shows the path of the URL.
    pub(crate) fn telling(mut self, paths: Paths) -> Self {
        self.0.paths = paths;
        self
    }

    fn locate(&mut self, uri: &Uri) {
        if self.0.origin.is_none() {
            self.0.origin = origin::display(uri);
        }
        // A relative reference that could not be resolved is not a URL.
        if self.0.uri.is_none() && uri.host().is_some() {
            self.0.uri = Some(uri.clone());
        }
    }

    /// Adds the response, and what has come of its body. After a redirect, the error names the
    /// request that gave the response.
    pub(crate) fn answered<T>(mut self, response: &Response<T>, body: &[u8]) -> Self {
        if let Some(redirected) = response.extensions().get::<Redirected>() {
            self = self.of(redirected.method(), Some(redirected.uri()));
        } else if let Some(uri) = Answerer::of(response) {
            self.locate(uri);
        }
        // A copy, so that the error does not keep a large body alive.
        let kept = Bytes::copy_from_slice(body.get(..KEPT_OF_BODY).unwrap_or(body));
        self.0.answer = Some(Answer {
            status: response.status(),
            headers: response.headers().clone(),
            body: kept,
        });
        self
    }

    pub(crate) fn set_report(&mut self, report: RetryReport) {
        self.0.report = Some(report);
    }

    /// Replaces the report, if there is one, by another.
    pub(crate) fn alter_report(
        &mut self,
        alter: impl FnOnce(Option<RetryReport>) -> Option<RetryReport>,
    ) {
        self.0.report = alter(self.0.report.take());
    }
}
