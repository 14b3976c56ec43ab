use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::Request;

use super::Answer;
use crate::Error;

/// A server for tests: it answers as the test says, and records the requests.
///
/// See the [module docs](super) for examples. A clone is the same fake.
#[derive(Clone)]
pub struct Fake {
    shared: Arc<Shared>,
}

struct Shared {
    script: Script,
    requests: Mutex<Vec<Request<Bytes>>>,
}

enum Script {
    Answers(Mutex<Box<dyn Iterator<Item = Answer> + Send>>),
    Function(Box<Function>),
}

type Function = dyn Fn(&Request<Bytes>) -> Answer + Send + Sync;

impl Fake {
    /// Makes a fake with these answers, one for each attempt of each call in the order in which
    /// they come. If there are more attempts than answers, they fail and are not retried;
    /// `std::iter::repeat(200)` answers any number.
    pub fn new<I>(answers: I) -> Self
    where
        I: IntoIterator<Item: Into<Answer> + 'static, IntoIter: Send + 'static>,
    {
        let answers = answers.into_iter().map(Into::into);
        Self::with(Script::Answers(Mutex::new(Box::new(answers))))
    }

    /// Makes a fake that answers each attempt by this function of its request, whose body has been
    /// read.
    ///
    /// ```
    /// use client::testing::{Answer, Fake};
    ///
    /// let fake = Fake::from_fn(|request| match request.uri().path() {
    ///     "/ping" => "pong".into(),
    ///     _ => Answer::new(404),
    /// });
    /// # let _ = fake;
    /// ```
    pub fn from_fn<A: Into<Answer>>(
        answer: impl Fn(&Request<Bytes>) -> A + Send + Sync + 'static,
    ) -> Self {
        let answer = move |request: &Request<Bytes>| answer(request).into();
        Self::with(Script::Function(Box::new(answer)))
    }

    fn with(script: Script) -> Self {
        let requests = Mutex::default();
        Self {
            shared: Arc::new(Shared { script, requests }),
        }
    }

    /// Returns the requests so far, one for each attempt, in the order in which they came and as
    /// they would have been sent, with the headers that the client adds.
    #[must_use]
    pub fn requests(&self) -> Vec<Request<Bytes>> {
        self.recorded().clone()
    }

    /// Records a request, and returns its answer.
    pub(super) fn answer(&self, request: Request<Bytes>) -> Answer {
        let answer = match &self.shared.script {
            Script::Function(answer) => answer(&request),
            Script::Answers(answers) => {
                let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                answers.next().unwrap_or_else(|| {
                    Error::builder("the fake has no answer left for this attempt").into()
                })
            }
        };
        self.recorded().push(request);
        answer
    }

    fn recorded(&self) -> MutexGuard<'_, Vec<Request<Bytes>>> {
        let requests = &self.shared.requests;
        requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fake")
            .field("requests", &self.recorded().len())
            .finish_non_exhaustive()
    }
}
