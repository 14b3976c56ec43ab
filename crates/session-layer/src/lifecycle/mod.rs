//! The resources that an app sets up before it runs, and tears down after.

mod error;
mod teardown;

use std::{borrow::Cow, fmt, future::Future, mem, time::Duration};

use self::teardown::Teardown;
pub use self::{
    error::{SetupError, ShutdownError, TeardownError},
    teardown::TeardownOutcome,
};
use crate::box_error::BoxError;

/// How long a teardown may take by default.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The resources of an app, torn down in the reverse order of their setup.
///
/// ```
/// use session_layer::{Connector, Lifecycle, Session};
/// # use bytes::Bytes;
/// # use http_body_util::Full;
/// # use std::time::Duration;
/// # struct Database;
/// # impl Database {
/// #     async fn open() -> std::io::Result<Self> { Ok(Self) }
/// #     async fn flush(&self) -> std::io::Result<()> { Ok(()) }
/// # }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut lifecycle = Lifecycle::new();
///
/// let database = lifecycle
///     .setup("database", async {
///         let database = std::sync::Arc::new(Database::open().await?);
///         let teardown = {
///             let database = database.clone();
///             async move { database.flush().await }
///         };
///         Ok::<_, std::io::Error>((database, teardown))
///     })
///     .await?;
///
/// let session = Session::<Full<Bytes>>::new(Connector::new());
/// lifecycle.add("session", {
///     let session = session.clone();
///     async move { session.close(Duration::from_secs(10)).await }
/// });
///
/// // .. serve, until a signal comes ..
/// # drop(database);
///
/// // The session, then the database; whatever fails, all of it.
/// lifecycle.shutdown().await?;
/// # Ok(())
/// # }
/// ```
///
/// - Only what was set up is torn down. If a setup fails, those before it are torn down at once.
/// - A teardown that fails, panics (where panics unwind) or takes too long skips no other one, and
///   [`ShutdownError`] names all that did.
///
/// # How it differs
///
/// aiohttp's `cleanup_ctx` and Python's `AsyncExitStack` are the same idea; neither has timeouts,
/// and of several errors the latter raises the last. In Rust nothing can be awaited in a `Drop`: a
/// lifecycle that is dropped tears nothing down, and warns (`tracing`) with the names of its
/// resources. Resources are dropped then, which is enough for a [`Session`](crate::Session) with
/// nothing in flight.
#[must_use = "what is not shut down is not torn down"]
pub struct Lifecycle {
    timeout: Option<Duration>,
    /// In the order of their setup. If a shutdown was dropped, the last teardown may have begun.
    teardowns: Vec<Teardown>,
    /// The failures of a shutdown that was dropped.
    failures: Vec<TeardownError>,
}

