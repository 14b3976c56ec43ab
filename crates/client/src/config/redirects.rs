use http::HeaderName;
use serde::Deserialize;

use super::{invalid, twice};
use crate::{Error, Redirects};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RedirectsConfig {
    follow: Option<bool>,
    limit: Option<u32>,
    allow_downgrade: bool,
    sensitive_headers: Vec<String>,
}

impl RedirectsConfig {
    pub(super) fn rules(self) -> Result<Redirects, Error> {
        let mut rules = match (self.follow, self.limit) {
            (Some(false), None) => Redirects::none(),
            (Some(false), Some(_)) => return Err(twice("redirects.follow", "redirects.limit")),
            (_, None) => Redirects::default(),
            (_, Some(limit)) => Redirects::limited(limit),
        };
        if self.allow_downgrade {
            rules = rules.allow_downgrade();
        }
        let names = self.sensitive_headers.iter().map(|name| name.parse());
        let names: Vec<HeaderName> = names
            .collect::<Result<_, _>>()
            .map_err(|_| invalid("redirects.sensitive_headers"))?;
        Ok(rules.sensitive_headers(names))
    }
}
