//! Settings of a call in the extensions of its request.

use http::Extensions;

/// An extension that is a setting of its call. [`set`] takes no other type, and all of them are
/// listed in [`call_settings`](crate::call_settings), so that a redirect to another origin takes
/// each of them along.
pub(crate) trait CallSetting: Clone + Send + Sync + 'static {}

/// Adds a setting to a request's extensions, replacing one of its type.
#[inline]
pub(crate) fn set<T: CallSetting>(extensions: &mut Extensions, setting: T) {
    extensions.insert(setting);
}
