//! The settings of one call that its request carries as extensions: how it is sent, on every hop.
//!
//! All other extensions belong to the caller, may be secret, and are not taken along to another
//! origin.

use http::Extensions;
use retry_layer::{
    Attempt, BodyFactory, Deadline, EarlierTransparentRetries, IdempotencyKeys, Idempotent,
    NoHedge, NoRetry, Resumption, RetryOwner, RetryPolicy,
};
#[cfg(feature = "cookies")]
use session_layer::cookies::NoCookies;
use session_layer::{RequestOptions, TriedAddresses};

use crate::{
    Body, DecodeLimits, NoDecompression, Redirects, UploadProgress, UrlTemplate,
    auth::Refresh,
    collect::{CollectBody, FollowsNone},
    observe::{SentBefore, SentBytes},
    redirect::CrossOrigin,
    resume::Resume,
    setting::{CallSetting, set},
    without_defaults::WithoutDefaults,
};

macro_rules! call_settings {
    ($($(#[$cfg:meta])? $setting:ty),+ $(,)?) => {
        $($(#[$cfg])? impl CallSetting for $setting {})+

        /// Returns those of the extensions that are settings of the call.
        pub(crate) fn only(extensions: &Extensions) -> Extensions {
            let mut kept = Extensions::new();
            $($(#[$cfg])? keep::<$setting>(extensions, &mut kept);)+
            kept
        }

        /// Takes the settings of the call out of these extensions.
        pub(crate) fn take(extensions: &mut Extensions) -> Extensions {
            let mut taken = Extensions::new();
            $($(#[$cfg])? take_one::<$setting>(extensions, &mut taken);)+
            take_one::<RequestOptions>(extensions, &mut taken);
            take_one::<UrlTemplate>(extensions, &mut taken);
            taken
        }

        #[cfg(test)]
        const NAMES: &[&str] = &[$($(#[$cfg])? stringify!($setting)),+];
    };
}

call_settings! {
    // Of the retry layer: what may be sent again, and which layer retries it.
    Attempt,
    BodyFactory<Body>,
    Deadline,
    EarlierTransparentRetries,
    IdempotencyKeys,
    Idempotent,
    NoHedge,
    NoRetry,
    Resumption,
    RetryOwner,
    RetryPolicy,
    // Of the session.
    #[cfg(feature = "cookies")]
    NoCookies,
    // Of this crate.
    CollectBody,
    CrossOrigin,
    DecodeLimits,
    FollowsNone,
    NoDecompression,
    Redirects,
    Refresh,
    Resume,
    SentBefore,
    SentBytes,
    UploadProgress,
    WithoutDefaults,
}

/// Not in the list, because only a part of it holds for the peer of another hop; see `redirect`.
impl CallSetting for RequestOptions {}

/// Not in the list: each hop begins without any.
impl CallSetting for TriedAddresses {}

/// Not in the list, because it describes one URL, and no redirect takes it along.
impl CallSetting for UrlTemplate {}

fn keep<T: CallSetting>(all: &Extensions, kept: &mut Extensions) {
    if let Some(setting) = all.get::<T>() {
        set(kept, setting.clone());
    }
}

fn take_one<T: CallSetting>(all: &mut Extensions, taken: &mut Extensions) {
    if let Some(setting) = all.remove::<T>() {
        set(taken, setting);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[derive(Clone)]
    struct Secret;

    #[test]
    fn every_setting_of_a_call_is_kept_and_what_its_caller_added_is_not() {
        let mut all = Extensions::new();
        let mut added = Vec::new();
        macro_rules! add {
            ($($setting:ty = $value:expr),+ $(,)?) => {
                $(
                    set::<$setting>(&mut all, $value);
                    added.push(stringify!($setting));
                )+
            };
        }
        add! {
            BodyFactory<Body> = BodyFactory::new(|| Body::from("x")),
            Deadline = Deadline::within(Duration::from_secs(1)),
            EarlierTransparentRetries = EarlierTransparentRetries::from(1),
            IdempotencyKeys = IdempotencyKeys::new(),
            Idempotent = Idempotent,
            NoHedge = NoHedge,
            NoRetry = NoRetry,
            RetryOwner = RetryOwner,
            RetryPolicy = RetryPolicy::default(),
        }
        #[cfg(feature = "cookies")]
        add! { NoCookies = NoCookies }
        add! {
            CollectBody = CollectBody,
            CrossOrigin = CrossOrigin,
            DecodeLimits = DecodeLimits::default(),
            FollowsNone = FollowsNone,
            NoDecompression = NoDecompression,
            Redirects = Redirects::none(),
            Refresh = Refresh::default(),
            Resume = Resume::All,
            SentBefore = SentBefore(1),
            SentBytes = SentBytes::Announced(1),
            UploadProgress = UploadProgress::new(|_| {}),
            WithoutDefaults = WithoutDefaults::default(),
        }
        // Only a retry layer can make these.
        let of_layer = ["Attempt", "Resumption"];
        let known = NAMES.iter().filter(|name| !of_layer.contains(name));
        let known: Vec<_> = known.collect();
        assert_eq!(known, added.iter().collect::<Vec<_>>());

        all.insert(Secret);
        let kept = only(&all);
        assert_eq!(kept.len(), added.len());
        assert!(kept.get::<Secret>().is_none());

        set(&mut all, RequestOptions::new());
        let taken = take(&mut all);
        assert_eq!(taken.len(), added.len() + 1);
        assert_eq!(all.len(), 1);
        assert!(all.get::<Secret>().is_some());
    }
}
