use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// What the IO and the driver of an HTTP/2 connection share.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// How many streams have been opened: the first bytes of their HEADERS were written.
    opened: AtomicU64,
    /// Whether reads are held back, so that no frame changes what may be written.
    held: AtomicBool,
    /// Whether a read was put off while they were held back.
    put_off: AtomicBool,
    /// Whether a read has found nothing since the driver was woken. Bytes that come later wake it
    /// again.
    drained: AtomicBool,
}

impl Gate {
    /// How many streams have been opened on the socket.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Acquire)
    }

    /// Notes that a stream has been opened.
    pub(crate) fn note_opened(&self) {
        // One task writes to a socket, so no other counts in between.
        let opened = self.opened.load(Relaxed);
        self.opened.store(opened.wrapping_add(1), Release);
    }

    /// Notes that the driver was woken: there may be something to read.
    #[cfg(feature = "http2")]
    pub(crate) fn wake(&self) {
        self.drained.store(false, Relaxed);
    }

    /// Notes that a read found nothing.
    pub(crate) fn note_drained(&self) {
        self.drained.store(true, Relaxed);
    }

    /// Holds reads back until [`release`](Self::release).
    #[cfg(feature = "http2")]
    pub(crate) fn hold(&self) {
        self.put_off.store(false, Relaxed);
        self.held.store(true, Relaxed);
    }

    /// Lets reads pass again; returns whether one was put off that no later wake-up repeats.
    #[cfg(feature = "http2")]
    pub(crate) fn release(&self) -> bool {
        self.held.store(false, Relaxed);
        self.put_off.load(Relaxed) && !self.drained.load(Relaxed)
    }

    /// Whether reads are held back; then this read is noted as put off.
    pub(crate) fn puts_off(&self) -> bool {
        let held = self.held.load(Relaxed);
        if held {
            self.put_off.store(true, Relaxed);
        }
        held
    }
}
