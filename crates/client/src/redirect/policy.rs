use std::{fmt, sync::Arc};

use http::{HeaderName, Method, Request, StatusCode, Uri};
#[cfg(feature = "tower-http")]
use tower_http::follow_redirect::policy::Policy;

use crate::{Body, error::BoxError, origin};

/// Which redirects are followed, and what they may take along.
///
/// By default ten per call, from `http` to `https` but not back. 301 and 302 make a GET of a POST,
/// 303 makes a GET of everything but a HEAD; all others keep the method, and the body if it can
/// be sent again. If it cannot, the redirect itself is the answer, and so it is without a
/// `Location`, or with one that is empty. A request whose method is not idempotent is not sent again
/// to a URL that it has been sent to: that redirect is the answer too. Only `http` and `https` are
/// followed, and what is against the rules is an [error](crate::Error::is_redirect).
///
/// The rules that a call begins with hold for all its hops, those of its request
/// ([`RequestBuilder::redirects`](crate::RequestBuilder::redirects)) before the client's.
///
/// As soon as scheme, host or port change, these are gone for the rest of the call, also on the
/// way back: `Authorization`, `Cookie`, `Proxy-Authorization`, every header whose value is
/// [flagged as sensitive](http::HeaderValue::set_sensitive), those of
/// [`sensitive_headers`](Self::sensitive_headers), the request's extensions but for the
/// [settings of the call](crate::RequestBuilder::extension), and what the client adds by itself for
/// its own origin. Credentials in a `Location` are never used.
///
/// Each hop is a request with its own attempts. The retry report has those of all, one after the
/// other, and the [`Redirected`](crate::Redirected) of a response tells where they led.
///
/// ```
/// use client::{Client, RedirectAction, Redirects};
///
/// let never = Client::builder().redirects(Redirects::none()).build()?;
/// let at_home = Redirects::limited(5).decide(|redirect| {
///     if redirect.is_cross_origin() { RedirectAction::Stop } else { RedirectAction::Follow }
/// });
/// let client = Client::builder().redirects(at_home).build()?;
/// # Ok::<(), client::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "rules do nothing until a client or a request has them"]
pub struct Redirects {
    // Behind one count, so that a request can have its own, and a call can keep them.
    rules: Arc<Rules>,
}

#[derive(Clone)]
struct Rules {
    /// None follows none.
    limit: Option<u32>,
    downgrade: Downgrade,
    sensitive: Vec<HeaderName>,
    decide: Option<Arc<Decide>>,
    policy: Option<Arc<BeginPolicy>>,
}

/// Begins with a policy of another crate for a call that is redirected.
type BeginPolicy = dyn Fn() -> Box<dyn CallPolicy> + Send + Sync;

/// A policy of another crate during one call, of which it may keep a state.
pub(super) trait CallPolicy: Send {
    /// Sees a request before it is sent.
    fn on_request(&mut self, request: &mut Request<Body>);

    /// Decides about a redirect that was given to a request with this method.
    fn action(
        &mut self,
        asked: &Method,
        redirect: &Redirect<'_>,
    ) -> Result<RedirectAction, BoxError>;
}

impl fmt::Debug for dyn CallPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallPolicy")
    }
}

type Decide = dyn Fn(&Redirect<'_>) -> RedirectAction + Send + Sync;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Downgrade {
    Refused,
    Allowed,
}

const LIMIT: u32 = 10;

