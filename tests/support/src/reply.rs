use std::time::Duration;

use bytes::Bytes;
use tokio::time;

use crate::Connection;

/// One answer of a ready handler such as [`sequence`](crate::sequence).
#[derive(Clone, Debug)]
#[must_use = "a reply does nothing until a handler gives it"]
pub struct Reply {
    act: Act,
    delay: Duration,
}

#[derive(Clone, Debug)]
enum Act {
    Respond {
        status: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
        close: bool,
    },
    Truncate {
        announced: usize,
        sent: Bytes,
    },
    Raw(Bytes),
    Reset,
    Close,
    Stall,
}

impl Reply {
    /// Answers with a status and, unless [`body`](Self::body) gives one, an empty body.
    pub fn status(status: u16) -> Self {
        Self::new(Act::Respond {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
            close: false,
        })
    }

    /// Announces a body of `announced` bytes, sends `sent`, and closes the connection in order.
    pub fn truncated_body(announced: usize, sent: impl Into<Bytes>) -> Self {
        Self::new(Act::Truncate {
            announced,
            sent: sent.into(),
        })
    }

    /// Writes bytes as they are, and goes on to the next request.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::new(Act::Raw(bytes.into()))
    }

    /// Resets the connection without a response.
    pub fn reset() -> Self {
        Self::new(Act::Reset)
    }

    /// Closes the connection in order, without a response.
    pub fn close() -> Self {
        Self::new(Act::Close)
    }

    /// Never answers, and holds the connection until the client ends it.
    pub fn stall() -> Self {
        Self::new(Act::Stall)
    }

    fn new(act: Act) -> Self {
        Self {
            act,
            delay: Duration::ZERO,
        }
    }

    /// Gives the response a body.
    ///
    /// # Panics
    ///
    /// Panics if the reply is not made by [`status`](Self::status).
    pub fn body(mut self, bytes: impl Into<Bytes>) -> Self {
        let Act::Respond { body, .. } = &mut self.act else {
            panic!("only a response with a status has a body to set");
        };
        *body = bytes.into();
        self
    }

    /// Adds a header field to the response.
    ///
    /// # Panics
    ///
    /// Panics if the reply is not made by [`status`](Self::status).
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let Act::Respond { headers, .. } = &mut self.act else {
            panic!("only a response with a status has header fields to set");
        };
        headers.push((name.into(), value.into()));
        self
    }

    /// Announces `Connection: close` with the response, and closes the connection after it.
    ///
    /// # Panics
    ///
    /// Panics if the reply is not made by [`status`](Self::status).
    pub fn and_close(self) -> Self {
        let mut reply = self.header("Connection", "close");
        if let Act::Respond { close, .. } = &mut reply.act {
            *close = true;
        }
        reply
    }

    /// Waits before doing anything.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Acts it out, and returns the connection if it can carry another request.
    pub(crate) async fn perform(self, mut connection: Connection) -> Option<Connection> {
        if !self.delay.is_zero() {
            time::sleep(self.delay).await;
        }
        match self.act {
            Act::Respond {
                status,
                headers,
                body,
                close,
            } => {
                let headers: Vec<_> = headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()))
                    .collect();
                connection.respond_with(status, &headers, body).await;
                if !close {
                    return Some(connection);
                }
                connection.close().await;
            }
            Act::Truncate { announced, sent } => {
                let announced = announced.to_string();
                let headers = [("Content-Length", announced.as_str())];
                connection.respond_with(200, &headers, sent).await;
                connection.close().await;
            }
            Act::Raw(bytes) => {
                connection.write(bytes).await;
                connection.answered();
                return Some(connection);
            }
            Act::Reset => connection.reset(),
            Act::Close => connection.close().await,
            Act::Stall => {
                connection.stall_until_closed().await;
            }
        }
        None
    }
}
