//! How an error is made, and what is added to it on its way to the caller.

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

    /// Says what is left of a download.
    #[cfg(feature = "fs")]
    pub(crate) fn with_partial_file(mut self, file: Option<PartialFile>) -> Self {
        self.0.partial_file = file;
        self
    }

    /// Says what the call was doing when its deadline passed.
    pub(crate) fn in_phase(mut self, phase: Option<DeadlinePhase>) -> Self {
        self.0.phase = phase;
        self
    }

    /// Takes the error of a service or a body whose errors are anybody's. One of this type, which
    /// passed through the caller's layers in a box, comes out as itself, and a session's is known.
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

    /// Names the request, as far as it is not named yet.
    pub(crate) fn of(mut self, method: &Method, uri: Option<&Uri>) -> Self {
        self.0.method.get_or_insert_with(|| method.clone());
        if let Some(uri) = uri {
            self.locate(uri);
        }
        self
    }

    /// Says whether the line has the path of the URL.
    pub(crate) fn telling(mut self, paths: Paths) -> Self {
        self.0.paths = paths;
        self
    }

    fn locate(&mut self, uri: &Uri) {
        if self.0.origin.is_none() {
            self.0.origin = origin::display(uri);
        }
        // What could not be made whole is no URL.
        if self.0.uri.is_none() && uri.host().is_some() {
            self.0.uri = Some(uri.clone());
        }
    }

    /// Adds the response that had come, and what there is of its body. After a redirect it names the
    /// request that gave the response.
    pub(crate) fn answered<T>(mut self, response: &Response<T>, body: &[u8]) -> Self {
        if let Some(redirected) = response.extensions().get::<Redirected>() {
            self = self.of(redirected.method(), Some(redirected.uri()));
        } else if let Some(uri) = Answerer::of(response) {
            self.locate(uri);
        }
        // A copy: the error does not hold all of a large body.
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

    /// Makes another report of the one there is, if there is any.
    pub(crate) fn alter_report(
        &mut self,
        alter: impl FnOnce(Option<RetryReport>) -> Option<RetryReport>,
    ) {
        self.0.report = alter(self.0.report.take());
    }
}
