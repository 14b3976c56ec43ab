//! Assigns requests to the addresses of their names, where a session spreads them.

mod addresses;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hashbrown::HashMap;
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};

use self::addresses::{Addresses, Candidates, Renewed};
use super::{Idle, Pool, Shared, close::close_idle};
use crate::{
    Error, Spread, TriedAddresses,
    error::Kind,
    exchange::{Cause, Release},
    origin::{InvalidUri, Key, Origin, OriginRef, RawOrigin},
};

/// How many names are known at most; requests to any more are not spread.
const MAX_NAMES: usize = 1024;

/// The names whose requests are spread.
#[derive(Debug)]
pub(super) struct Spreading {
    spread: Spread,
    names: Mutex<HashMap<Key, Arc<Name>>>,
}

/// One name, as the pool knows it by itself: for each runtime and protocol.
#[derive(Debug)]
pub(crate) struct Name {
    origin: Origin,
    /// Whether its requests are spread.
    applies: bool,
    addresses: Mutex<Addresses<Origin>>,
}

/// Where a request goes.
#[derive(Debug)]
pub(crate) enum Assigned {
    /// To the name: its requests are not spread.
    Name,
    /// To this address of it.
    Address(Origin),
    /// To an address that is still to be looked up.
    Unknown(Arc<Name>),
}

impl Spreading {
    pub(super) fn new(spread: Spread) -> Self {
        Self {
            spread,
            names: Mutex::default(),
        }
    }

    fn name(&self, origin: &RawOrigin<'_>) -> Result<Option<Arc<Name>>, InvalidUri> {
        if let Some(known) = self.lock().get(origin) {
            return Ok(Some(known.clone()));
        }
        // It may be known, and be spelled otherwise.
        let origin = origin.read()?;
        if let Some(known) = self.lock().get(&origin) {
            return Ok(Some(known.clone()));
        }
        let origin = origin.to_origin()?;
        // It asks for proxies, so not under the lock.
        let applies = self.spread.applies(origin.uri());
        let mut names = self.lock();
        if names.len() >= MAX_NAMES {
            names.retain(|_, name| Arc::strong_count(name) > 1 || name.is_in_use());
        }
        if names.len() >= MAX_NAMES {
            return Ok(None);
        }
        let name = names.entry(Key(origin.clone())).or_insert_with(|| {
            Arc::new(Name {
                origin,
                applies,
                addresses: Mutex::new(Addresses::new()),
            })
        });
        Ok(Some(name.clone()))
    }

