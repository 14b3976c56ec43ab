use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    panic::resume_unwind,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::HeaderValue;
use tokio::{
    runtime::Handle,
    sync::Mutex as Turn,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tracing::Instrument as _;

use super::header;
use crate::{
    Error,
    error::{BoxError, Kind},
};

/// A token, and when it expires.
pub struct Token {
    secret: String,
    expires: Option<Instant>,
}

impl Token {
    /// Takes the token as it stands behind `Bearer`. It is used until a server refuses it.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self {
            secret: secret.into(),
            expires: None,
        }
    }

    /// Sets how long the token is valid from now on. Subtract the time that the answer took to
    /// arrive.
    #[must_use]
    pub fn expires_in(mut self, lifetime: Duration) -> Self {
        // An expiry beyond what the clock can express means that the token does not expire.
        self.expires = Instant::now().checked_add(lifetime);
        self
    }

    fn has_expired(&self) -> bool {
        self.expires.is_some_and(|at| at <= Instant::now())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Where a client's tokens come from, such as an OAuth 2.0 token endpoint; see
/// [`ClientBuilder::auth`](crate::ClientBuilder::auth).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source of tokens",
    note = "an async closure becomes one by `client::token_fn`; a token that never changes is set by \
            `ClientBuilder::bearer`"
)]
pub trait TokenSource: Send + Sync + 'static {
    /// Fetches a token. The client asks only when it has no token, when the last one has expired,
    /// or when a server has refused it: a source must not return the same token again. The client
    /// asks for one token at a time, and all requests that need one meanwhile wait for its answer,
    /// each within its own deadline. A fetch that takes longer than 30 s fails.
    ///
    /// # Errors
    ///
    /// The error becomes the [`source`](StdError::source) of the call's error, and of the errors of
    /// all calls that waited for the same fetch.
    ///
    /// # Cancel safety
    ///
    /// The future runs in a task of its own, so a fetch goes on for later calls when the calls that
    /// asked for it end. It is dropped with the client, and after 30 s.
    fn token(&self) -> impl Future<Output = Result<Token, Box<dyn StdError + Send + Sync>>> + Send;
}

/// Makes a source of a function that fetches a token.
///
/// ```
/// use std::time::Duration;
/// use client::{Client, Token, token_fn};
///
/// let source = token_fn(|| async {
///     // .. ask the token endpoint, by a client of its own ..
///     Ok(Token::new("secret").expires_in(Duration::from_secs(3_600)))
/// });
/// let client = Client::builder().base_url("https://api.example.com/")?.auth(source).build()?;
/// # Ok::<(), client::Error>(())
/// ```
pub fn token_fn<F, T>(fetch: F) -> TokenFn<F>
where
    F: Fn() -> T + Send + Sync + 'static,
    T: Future<Output = Result<Token, Box<dyn StdError + Send + Sync>>> + Send,
{
    TokenFn { fetch }
}

/// The source that [`token_fn`] makes.
#[derive(Clone)]
pub struct TokenFn<F> {
    fetch: F,
}

impl<F, T> TokenSource for TokenFn<F>
where
    F: Fn() -> T + Send + Sync + 'static,
    T: Future<Output = Result<Token, Box<dyn StdError + Send + Sync>>> + Send,
{
    async fn token(&self) -> Result<Token, Box<dyn StdError + Send + Sync>> {
        (self.fetch)().await
    }
}

impl<F> fmt::Debug for TokenFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFn").finish_non_exhaustive()
    }
}

type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Token, BoxError>> + Send + 'a>>;

/// A boxed [`TokenSource`].
trait Fetch: Send + Sync {
    fn fetch(&self) -> Fetching<'_>;
}

impl<T: TokenSource> Fetch for T {
    fn fetch(&self) -> Fetching<'_> {
        Box::pin(self.token())
    }
}

/// The token of a client, and the lock that orders the calls that wait for the next one.
pub(crate) struct Tokens {
    source: Arc<dyn Fetch>,
    state: Mutex<State>,
    turn: Turn<UnderWay>,
}

