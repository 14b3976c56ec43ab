use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::Path,
};

use crate::{Result, peers::Peer};

/// All that was measured: a number for each case, client and quantity.
#[derive(Default)]
pub(crate) struct Figures {
    all: BTreeMap<[String; 3], f64>,
    /// Those that were not read from a file.
    new: BTreeSet<[String; 3]>,
}

impl Figures {
    pub(crate) fn set(&mut self, case: &str, id: &str, quantity: &str, value: f64) {
        let key = key(case, id, quantity);
        self.new.insert(key.clone());
        self.all.insert(key, value);
    }

    /// Keeps the smaller one of this run: one of an earlier run was measured beside others.
    pub(crate) fn lower(&mut self, case: &str, id: &str, quantity: &str, value: f64) {
        let known = self.new.contains(&key(case, id, quantity));
        let least = self.get(case, id, quantity).filter(|_| known);
        let value = least.map_or(value, |least| least.min(value));
        self.set(case, id, quantity, value);
    }

    pub(crate) fn get(&self, case: &str, id: &str, quantity: &str) -> Option<f64> {
        self.all.get(&key(case, id, quantity)).copied()
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
        self.all
            .keys()
            .any(|[in_case, of, _]| in_case == case && of == id)
    }

    /// Of whom there is any in a case.
    pub(crate) fn ids(&self, case: &str) -> BTreeSet<&str> {
        let keys = self.all.keys();
        let of_case = keys.filter(|[in_case, ..]| in_case == case);
        of_case.map(|[_, id, _]| id.as_str()).collect()
    }

    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let mut text = String::new();
        for ([case, id, quantity], value) in &self.all {
            // As exact as the finest of what is shown, and a digit more.
            let value = (value * 1e4).round() / 1e4;
            writeln!(text, "{case}\t{id}\t{quantity}\t{value}")?;
        }
        Ok(fs::write(file, text)?)
    }

    pub(crate) fn read(file: &Path) -> Result<Self> {
        Self::parse(&fs::read_to_string(file)?)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut figures = Self::default();
        for line in text.lines() {
            let parts: Vec<_> = line.split('\t').collect();
            let [case, id, quantity, value] = parts[..] else {
                return Err(format!("{line:?} is no figure").into());
            };
            figures.all.insert(key(case, id, quantity), value.parse()?);
        }
        Ok(figures)
    }
}

fn key(case: &str, id: &str, quantity: &str) -> [String; 3] {
    [case, id, quantity].map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::Figures;
    use crate::Result;

    #[test]
    fn a_figure_of_an_earlier_run_is_replaced_also_by_a_higher_one() -> Result<()> {
        let mut figures = Figures::parse("case\tclient\tcpu\t1\n")?;
        assert_eq!(figures.get("case", "client", "cpu"), Some(1.0));
        figures.lower("case", "client", "cpu", 3.0);
        figures.lower("case", "client", "cpu", 2.0);
        figures.lower("case", "client", "cpu", 4.0);
        assert_eq!(figures.get("case", "client", "cpu"), Some(2.0));
        Ok(())
    }
}
