use std::{error::Error, fmt, str::FromStr, sync::Arc};

use publicsuffix::List;

/// The public suffixes: domains such as `co.uk`, below which different owners register domains.
///
/// It is read from the list of <https://publicsuffix.org/list/public_suffix_list.dat>, which an app
/// includes (`include_str!`) or finds on its machine (Debian's package `publicsuffix` has it at
/// `/usr/share/publicsuffix/public_suffix_list.dat`). Nothing is downloaded. Clones are cheap.
///
/// ```
/// use session_layer::cookies::{Jar, PublicSuffixes};
///
/// # let list = "// ===BEGIN ICANN DOMAINS===\nuk\nco.uk\n// ===END ICANN DOMAINS===\n";
/// let suffixes: PublicSuffixes = list.parse()?;
/// let jar = Jar::with_public_suffixes(suffixes);
/// # Ok::<_, session_layer::cookies::PublicSuffixesError>(())
/// ```
#[derive(Clone)]
pub struct PublicSuffixes(Arc<List>);

impl PublicSuffixes {
    pub(super) fn list(&self) -> &List {
        &self.0
    }
}

impl FromStr for PublicSuffixes {
    type Err = PublicSuffixesError;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        let list = list.parse().map_err(PublicSuffixesError)?;
        Ok(Self(Arc::new(list)))
    }
}

impl fmt::Debug for PublicSuffixes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicSuffixes").finish_non_exhaustive()
    }
}

/// The text is not a list of public suffixes.
#[derive(Clone, Debug)]
pub struct PublicSuffixesError(publicsuffix::Error);

impl fmt::Display for PublicSuffixesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a list of public suffixes")
    }
}

impl Error for PublicSuffixesError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}
