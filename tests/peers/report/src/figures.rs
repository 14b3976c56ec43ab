use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::Path,
};

use crate::{Result, peers::Peer};

/// All that was measured: a number for each case, client and quantity.
#[derive(Default)]
pub(crate) struct Figures(BTreeMap<[String; 3], f64>);

impl Figures {
    pub(crate) fn set(&mut self, case: &str, id: &str, quantity: &str, value: f64) {
        self.0.insert(key(case, id, quantity), value);
    }

    /// Keeps the smaller one.
    pub(crate) fn lower(&mut self, case: &str, id: &str, quantity: &str, value: f64) {
        let kept = self.0.entry(key(case, id, quantity)).or_insert(value);
        *kept = kept.min(value);
    }

    pub(crate) fn get(&self, case: &str, id: &str, quantity: &str) -> Option<f64> {
        self.0.get(&key(case, id, quantity)).copied()
    }

    /// The figure of a client beside that of another.
    pub(crate) fn ratio(&self, case: &str, of: Peer, to: Peer, quantity: &str) -> Option<f64> {
        Some(self.get(case, of.id, quantity)? / self.get(case, to.id, quantity)?)
    }

    /// The figure of a client less that of another.
    pub(crate) fn above(&self, case: &str, of: Peer, base: Peer, quantity: &str) -> Option<f64> {
        Some(self.get(case, of.id, quantity)? - self.get(case, base.id, quantity)?)
    }

    /// Whether there is any of a client in a case.
    pub(crate) fn has(&self, case: &str, id: &str) -> bool {
        self.0
            .keys()
            .any(|[in_case, of, _]| in_case == case && of == id)
    }

    /// Of whom there is any in a case.
    pub(crate) fn ids(&self, case: &str) -> BTreeSet<&str> {
        let keys = self.0.keys();
        let of_case = keys.filter(|[in_case, ..]| in_case == case);
        of_case.map(|[_, id, _]| id.as_str()).collect()
    }

    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let mut text = String::new();
        for ([case, id, quantity], value) in &self.0 {
            // As exact as the finest of what is shown, and a digit more.
            let value = (value * 1e4).round() / 1e4;
            writeln!(text, "{case}\t{id}\t{quantity}\t{value}")?;
        }
        Ok(fs::write(file, text)?)
    }

    pub(crate) fn read(file: &Path) -> Result<Self> {
        let mut figures = Self::default();
        for line in fs::read_to_string(file)?.lines() {
            let parts: Vec<_> = line.split('\t').collect();
            let [case, id, quantity, value] = parts[..] else {
                return Err(format!("{line:?} is no figure").into());
            };
            figures.set(case, id, quantity, value.parse()?);
        }
        Ok(figures)
    }
}

fn key(case: &str, id: &str, quantity: &str) -> [String; 3] {
    [case, id, quantity].map(str::to_owned)
}