/// Headers that often hold a key, and that are hardly ever flagged as sensitive.
const SENSITIVE: [HeaderName; 13] = [
    HeaderName::from_static("api-key"),
    HeaderName::from_static("apikey"),
    HeaderName::from_static("cookie2"),
    HeaderName::from_static("private-token"),
    HeaderName::from_static("www-authenticate"),
    HeaderName::from_static("x-access-token"),
    HeaderName::from_static("x-amz-security-token"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-auth-token"),
    HeaderName::from_static("x-csrf-token"),
    HeaderName::from_static("x-goog-api-key"),
    HeaderName::from_static("x-vault-token"),
    HeaderName::from_static("x-xsrf-token"),
];

impl Redirects {
    /// Follows none: each redirect is an answer like any other.
    pub fn none() -> Self {
        Self::with_limit(None)
    }

    /// Follows at most this many in one call; one more is an error. `limited(0)` refuses all.
    pub fn limited(redirects: u32) -> Self {
        Self::with_limit(Some(redirects))
    }

    fn with_limit(limit: Option<u32>) -> Self {
        Self {
            rules: Arc::new(Rules {
                limit,
                downgrade: Downgrade::Refused,
                sensitive: SENSITIVE.to_vec(),
                decide: None,
                policy: None,
            }),
        }
    }

    /// The same rules for another number of redirects; `None` follows none.
    #[cfg(feature = "config")]
    pub(crate) fn following(self, limit: Option<u32>) -> Self {
        self.alter(|rules| rules.limit = limit)
    }

    /// Refuses redirects from `https` to `http` again.
    #[cfg(feature = "config")]
    pub(crate) fn refuse_downgrade(self) -> Self {
        self.alter(|rules| rules.downgrade = Downgrade::Refused)
    }

    fn alter(mut self, alter: impl FnOnce(&mut Rules)) -> Self {
        alter(Arc::make_mut(&mut self.rules));
        self
    }

    /// Asks this function about each redirect that the other rules allow. It must not block.
    pub fn decide(
        self,
        decide: impl Fn(&Redirect<'_>) -> RedirectAction + Send + Sync + 'static,
    ) -> Self {
        self.alter(|rules| rules.decide = Some(Arc::new(decide)))
    }

    /// Asks a redirect policy of tower-http, after all other rules: `Limited`, `SameOrigin`, what `And` and `Or`
    /// make of others, a closure by `redirect_fn`, or one of your own. Of several that are set the last one is
    /// asked; `And` asks two.
    ///
    /// ```
    /// use client::{Client, Redirects};
    /// use tower_http::follow_redirect::policy::{Action, Attempt, SameOrigin, redirect_fn};
    ///
    /// let client = Client::builder()
    ///     .redirects(Redirects::limited(5).policy(SameOrigin::new()))
    ///     .build()?;
    /// let request = client.get("https://example.com/").redirects(Redirects::limited(5).policy(
    ///     redirect_fn(|attempt: &Attempt<'_>| match attempt.location().path() {
    ///         "/blocked" => Err("the proxy's page of what is blocked".into()),
    ///         _ => Ok(Action::Follow),
    ///     }),
    /// ));
    /// # Ok::<(), client::Error>(())
    /// ```
    ///
    /// Each call that is redirected begins with a clone of the policy, which sees all its hops. `Action::Stop`
    /// makes the redirect the answer, and an error becomes the [source](std::error::Error::source) of the
    /// call's.
    ///
    /// Whatever it says, these stay in force, since it is asked only about a redirect that they allow: the limit
    /// of these rules (a `Limited` that allows more has no effect), no way back from `https` to `http`, no other
    /// scheme, no second time for a method that is not idempotent, no body that cannot be sent again, and what
    /// [`decide`](Self::decide) says. The method and the URL of the next request are not its to choose.
    ///
    /// `Policy::on_request` sees each request as its caller made it, without what the client adds, and with an
    /// empty body: the first one when it is redirected, so that a change of that has no effect; each later one
    /// before it is sent, when the headers are gone that do not go to another origin. Of that one it may add,
    /// change and remove headers and the caller's extensions. `Policy::clone_body` is not asked: a body is sent
    /// again as for a retry.
    #[cfg(feature = "tower-http")]
    pub fn policy<P>(self, policy: P) -> Self
    where
        P: Policy<Body, BoxError> + Clone + Send + Sync + 'static,
    {
        self.alter(|rules| rules.policy = Some(Arc::new(move || Box::new(policy.clone()))))
    }

    /// Follows redirects from `https` to `http` too, where each host on the way can read the request.
    pub fn allow_downgrade(self) -> Self {
        self.alter(|rules| rules.downgrade = Downgrade::Allowed)
    }

    /// Drops these headers too when the origin changes, beside those that are dropped anyway and
    /// what often holds a key: `api-key`, `apikey`, `private-token`, `x-access-token`,
    /// `x-amz-security-token`, `x-api-key`, `x-auth-token`, `x-csrf-token`, `x-goog-api-key`,
    /// `x-vault-token`, `x-xsrf-token`.
    pub fn sensitive_headers(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.alter(|rules| rules.sensitive.extend(names))
    }

    pub(crate) fn limit(&self) -> Option<u32> {
        self.rules.limit
    }

    pub(super) fn allows_downgrade(&self) -> bool {
        self.rules.downgrade == Downgrade::Allowed
    }

    pub(super) fn is_sensitive(&self, name: &HeaderName) -> bool {
        self.rules.sensitive.contains(name)
    }

    pub(super) fn action(&self, redirect: &Redirect<'_>) -> RedirectAction {
        match &self.rules.decide {
            Some(decide) => decide(redirect),
            None => RedirectAction::Follow,
        }
    }

    /// Begins with the policy of another crate, if there is one.
    pub(super) fn begin_policy(&self) -> Option<Box<dyn CallPolicy>> {
        self.rules.policy.as_ref().map(|begin| begin())
    }
}

impl Default for Redirects {
    fn default() -> Self {
        Self::limited(LIMIT)
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("limit", &self.limit)
            .field("downgrade", &self.downgrade)
            .field("sensitive", &self.sensitive)
            .field("decided", &self.decide.is_some())
            .field("policy", &self.policy.is_some())
            .finish()
    }
}

/// One redirect, for [`Redirects::decide`].
#[derive(Clone, Copy)]
pub struct Redirect<'a> {
    pub(super) status: StatusCode,
    pub(super) method: &'a Method,
    pub(super) from: &'a Uri,
    pub(super) to: &'a Uri,
    pub(super) number: u32,
}

impl Redirect<'_> {
    /// Returns the status of the response that redirects.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the method of the request that would follow.
    #[must_use]
    pub fn method(&self) -> &Method {
        self.method
    }

    /// Returns the URL that was asked.
    #[must_use]
    pub fn from(&self) -> &Uri {
        self.from
    }

    /// Returns the URL that would be asked next.
    #[must_use]
    pub fn to(&self) -> &Uri {
        self.to
    }

    /// Returns which redirect of the call it is, from 1.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether scheme, host or port would change.
    #[must_use]
    pub fn is_cross_origin(&self) -> bool {
        !origin::is_same(self.from, self.to)
    }
}

