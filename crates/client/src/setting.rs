//! How this crate puts a setting of a call into the extensions of its request.

use http::Extensions;

/// An extension that is a setting of its call. [`set`] takes nothing else, and all of them are listed in
/// [`call_settings`](crate::call_settings): so none is forgotten where a redirect leaves an origin.
pub(crate) trait CallSetting: Clone + Send + Sync + 'static {}

/// Adds a setting to a request's extensions, in place of one of its type.
#[inline]
pub(crate) fn set<T: CallSetting>(extensions: &mut Extensions, setting: T) {
    extensions.insert(setting);
}
