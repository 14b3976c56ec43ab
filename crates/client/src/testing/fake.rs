use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::Request;

use super::{Answer, service::FakeService};
use crate::{Client, ClientBuilder, Error};

/// A server that exists in a test only: it answers as the test says, and remembers what it was
/// asked.
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
    /// Gives these answers, one for each attempt of each call in the order in which they come. An
    /// attempt more than there are answers fails, and is not retried; `std::iter::repeat(200)` has
    /// an answer for any number.
    pub fn new<I>(answers: I) -> Self
    where
        I: IntoIterator<Item: Into<Answer> + 'static, IntoIter: Send + 'static>,
    {
        let answers = answers.into_iter().map(Into::into);
        Self::with(Script::Answers(Mutex::new(Box::new(answers))))
    }

    /// Answers each attempt by this function of its request, whose body has been read.
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

    /// Makes a client with the default settings over this fake;
    /// [`build_with_fake`](ClientBuilder::build_with_fake) makes one with others.
    ///
    /// # Panics
    ///
    /// Never: the default settings are valid.
    #[must_use]
    pub fn client(&self) -> Client {
        ClientBuilder::new()
            .build_with_fake(self)
            .expect("the default settings are valid")
    }

    /// Returns what was asked until now, each attempt by itself, in the order in which they came
    /// and as they would have been sent: with the headers that the client adds.
    #[must_use]
    pub fn requests(&self) -> Vec<Request<Bytes>> {
        self.recorded().clone()
    }

    /// Takes note of a request, and says what is done with it.
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

impl Client {
    /// Makes a client with the default settings that needs no network: its attempts are given
    /// these answers one after the other; see [`testing`](crate::testing).
    ///
    /// ```
    /// use client::Client;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), client::Error> {
    /// let client = Client::fake([(503, "busy"), (200, "pong")]);
    /// assert_eq!(client.get("http://any/ping").fetch().await?.text()?, "pong");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn fake<I>(answers: I) -> Self
    where
        I: IntoIterator<Item: Into<Answer> + 'static, IntoIter: Send + 'static>,
    {
        Fake::new(answers).client()
    }
}

impl ClientBuilder {
    /// Builds the client over a [`Fake`] in place of the session: with its retries and all else
    /// that it does, and without a network; see [`testing`](crate::testing).
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build).
    pub fn build_with_fake(self, fake: &Fake) -> Result<Client, Error> {
        let service = FakeService::new(fake.clone(), &self.timeouts);
        self.build_with_service(service)
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fake")
            .field("requests", &self.recorded().len())
            .finish_non_exhaustive()
    }
}
