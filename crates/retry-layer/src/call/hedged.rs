use super::Call;
use crate::{
    hedge::{Ended, HedgedCall},
    report::{AttemptRecord, Role},
};

impl<S, B> Call<S, B> {
    /// Takes over what became of the attempt that has ended and of its hedges, if it was hedged: each counts
    /// as an attempt. `earlier` are those of another request.
    pub(super) fn count_hedges(&mut self, earlier: u32) {
        if self.policy.hedging().is_none() {
            return;
        }
        let ended = self.hedged().and_then(HedgedCall::take_ended);
        let Some(ended) = ended else { return };
        let Ended {
            hedges,
            others,
            sent,
            role,
        } = ended;
        self.attempts = self.attempts.saturating_add(hedges);
        if self.journal.is_none() {
            self.journal = Some(self.begin_journal(earlier));
        }
        if let Some(journal) = &mut self.journal {
            journal.records.extend(others);
            journal.sent = Some(sent);
            journal.role = role;
        }
    }

    /// The hedges that are under way, as attempts that are cut off now.
    pub(crate) fn hedges_cut_off(&self) -> Vec<AttemptRecord> {
        self.hedged().map(HedgedCall::cut_off).unwrap_or_default()
    }

    /// As what that attempt was sent whose outcome is judged.
    pub(super) fn role(&self) -> Role {
        self.journal
            .as_ref()
            .map_or(Role::Attempt, |journal| journal.role)
    }

    fn hedged(&self) -> Option<&HedgedCall> {
        self.extensions.get()
    }
}
