use std::{fmt, sync::Arc, thread};

use super::{Connection, Pool, waiter::Waiter};
use crate::{Error, Event, error::Kind, origin::Origin};

/// The right to have one connection to an origin; released when dropped.
///
/// It passes from the pool to a waiter, then to the task that opens the connection, and then, as an
/// [`OpenPermit`], to the IO around the socket. So it is released exactly when the socket is closed.
pub(crate) struct Permit<B: Send + 'static> {
    pool: Arc<Pool<B>>,
    origin: Origin,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// A waiter may open a connection.
    Granted,
    /// A task opens it.
    Opening(u64),
    /// The connection has the permit, or it was released.
    Gone,
    /// No connect is to be noted any more: it has failed, and its waiters were told, or it never began.
    Failed,
}

impl<B: Send + 'static> Permit<B> {
    pub(super) fn granted(pool: Arc<Pool<B>>, origin: Origin) -> Self {
        Self {
            pool,
            origin,
            stage: Stage::Granted,
        }
    }

    pub(super) fn opening(&mut self, id: u64) {
        self.stage = Stage::Opening(id);
    }

    /// Notes that the connect is over before it has begun, and that the state was told.
    pub(super) fn called_off(&mut self) {
        self.stage = Stage::Failed;
    }

    /// Makes it the permit of this connection, which is open.
    pub(crate) fn connected(mut self, connection: Arc<Connection<B>>) -> OpenPermit<B> {
        self.stage = Stage::Gone;
        OpenPermit(connection)
    }

    /// Fails the waiters of the connection, since it could not be opened.
    ///
    /// The permit is released before they are told.
    pub(crate) fn fail(mut self, error: &Error) {
        let (listener, origin) = (&self.pool.config().listener, &self.origin);
        listener.tell(|| Event::OpenFailed { origin, error });
        let told = self.release_failed(error);
        drop(self);
        Waiter::tell_all(told, error);
    }

    /// Releases it if its connection was being opened; returns the waiters that fail by that.
    fn release_failed(&mut self, error: &Error) -> Vec<Arc<Waiter<B>>> {
        match self.stage {
            Stage::Opening(id) => {
                self.stage = Stage::Gone;
                self.pool.open_failed_with_permit(id, &self.origin, error)
            }
            Stage::Granted => {
                self.stage = Stage::Failed;
                Vec::new()
            }
            Stage::Gone | Stage::Failed => Vec::new(),
        }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool<B>> {
        &self.pool
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl<B: Send + 'static> Drop for Permit<B> {
    fn drop(&mut self) {
        match self.stage {
            Stage::Granted => return self.pool.reopen(None, &self.origin),
            // The connect was not over: its runtime has ended, or it was cancelled because no
            // waiter was left. A waiter that has come since opens another.
            Stage::Opening(id) if !thread::panicking() => {
                return self.pool.reopen(Some(id), &self.origin);
            }
            Stage::Opening(_) => {}
            Stage::Gone => return,
            Stage::Failed => return self.pool.free_permit(&self.origin, None),
        }
        let why = "the connector panicked";
        let error = Error::new(Kind::Connect).with(why).at(&self.origin);
        let told = self.release_failed(&error);
        Waiter::tell_all(told, &error);
    }
}

/// The permit of an open connection; released when dropped.
pub(crate) struct OpenPermit<B: Send + 'static>(Arc<Connection<B>>);

impl<B: Send + 'static> Drop for OpenPermit<B> {
    fn drop(&mut self) {
        let Self(connection) = self;
        let id = Some(connection.id());
        connection.pool.free_permit(&connection.origin, id);
    }
}

impl<B: Send + 'static> fmt::Debug for OpenPermit<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenPermit").field(&self.0.id()).finish()
    }
}

impl<B: Send + 'static> fmt::Debug for Permit<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("origin", &self.origin)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