impl fmt::Debug for Redirect<'_> {
    // No path and no query: either may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redirect")
            .field("status", &self.status)
            .field("method", &self.method)
            .field("from", &origin::display(self.from))
            .field("to", &origin::display(self.to))
            .field("number", &self.number)
            .finish()
    }
}

/// What is done with a redirect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RedirectAction {
    /// It is followed.
    Follow,
    /// It is returned as the answer.
    Stop,
    /// It is an error.
    Refuse,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect<'a>(from: &'a Uri, to: &'a Uri) -> Redirect<'a> {
        Redirect {
            status: StatusCode::SEE_OTHER,
            method: &Method::PUT,
            from,
            to,
            number: 3,
        }
    }

    #[test]
    fn ten_are_followed_unless_another_number_is_set() {
        assert_eq!(Redirects::default().limit(), Some(10));
        assert_eq!(Redirects::limited(3).limit(), Some(3));
        assert_eq!(Redirects::limited(0).limit(), Some(0));
        assert_eq!(Redirects::none().limit(), None);
    }

    #[test]
    fn a_redirect_to_http_is_followed_only_where_that_is_allowed() {
        assert!(!Redirects::default().allows_downgrade());
        assert!(Redirects::limited(3).allow_downgrade().allows_downgrade());
    }

    #[test]
    fn headers_that_often_hold_a_key_and_those_that_are_named_are_sensitive() {
        let own = HeaderName::from_static("x-own");
        let key = HeaderName::from_static("x-api-key");
        let redirects = Redirects::default();
        assert!(redirects.is_sensitive(&key) && !redirects.is_sensitive(&own));
        let redirects = redirects.sensitive_headers([own.clone()]);
        assert!(redirects.is_sensitive(&key) && redirects.is_sensitive(&own));
    }

    #[test]
    fn each_setting_leaves_the_others_as_they_were() {
        let own = HeaderName::from_static("x-own");
        let uri = Uri::from_static("http://a.example/");
        let redirects = Redirects::limited(3)
            .allow_downgrade()
            .sensitive_headers([own.clone()])
            .decide(|_| RedirectAction::Stop);
        assert_eq!(redirects.limit(), Some(3));
        assert!(redirects.allows_downgrade() && redirects.is_sensitive(&own));
        let action = redirects.action(&redirect(&uri, &uri));
        assert_eq!(action, RedirectAction::Stop);
        let shown = format!("{redirects:?}");
        for part in [
            "limit: Some(3)",
            "downgrade: Allowed",
            "x-own",
            "decided: true",
        ] {
            assert!(shown.contains(part), "{shown}");
        }
    }

    #[cfg(feature = "config")]
    #[test]
    fn a_file_sets_the_number_and_takes_back_the_downgrade_and_nothing_else() {
        let own = HeaderName::from_static("x-own");
        let redirects = Redirects::limited(3)
            .allow_downgrade()
            .sensitive_headers([own.clone()]);
        let other = redirects.clone().following(Some(4));
        assert_eq!(other.limit(), Some(4));
        assert!(other.allows_downgrade() && other.is_sensitive(&own));
        let other = redirects.clone().refuse_downgrade();
        assert_eq!(other.limit(), Some(3));
        assert!(!other.allows_downgrade() && other.is_sensitive(&own));
        // Those that were there before are as they were.
        assert_eq!(redirects.limit(), Some(3));
        assert!(redirects.allows_downgrade());
    }

    #[test]
    fn without_a_function_each_redirect_is_followed() {
        let uri = Uri::from_static("http://a.example/");
        let action = Redirects::default().action(&redirect(&uri, &uri));
        assert_eq!(action, RedirectAction::Follow);
    }

    #[test]
    fn a_redirect_tells_what_it_is_and_where_it_leads() {
        let from = Uri::from_static("http://a.example/secret");
        let to = Uri::from_static("https://a.example/?secret");
        let it = redirect(&from, &to);
        assert_eq!((it.status(), it.number()), (StatusCode::SEE_OTHER, 3));
        assert_eq!(
            (it.method(), it.from(), it.to()),
            (&Method::PUT, &from, &to)
        );
        assert!(it.is_cross_origin());
        assert!(!redirect(&to, &to).is_cross_origin());
    }

    #[test]
    fn its_debug_output_leaves_paths_and_queries_out() {
        let from = Uri::from_static("http://a.example/secret");
        let to = Uri::from_static("https://b.example/?secret");
        let shown = format!("{:?}", redirect(&from, &to));
        for part in ["303", "PUT", "a.example", "b.example", "number: 3"] {
            assert!(shown.contains(part), "{shown}");
        }
        assert!(!shown.contains("secret"), "{shown}");
    }
}
