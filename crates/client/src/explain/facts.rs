//! What a client keeps of its settings to explain requests.

use std::{sync::Arc, time::Duration};

use session_layer::{Connector, Timeouts};

use crate::attempt;

#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) timeouts: Timeouts,
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) prior_knowledge: bool,
    pub(crate) attempt: Arc<attempt::Settings>,
    pub(crate) call_layers: usize,
    pub(crate) attempt_layers: usize,
    pub(crate) has_jar: bool,
    pub(crate) below: Below,
}

/// What makes the attempts of a client.
#[derive(Debug, Default)]
pub(crate) enum Below {
    /// The session, over this crate's connector.
    Session(
        #[cfg_attr(
            not(feature = "proxy"),
            expect(dead_code, reason = "asked for its proxies")
        )]
        Box<Connector>,
    ),
    /// The session, over a connector of the caller's.
    OwnConnector,
    /// A service in the session's place.
    #[default]
    Service,
    /// A service in place of the whole stack.
    Bare,
}
