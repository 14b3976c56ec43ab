use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A request extension: to which addresses of its name a call has gone by now, where the session
/// [spreads](crate::Spread) its requests over them. The next attempt goes to another, as long as there is
/// one.
///
/// It is for all attempts of one call, so it is put into the request above what repeats it; clones share
/// what is in it.
///
/// ```
/// use http::Request;
/// use session_layer::TriedAddresses;
///
/// let tried = TriedAddresses::new();
/// let mut request = Request::get("http://orders.shop.svc/").body(()).expect("it is valid");
/// request.extensions_mut().insert(tried.clone());
/// // .. through a retry layer, and the session ..
/// assert!(tried.addresses().is_empty());
/// ```
#[derive(Clone, Debug, Default)]
pub struct TriedAddresses(Arc<Mutex<Vec<SocketAddr>>>);

impl TriedAddresses {
    /// Begins without any.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the addresses, in the order in which they were tried.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.lock().clone()
    }

    /// Takes note that a request goes to this address.
    pub(crate) fn note(&self, address: SocketAddr) {
        let mut tried = self.lock();
        if !tried.contains(&address) {
            tried.push(address);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
