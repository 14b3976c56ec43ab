use tokio::time::Instant;

use super::Call;
use crate::{
    class::Class,
    details::AttemptDetails,
    hedge::{Ended, HedgedCall},
    report::{AttemptOutcome, AttemptRecord, AttemptTimes, Role},
};

impl<S, B> Call<S, B> {
    /// Takes over what became of the attempt that has ended and of its hedges, if it was hedged: each counts
    /// as an attempt. `earlier` are those of another request.
    pub(super) fn count_hedges(&mut self, earlier: u32) {
        let ended = self.hedged.as_ref().and_then(HedgedCall::take_ended);
        let Some(ended) = ended else { return };
        let Ended {
            hedges,
            others,
            sent,
            role,
            asked,
        } = ended;
        self.attempts = self.attempts.saturating_add(hedges);
        if self.journal.is_none() {
            self.journal = Some(self.begin_journal(earlier));
        }
        if let Some(journal) = &mut self.journal {
            journal.records.extend(others);
            journal.sent = Some(sent);
            journal.role = role;
            journal.asked = asked;
        }
    }

    /// The attempt that is cut off now, described so, and what there is to say of those that were sent beside
    /// it.
    pub(crate) fn cut_off(&self, details: AttemptDetails) -> Vec<AttemptRecord> {
        let cut_off =
            AttemptRecord::new(AttemptOutcome::Error(Class::Ambiguous)).described(details);
        let Some(hedged) = &self.hedged else {
            return vec![cut_off.timed(self.times_so_far())];
        };
        if let Some(ended) = hedged.ended() {
            let times = AttemptTimes::new(self.started, Some(ended.sent), Instant::now());
            let mut records = ended.others;
            records.push(cut_off.timed(times).sent_as(ended.role));
            return records;
        }
        let mut records = vec![cut_off.timed(self.times_so_far())];
        records.extend(hedged.cut_off());
        records
    }

    /// As what that attempt was sent whose outcome is judged.
    pub(super) fn role(&self) -> Role {
        self.journal
            .as_ref()
            .map_or(Role::Attempt, |journal| journal.role)
    }
}