impl Lifecycle {
    /// Makes a lifecycle without resources.
    pub fn new() -> Self {
        Self {
            timeout: Some(TIMEOUT),
            teardowns: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Sets how long each teardown may take that is added from now on; then it is dropped. `None`
    /// sets no limit. Default: 30 s.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// Adds a resource that is set up, with the future that tears it down. The future is polled
    /// only then.
    pub fn add<F>(&mut self, name: impl Into<Cow<'static, str>>, teardown: F)
    where
        F: Future + Send + 'static,
        F::Output: TeardownOutcome,
    {
        self.add_within(name, self.timeout, teardown);
    }

    /// Adds a resource like [`add`](Self::add), with a timeout of its own.
    pub fn add_within<F>(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        timeout: impl Into<Option<Duration>>,
        teardown: F,
    ) where
        F: Future + Send + 'static,
        F::Output: TeardownOutcome,
    {
        let teardown = Teardown::new(name.into(), timeout.into(), teardown);
        self.teardowns.push(teardown);
    }

    /// Sets up a resource: `setup` returns the resource and the future that tears it down.
    ///
    /// # Errors
    ///
    /// If the setup fails. All resources before it are torn down by then.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the setup, which then cleans up after itself as any future does. What was
    /// set up before stays. Dropped after the setup has failed, it leaves the rest of the shutdown
    /// to the next [`shutdown`](Self::shutdown).
    pub async fn setup<S, T, F, E>(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        setup: S,
    ) -> Result<T, SetupError>
    where
        S: Future<Output = Result<(T, F), E>>,
        F: Future + Send + 'static,
        F::Output: TeardownOutcome,
        E: Into<BoxError>,
    {
        match setup.await {
            Ok((resource, teardown)) => {
                self.add(name, teardown);
                Ok(resource)
            }
            Err(error) => {
                let error = error.into();
                let shutdown = self.shutdown().await;
                Err(SetupError::new(name.into(), error, shutdown.err()))
            }
        }
    }

    /// Tears all resources down, one after the other, last in, first out.
    ///
    /// It may be called again, after more resources were added; a resource that was torn down is
    /// forgotten.
    ///
    /// # Errors
    ///
    /// If a teardown failed, panicked, or took too long. The error has all of these, and comes
    /// after all teardowns have run.
    ///
    /// # Panics
    ///
    /// If there is a timeout, and no tokio runtime with a clock.
    ///
    /// # Cancel safety
    ///
    /// The next call goes on where this one was, even in the middle of a teardown, whose timeout
    /// begins again.
    pub async fn shutdown(&mut self) -> Result<(), ShutdownError> {
        while let Some(last) = self.teardowns.last_mut() {
            let ended = last.run().await;
            // Removed only now, so that a teardown that is not over is not lost.
            let ended = self.teardowns.pop().map(|last| (last.name, ended));
            if let Some((name, Err(cause))) = ended {
                self.failures.push(TeardownError::new(name, cause));
            }
        }
        ShutdownError::check(mem::take(&mut self.failures))
    }

    fn names(&self) -> Vec<&str> {
        let teardowns = self.teardowns.iter();
        teardowns.map(|teardown| &*teardown.name).collect()
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifecycle")
            .field("resources", &self.names())
            .finish_non_exhaustive()
    }
}

impl Drop for Lifecycle {
    fn drop(&mut self) {
        if !self.teardowns.is_empty() {
            let names = self.names();
            tracing::warn!(
                ?names,
                "dropped without a shutdown: these are not torn down"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        error::Error,
        future::pending,
        io,
        sync::{Arc, Mutex},
    };

    use tokio::{
        task::yield_now,
        time::{Instant, sleep},
    };

    use super::*;
    use crate::CloseReport;

    /// The resources that were torn down, in that order.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<&'static str>>>);

    impl Log {
        fn note(&self, name: &'static str) {
            self.0.lock().expect("nobody panics here").push(name);
        }

        fn seen(&self) -> Vec<&'static str> {
            self.0.lock().expect("nobody panics here").clone()
        }

        fn teardown(&self, name: &'static str) -> impl Future<Output = ()> + Send + use<> {
            let log = self.clone();
            async move { log.note(name) }
        }
    }

    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[tokio::test]
    async fn what_was_set_up_last_is_torn_down_first() {
        let log = Log::default();
        let mut lifecycle = Lifecycle::new();
        lifecycle.add("a", log.teardown("a"));
        let teardown = log.teardown("b");
        let b = lifecycle.setup("b", async { Ok::<_, io::Error>((7, teardown)) });
        assert_eq!(b.await.unwrap(), 7);
        lifecycle.add("c", log.teardown("c"));
        assert_eq!(
            format!("{lifecycle:?}"),
            r#"Lifecycle { resources: ["a", "b", "c"], .. }"#
        );
        lifecycle.shutdown().await.unwrap();
        assert_eq!(log.seen(), ["c", "b", "a"]);
        lifecycle.shutdown().await.unwrap();
        assert_eq!(log.seen().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_one_teardown_does_all_have_their_turn_and_all_errors_are_told() {
        let log = Log::default();
        let mut lifecycle = Lifecycle::new().timeout(Duration::from_secs(5));
        lifecycle.add("first", log.teardown("first"));
        lifecycle.add("fails", async {
            Err(io::Error::other(SetupError::new(
                "x".into(),
                "y".into(),
                None,
            )))
        });
        lifecycle.add("panics", async { assert!(bool::default(), "at {}", 1) });
        lifecycle.add("hangs", pending::<()>());
        let bomb = PanicsWhenDropped;
        lifecycle.add("panics when dropped", async move {
            let _bomb = bomb;
            pending::<()>().await;
        });
        lifecycle.add_within("slow", None, sleep(Duration::from_secs(60)));
        lifecycle.add("cut", async {
            CloseReport {
                finished: 1,
                aborted: 2,
            }
        });
        lifecycle.add("last", log.teardown("last"));
        let began = Instant::now();
        let error = lifecycle.shutdown().await.unwrap_err();
        assert_eq!(began.elapsed(), Duration::from_secs(70));
        assert_eq!(log.seen(), ["last", "first"]);
        let failures = error.failures().iter();
        let failures: Vec<_> = failures
            .map(|it| (it.name(), it.is_timeout(), it.is_panic()))
            .collect();
        let expected = [
            ("cut", false, false),
            ("panics when dropped", true, false),
            ("hangs", true, false),
            ("panics", false, true),
            ("fails", false, false),
        ];
        assert_eq!(failures, expected);
        assert_eq!(
            error.to_string(),
            "cannot tear down cut: connections cut off at the deadline: 2; \
             the teardown of panics when dropped took longer than 5s; \
             the teardown of hangs took longer than 5s; \
             the teardown of panics panicked: at 1; \
             cannot tear down fails: cannot set up x: y"
        );
        lifecycle.shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn a_setup_that_fails_tears_down_those_before_and_is_not_torn_down() {
        let log = Log::default();
        let mut lifecycle = Lifecycle::new();
        lifecycle.add("a", log.teardown("a"));
        lifecycle.add("b", async { Err("b is stuck") });
        let failed = lifecycle.setup("c", async {
            if log.seen().is_empty() {
                return Err("no c");
            }
            Ok(((), log.teardown("c")))
        });
        let error = failed.await.unwrap_err();
        assert_eq!(error.name(), "c");
        let message = "cannot set up c (and then: cannot tear down b: b is stuck)";
        assert_eq!(error.to_string(), message);
        assert_eq!(error.source().unwrap().to_string(), "no c");
        assert_eq!(error.shutdown_error().unwrap().failures().len(), 1);
        assert_eq!(log.seen(), ["a"]);
    }

    #[tokio::test]
    async fn a_shutdown_that_is_dropped_goes_on_where_it_was() {
        let log = Log::default();
        let mut lifecycle = Lifecycle::new();
        lifecycle.add("a", log.teardown("a"));
        let in_two_steps = log.clone();
        lifecycle.add("b", async move {
            in_two_steps.note("b begins");
            yield_now().await;
            in_two_steps.note("b ends");
        });
        lifecycle.add("c", async { Err("no c") });
        {
            let mut shutdown = tokio_test::task::spawn(lifecycle.shutdown());
            assert!(shutdown.poll().is_pending());
        }
        assert_eq!(log.seen(), ["b begins"]);
        let error = lifecycle.shutdown().await.unwrap_err();
        assert_eq!(log.seen(), ["b begins", "b ends", "a"]);
        assert_eq!(error.to_string(), "cannot tear down c: no c");
    }

    #[tokio::test]
    async fn dropped_without_a_shutdown_it_tears_nothing_down_and_panics_not() {
        let log = Log::default();
        let mut lifecycle = Lifecycle::new();
        lifecycle.add("a", log.teardown("a"));
        drop(lifecycle);
        assert_eq!(log.seen(), [""; 0]);
    }

    #[test]
    fn it_may_be_shut_down_in_a_task() {
        fn is_send(_: impl Send) {}
        is_send(Lifecycle::new().shutdown());
    }
}
