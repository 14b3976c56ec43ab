use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    ThroughputFloor, TooSlow, TransferDirection, download::CONFIRM, looks::Looks, meter::Meter,
};
use crate::{
    exchange::PIECE,
    exchange::{Carrier, ExchangeState},
};

/// Holds a request to a floor, while the peer does not take the bytes that are there.
#[derive(Debug)]
pub(crate) struct UploadMeter {
    floor: ThroughputFloor,
    meter: Meter,
    looks: Looks,
    /// Whether it was too slow at the last look.
    confirms: bool,
    /// How long the peer had been waited for at the last look.
    blocked: Duration,
    /// The bytes that had been taken by then.
    taken: u64,
    /// The bytes that the socket had written at the last look.
    written: u64,
    /// What the socket has written in the last window.
    socket: Meter,
}

impl UploadMeter {
    pub(crate) fn new(floor: ThroughputFloor) -> Self {
        Self {
            floor,
            meter: Meter::new(floor),
            looks: Looks::default(),
            confirms: false,
            blocked: Duration::ZERO,
            taken: 0,
            written: 0,
            socket: Meter::new(floor),
        }
    }

    /// Waits until it is too slow. `socket` is the state of the connection, if the exchange is a
    /// stream's.
    pub(crate) fn poll_too_slow(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &ExchangeState,
        socket: Option<&ExchangeState>,
    ) -> Poll<TooSlow> {
        let carrier = carrier(socket);
        loop {
            let is_first = !self.looks.is_running();
            if !is_first {
                if exchange.has_sent(carrier) {
                    // From now on the response is waited for.
                    return Poll::Pending;
                }
                ready!(self.looks.poll_due(cx));
            }
            let now = Instant::now();
            let time = if is_first {
                self.looks.begin(now);
                None
            } else {
                self.looks.look(now, self.meter.slot())
            };
            let blocked = self.note(now, exchange, socket);
            let slow = match time {
                Some(time) => {
                    let blocked = blocked.min(time);
                    self.meter.waited(blocked);
                    self.socket.waited(blocked);
                    let slow = self.meter.too_slow_at(self.most_taken(carrier));
                    slow.filter(|_| exchange.is_upload_blocked(carrier))
                }
                None => None,
            };
            match slow {
                Some(measured) if self.confirms => {
                    return Poll::Ready(TooSlow {
                        direction: TransferDirection::Upload,
                        measured,
                        floor: self.floor,
                    });
                }
                Some(_) => self.looks.look_within(now, CONFIRM),
                None => self.looks.look_within(now, self.meter.until_next()),
            }
            self.confirms = slow.is_some();
        }
    }

    /// Notes what has been taken since the last look; returns how long the peer has been waited for
    /// since then.
    fn note(
        &mut self,
        now: Instant,
        exchange: &ExchangeState,
        socket: Option<&ExchangeState>,
    ) -> Duration {
        let written = exchange.written_since_begun(socket.unwrap_or(exchange));
        let taken = match socket {
            Some(_) => exchange.request_body_bytes(),
            None => written,
        };
        let bytes = taken.saturating_sub(self.taken);
        self.socket.passed(written.saturating_sub(self.written));
        self.taken = taken;
        self.written = written;
        self.meter.passed(bytes);
        let blocked = exchange.upload_blocked(now, carrier(socket));
        let since = blocked.saturating_sub(self.blocked);
        self.blocked = self.blocked.max(blocked);
        since
    }

    /// How many bytes the peer may have taken in the last window, at most.
    ///
    /// Of a stream it is only known when hyper asks for the next piece. Up to two earlier pieces
    /// may not be taken by then: one in hyper and one in h2. So two more pieces count in favour of
    /// the peer, but no more than the socket has written for all streams.
    fn most_taken(&self, carrier: Carrier) -> u64 {
        let taken = self.meter.bytes();
        if carrier == Carrier::Connection {
            return taken;
        }
        let pieces = u64::try_from(PIECE.saturating_mul(2)).unwrap_or(u64::MAX);
        taken.saturating_add(pieces).min(self.socket.bytes())
    }
}

/// What carries an exchange, by whether its connection has a state of its own.
fn carrier(socket: Option<&ExchangeState>) -> Carrier {
    match socket {
        Some(_) => Carrier::Stream,
        None => Carrier::Connection,
    }
}