#[derive(Default)]
struct State {
    current: Option<Current>,
    /// How many times the source has answered.
    round: u64,
    /// The error of the last fetch, if it failed.
    failure: Option<Shared>,
}

struct Current {
    header: HeaderValue,
    expires: Option<Instant>,
}

impl State {
    fn header(&self) -> Option<HeaderValue> {
        let current = self.current.as_ref()?;
        let holds = current.expires.is_none_or(|at| Instant::now() < at);
        holds.then(|| current.header.clone())
    }
}

impl Tokens {
    pub(crate) fn new(source: impl TokenSource) -> Self {
        Self {
            source: Arc::new(source),
            state: Mutex::default(),
            turn: Turn::default(),
        }
    }

    pub(crate) async fn header(&self) -> Result<HeaderValue, Error> {
        let asked_in = {
            let state = self.lock();
            if let Some(header) = state.header() {
                return Ok(header);
            }
            state.round
        };
        let mut turn = self.turn.lock().await;
        {
            let state = self.lock();
            if let Some(header) = state.header() {
                return Ok(header);
            }
            // This call waited for the fetch that failed, so it shares the failure. If each waiting
            // call asked again, one after the other, all of them would wait for longer.
            if let Some(failure) = state.failure.as_ref().filter(|_| state.round != asked_in) {
                return Err(failure.error());
            }
        }
        let fetched = turn.fetch(&self.source).await.map_err(Shared::new);
        let mut state = self.lock();
        state.round = state.round.wrapping_add(1);
        state.current = None;
        state.failure = None;
        let token = match fetched {
            Ok(token) => token,
            Err(failure) => {
                let error = failure.error();
                state.failure = Some(failure);
                return Err(error);
            }
        };
        let header = header::bearer(&token.secret)?;
        state.current = Some(Current {
            header: header.clone(),
            expires: token.expires,
        });
        Ok(header)
    }

    /// Forgets a token that was refused, unless a newer one is there already.
    pub(crate) fn refuse(&self, used: Option<&HeaderValue>) -> bool {
        let mut state = self.lock();
        if state.current.as_ref().map(|current| &current.header) == used {
            state.current = None;
        }
        true
    }

    // No foreign code runs under the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

/// A fetch that goes on although no call waits for it any more. Otherwise a fetch that takes longer
/// than the calls would begin anew with each of them, and never end.
#[derive(Default)]
struct UnderWay(Option<JoinHandle<Result<Token, BoxError>>>);

/// How long a fetch may take.
const LIMIT: Duration = Duration::from_secs(30);

impl UnderWay {
    /// Waits for the fetch that is under way, or for another.
    async fn fetch(&mut self, source: &Arc<dyn Fetch>) -> Result<Token, BoxError> {
        if Handle::try_current().is_err() {
            return source.fetch().await;
        }
        loop {
            let is_old = self.0.as_ref().is_some_and(JoinHandle::is_finished);
            let fetch = self.0.get_or_insert_with(|| {
                let source = source.clone();
                let fetch = async move {
                    let fetched = timeout(LIMIT, source.fetch()).await;
                    fetched.unwrap_or_else(|_| Err(format!("none came within {LIMIT:?}").into()))
                };
                tokio::spawn(fetch.in_current_span())
            });
            let ended = fetch.await;
            self.0 = None;
            match ended {
                Ok(Ok(token)) if !(is_old && token.has_expired()) => return Ok(token),
                // An old result: a failure may no longer hold, and a token has expired. Fetch again.
                _ if is_old => {}
                Ok(fetched) => return fetched,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    Err(error) => return Err(error.into()),
                },
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(fetch) = &self.0 {
            fetch.abort();
        }
    }
}

/// The error of one fetch, shared by all calls that waited for it.
#[derive(Clone, Debug)]
struct Shared(Arc<dyn StdError + Send + Sync>);

impl Shared {
    fn new(error: BoxError) -> Self {
        Self(error.into())
    }

    fn error(&self) -> Error {
        Error::new(Kind::Token).with(self.clone())
    }
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Shared {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}
