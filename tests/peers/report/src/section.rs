use crate::{
    Result,
    bench::Bench,
    figures::Figures,
    peers::{PEERS, Peer, RAW},
    table::{Digits, Table},
};

/// One part of the page: what it measures, and how that is shown.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) text: &'static str,
    pub(crate) columns: &'static [Column],
    pub(crate) measure: fn(&Run<'_>, &mut Figures) -> Result<()>,
}

/// One column of a table, which has a row for each client.
pub(crate) struct Column {
    pub(crate) head: &'static str,
    pub(crate) case: &'static str,
    pub(crate) quantity: &'static str,
    pub(crate) shown: Shown,
}

/// As what a figure is shown.
#[derive(Clone, Copy)]
pub(crate) enum Shown {
    Plain(Digits),
    /// As a multiple of what bare hyper has.
    OfRaw,
    /// As what is left of it above bare hyper.
    AboveRaw,
}

/// What is measured now.
pub(crate) struct Run<'a> {
    pub(crate) bench: &'a Bench,
    pub(crate) peers: Vec<Peer>,
    /// Whether it is only to be seen that everything works.
    pub(crate) brief: bool,
}

impl Run<'_> {
    /// So many, or a tenth of it.
    pub(crate) fn size(&self, full: usize) -> usize {
        if self.brief { full.div_ceil(10) } else { full }
    }
}

impl Section {
    pub(crate) fn table(&self, figures: &Figures) -> Table {
        let mut heads = vec![""];
        heads.extend(self.columns.iter().map(|column| column.head));
        let mut table = Table::new(&heads);
        for peer in PEERS {
            let known = |column: &Column| figures.has(column.case, peer.id);
            if self.columns.iter().any(known) {
                let cells = self.columns.iter().map(|column| column.cell(figures, peer));
                table.row(peer.name, &cells.collect::<Vec<_>>());
            }
        }
        table
    }
}

impl Column {
    fn cell(&self, figures: &Figures, peer: Peer) -> String {
        let (case, quantity) = (self.case, self.quantity);
        let (value, digits) = match self.shown {
            Shown::Plain(digits) => (figures.get(case, peer.id, quantity), digits),
            Shown::OfRaw => (figures.ratio(case, peer, RAW, quantity), Digits::Three),
            Shown::AboveRaw => (figures.above(case, peer, RAW, quantity), Digits::Whole),
        };
        value.map_or_else(|| "–".to_owned(), |value| digits.show(value))
    }
}