    /// The name that an address belongs to.
    fn name_of(&self, origin: &OriginRef<'_>) -> Option<Arc<Name>> {
        self.lock().get(origin).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Name>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Name {
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses<Origin>> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether requests have come lately.
    fn is_in_use(&self) -> bool {
        self.addresses().are_fresh(Instant::now())
    }
}

impl<B: Send + 'static> Pool<B> {
    /// Whether requests are spread.
    #[inline]
    pub(crate) fn spreads(&self) -> bool {
        self.spreading.is_some()
    }

    /// Assigns a request to an address.
    pub(crate) fn assign(
        self: &Arc<Self>,
        origin: &RawOrigin<'_>,
        tried: Option<&TriedAddresses>,
        now: Instant,
    ) -> Result<Assigned, InvalidUri> {
        let Some(spreading) = &self.spreading else {
            return Ok(Assigned::Name);
        };
        let Some(name) = spreading.name(origin)?.filter(|name| name.applies) else {
            return Ok(Assigned::Name);
        };
        if name.addresses().begin_renewal(now) {
            self.renew(spreading, &name);
        }
        Ok(match self.pick(&name, tried, now) {
            Some(address) => Assigned::Address(address),
            None => Assigned::Unknown(name),
        })
    }

    /// Assigns a request to another address, whose address did not take it.
    pub(crate) fn assign_again(
        &self,
        origin: &Origin,
        tried: Option<&TriedAddresses>,
        now: Instant,
    ) -> Option<Origin> {
        let name = self.name_of(origin)?;
        let here = TriedAddresses::new();
        if let Some(address) = origin.address() {
            here.note(address);
        }
        self.pick(&name, tried.or(Some(&here)), now)
    }

    /// Looks the addresses of a name up for a request that waits for them, and assigns it to one.
    pub(crate) async fn look_up(
        self: &Arc<Self>,
        name: &Arc<Name>,
        tried: Option<&TriedAddresses>,
    ) -> Result<Origin, Error> {
        let failed = |error| Error::from_connector(error, None).at(&name.origin);
        let Some(spreading) = &self.spreading else {
            return Err(failed("requests are not spread".into()));
        };
        let lookup = self.unless_closed(spreading.spread.lookup(name.origin.uri()));
        let closed = || Error::new(Kind::Closed).at(&name.origin);
        let found = lookup.await.ok_or_else(closed)?.map_err(failed)?;
        self.take_in(name, &found);
        let picked = self.pick(name, tried, Instant::now());
        picked.ok_or_else(|| failed("the name has no addresses".into()))
    }

    /// Looks a name up again, in a task: requests go on with what is known.
    fn renew(self: &Arc<Self>, spreading: &Spreading, name: &Arc<Name>) {
        let renewal = Renewal {
            name: name.clone(),
            refresh: spreading.spread.refresh,
        };
        // Outside of a runtime, the next request does it.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let pool = Arc::downgrade(self);
        let lookup = spreading.spread.clone();
        let within = self.config.timeouts.connect.unwrap_or(LOOKUP);
        runtime.spawn(async move {
            let lookup = lookup.lookup(renewal.name.origin.uri());
            let found = timeout(within, lookup).await;
            // Dropped after that, it changes nothing any more.
            if let (Some(pool), Ok(Ok(found))) = (pool.upgrade(), found) {
                pool.take_in(&renewal.name, &found);
            }
        });
    }

    fn take_in(self: &Arc<Self>, name: &Name, found: &[SocketAddr]) {
        let Some(spreading) = &self.spreading else {
            return;
        };
        let again_at = Instant::now().checked_add(spreading.spread.refresh);
        let key = |address| name.origin.with_address(address);
        let mut addresses = name.addresses();
        let Renewed { added, gone } = addresses.renew(found, again_at, key);
        // Under the lock of the addresses: after another lookup, one that is gone may be there again.
        for origin in &added {
            self.lock_for(origin).state.take_up(origin);
        }
        let retire = |origin: &Origin| self.lock_for(origin).state.retire(origin);
        let retired: Vec<_> = gone.iter().map(retire).collect();
        drop(addresses);
        for (idle, busy) in retired {
            self.retire(idle, busy);
        }
    }

    /// Takes the one with fewer requests of two addresses.
    fn pick(&self, name: &Name, tried: Option<&TriedAddresses>, now: Instant) -> Option<Origin> {
        let before = tried.map(TriedAddresses::addresses).unwrap_or_default();
        let random = |below: usize| fastrand::usize(..below.max(1));
        let candidates = name.addresses().candidates(&before, now, random)?;
        let picked = match candidates {
            Candidates {
                first,
                second: Some(second),
            } => {
                let load = |origin: &Origin| self.lock_for(origin).state.load(origin);
                let (one, other) = (load(&first), load(&second));
                if other < one { second } else { first }
            }
            Candidates {
                first,
                second: None,
            } => first,
        };
        if let Some(address) = picked.address() {
            name.addresses().picked(address, now);
            if let Some(tried) = tried {
                tried.note(address);
            }
        }
        Some(picked)
    }

    /// Gives nothing more to the connections to an address that its name has no more.
    fn retire(self: &Arc<Self>, idle: Vec<Idle<B>>, busy: Vec<Arc<Shared<B>>>) {
        for idle in idle {
            close_idle(idle, Cause::AddressGone);
        }
        for shared in busy {
            let connection = shared.connection();
            connection.state().note_end(Cause::AddressGone);
            self.drain(connection, None);
        }
    }

    /// Takes note that an address could not be connected to, or broke a connection, or ended one that had
    /// taken no request yet.
    pub(crate) fn address_failed(&self, origin: &Origin) {
        let name = origin.address().zip(self.name_of(origin));
        if let Some((address, name)) = name {
            name.addresses().failed(address, Instant::now());
        }
    }

    /// Takes note that an address has answered a request that was sent at that moment.
    #[inline]
    pub(super) fn address_answered(&self, origin: &Origin, sent: Instant) {
        if self.spreads() {
            self.note_answer(origin, sent);
        }
    }

    #[cold]
    fn note_answer(&self, origin: &Origin, sent: Instant) {
        let name = origin.address().zip(self.name_of(origin));
        if let Some((address, name)) = name {
            name.addresses().answered(address, sent);
        }
    }

    /// In which time a connection has to be opened.
    pub(crate) fn connect_timeout(&self, origin: &Origin) -> Option<Duration> {
        let configured = self.config.timeouts.connect;
        let Some(spreading) = &self.spreading else {
            return configured;
        };
        let several = |name: Arc<Name>| name.addresses().are_several();
        let own = spreading.spread.connect_timeout;
        let own = own.filter(|_| self.name_of(origin).is_some_and(several));
        configured.into_iter().chain(own).min()
    }

    fn name_of(&self, origin: &Origin) -> Option<Arc<Name>> {
        let spreading = self.spreading.as_ref()?;
        origin.address()?;
        spreading.name_of(&origin.without_address())
    }
}

/// How long a lookup may take where connecting may take any time.
const LOOKUP: Duration = Duration::from_secs(30);

/// A lookup of a name that is known. However it ends, the next may begin.
struct Renewal {
    name: Arc<Name>,
    refresh: Duration,
}

impl Drop for Renewal {
    fn drop(&mut self) {
        let again_at = Instant::now().checked_add(self.refresh);
        self.name.addresses().renewal_ended(again_at);
    }
}
