use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::task::JoinSet;

use crate::{Connection, Handling, log::Journal};

type Handler = dyn Fn(Connection) -> Handling + Send + Sync;

/// What the socket server and the memory connector share: a handler, its running tasks, and the log.
pub(crate) struct Peer {
    handler: Arc<Handler>,
    journal: Journal,
    tasks: Mutex<JoinSet<()>>,
}

impl Peer {
    pub(crate) fn new<H, F>(handler: H) -> Self
    where
        H: Fn(Connection) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            handler: Arc::new(move |connection| Box::pin(handler(connection))),
            journal: Journal::new(),
            tasks: Mutex::default(),
        }
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Runs the handler in a task, over the connection that `open` makes there.
    pub(crate) fn serve<F>(&self, open: F)
    where
        F: Future<Output = Option<Connection>> + Send + 'static,
    {
        let handler = self.handler.clone();
        let watch = self.journal.watch_for_panic();
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let _watch = watch;
            if let Some(connection) = open.await {
                handler(connection).await;
            }
        });
    }

    /// Drops every connection, as soon as the runtime comes to it.
    pub(crate) fn abort_all(&self) {
        self.tasks().abort_all();
    }

    /// Drops every connection, and returns when that is done.
    pub(crate) async fn drop_connections(&self) {
        let mut tasks = mem::take(&mut *self.tasks());
        tasks.shutdown().await;
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}
