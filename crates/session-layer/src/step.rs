use std::{
    fmt,
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

/// The step that a request has come to, from its call up to the head of its response.
///
/// [`ResponseFuture::step`](crate::future::ResponseFuture::step) returns it while the request is
/// under way, for code that gives the request up. Only this crate's [`Connector`](crate::Connector)
/// notes `Dns`, `Proxy` and `Tls`, as long as no layer around it polls it in another task.
/// Otherwise `Connect` stands for all of them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// It waits for a place in the pool, or for a stream on its HTTP/2 connection.
    Queue,
    /// The name of the host is being resolved.
    Dns,
    /// The connection is being set up: TCP, and the SETTINGS of an HTTP/2 peer.
    Connect,
    /// A proxy is being connected to, or asked for a tunnel.
    Proxy,
    /// The TLS handshake with the origin.
    Tls,
    /// Its body is being sent.
    Upload {
        /// How many bytes of the body the connection has taken, some of which may still be in buffers.
        sent: u64,
    },
    /// It was sent, or its body waits for a 100 (Continue): it waits for the head of its response.
    Head,
}

impl Step {
    /// The steps in the order of their numbers in a [`Steps`].
    const OF_A_CONNECT: [Self; 4] = [Self::Connect, Self::Dns, Self::Proxy, Self::Tls];

    /// Returns the name for logs and metrics, such as `dns`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Upload { .. } => "upload",
            Self::Head => "head",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The step that a connect has come to. The task of the connect writes it; requests that wait for
/// the connection and are given up read it.
#[derive(Debug, Default)]
pub(crate) struct Steps(AtomicU8);

impl Steps {
    pub(crate) fn set(&self, step: Step) {
        let number = Step::OF_A_CONNECT.iter().position(|it| *it == step);
        let number = number.and_then(|it| u8::try_from(it).ok());
        self.0.store(number.unwrap_or_default(), Relaxed);
    }

    pub(crate) fn get(&self) -> Step {
        let number = usize::from(self.0.load(Relaxed));
        Step::OF_A_CONNECT
            .get(number)
            .copied()
            .unwrap_or(Step::Connect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_of_a_connect_is_kept() {
        let steps = Steps::default();
        assert_eq!(steps.get(), Step::Connect);
        for step in Step::OF_A_CONNECT {
            steps.set(step);
            assert_eq!(steps.get(), step);
        }
    }
}
