use http::HeaderName;
use serde::Deserialize;

use super::{header_name, twice};
use crate::{Error, Redirects};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RedirectsConfig {
    follow: Option<bool>,
    limit: Option<u32>,
    allow_downgrade: Option<bool>,
    sensitive_headers: Vec<String>,
}

impl RedirectsConfig {
    pub(super) fn alter(self, rules: Redirects) -> Result<Redirects, Error> {
        let rules = match (self.follow, self.limit) {
            (Some(false), None) => rules.following(None),
            (Some(false), Some(_)) => return Err(twice("redirects.follow", "redirects.limit")),
            (Some(true), None) => {
                let limit = rules.limit().or(Redirects::default().limit());
                rules.following(limit)
            }
            (None, None) => rules,
            (_, Some(limit)) => rules.following(Some(limit)),
        };
        let rules = match self.allow_downgrade {
            Some(true) => rules.allow_downgrade(),
            Some(false) => rules.refuse_downgrade(),
            None => rules,
        };
        let names = self.sensitive_headers.iter();
        let names = names.map(|name| header_name("redirects.sensitive_headers", name));
        let names: Vec<HeaderName> = names.collect::<Result<_, _>>()?;
        Ok(rules.sensitive_headers(names))
    }
}
