use std::{fmt, panic::Location, sync::Arc, thread, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Uri};
use tokio::{sync::watch, time};

use crate::Request;

/// What a peer counted and saw, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Connections accepted since the start.
    pub accepted: usize,
    /// Connections that the peer holds open now: its handler has neither returned nor given the connection up.
    pub open: usize,
    /// The largest value that `open` ever had.
    pub peak_open: usize,
    /// Requests whose head was read and whose response was not written yet.
    pub in_flight: usize,
    /// The largest value that `in_flight` ever had.
    pub peak_in_flight: usize,
    /// TLS handshakes that failed.
    pub failed_handshakes: usize,
    /// The URIs for which a [`MemoryConnector`](crate::MemoryConnector) was called, refused ones included.
    pub dialled: Vec<Uri>,
    /// Every request whose head was read, in that order.
    pub requests: Vec<Request>,
    panicked: bool,
}

impl Log {
    /// Returns the targets of all requests, in the order of their arrival.
    #[must_use]
    pub fn targets(&self) -> Vec<&str> {
        self.requests
            .iter()
            .map(|request| request.target.as_str())
            .collect()
    }
}

/// The pen that writes a [`Log`].
#[derive(Clone)]
pub(crate) struct Journal(Arc<watch::Sender<Log>>);

impl Journal {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Log::default())))
    }

    pub(crate) fn read(&self) -> Log {
        self.0.borrow().clone()
    }

    pub(crate) async fn wait_for(
        &self,
        deadline: Duration,
        caller: &'static Location<'static>,
        condition: impl Fn(&Log) -> bool,
    ) -> Log {
        let mut updates = self.0.subscribe();
        let reached = time::timeout(deadline, updates.wait_for(|log| condition(log))).await;
        let Ok(reached) = reached else {
            let log = self.read();
            panic!("not reached within {deadline:?}, asked at {caller}: {log:#?}");
        };
        reached.expect("`self` holds the sender").clone()
    }

    /// Counts a connection until the guard drops.
    pub(crate) fn open(&self) -> Open {
        let mut number = 0;
        self.0.send_modify(|log| {
            number = log.accepted;
            log.accepted += 1;
            log.open += 1;
            log.peak_open = log.peak_open.max(log.open);
        });
        Open {
            journal: self.clone(),
            number,
        }
    }

    /// Records a request, and counts it as in flight until the guard drops.
    pub(crate) fn request(&self, request: Request) -> InFlight {
        let mut index = 0;
        self.0.send_modify(|log| {
            index = log.requests.len();
            log.requests.push(request);
            log.in_flight += 1;
            log.peak_in_flight = log.peak_in_flight.max(log.in_flight);
        });
        InFlight {
            journal: self.clone(),
            index,
        }
    }

    /// Completes a recorded request with what was read of its body.
    pub(crate) fn body(&self, index: usize, body: Bytes, trailers: HeaderMap, complete: bool) {
        self.0.send_modify(|log| {
            let request = log
                .requests
                .get_mut(index)
                .expect("requests are only added");
            request.body = body;
            request.trailers = trailers;
            request.complete = complete;
        });
    }

    pub(crate) fn dialled(&self, uri: Uri) {
        self.0.send_modify(|log| log.dialled.push(uri));
    }

    pub(crate) fn failed_handshake(&self) {
        self.0.send_modify(|log| log.failed_handshakes += 1);
    }

    /// Notes a panic of the current task, if the guard drops because of one.
    pub(crate) fn watch_for_panic(&self) -> PanicWatch {
        PanicWatch(self.clone())
    }

    pub(crate) fn fail_if_a_handler_panicked(&self) {
        let panicked = self.0.borrow().panicked;
        assert!(!panicked || thread::panicking(), "a handler panicked");
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.borrow().fmt(f)
    }
}

#[derive(Debug)]
pub(crate) struct Open {
    journal: Journal,
    number: usize,
}

impl Open {
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // In one step: whoever waits for the connection to be closed must also learn of the panic that closed it.
        self.journal.0.send_modify(|log| {
            log.open -= 1;
            log.panicked |= thread::panicking();
        });
    }
}

#[derive(Debug)]
pub(crate) struct InFlight {
    journal: Journal,
    index: usize,
}

impl InFlight {
    /// Where the request stands in the log.
    pub(crate) fn index(&self) -> usize {
        self.index
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.journal.0.send_modify(|log| log.in_flight -= 1);
    }
}

#[derive(Debug)]
pub(crate) struct PanicWatch(Journal);

impl Drop for PanicWatch {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.0.send_modify(|log| log.panicked = true);
        }
    }
}
