use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct Steps {
    pub(super) next: Duration,
    pub(super) step: Duration,
}

impl Iterator for Steps {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.next;
        self.next = wait.saturating_add(self.step);
        Some(wait)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Fibonacci {
    pub(super) next: Duration,
    pub(super) after: Duration,
}

impl Iterator for Fibonacci {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.next;
        self.next = self.after;
        self.after = wait.saturating_add(self.after);
        Some(wait)
    }
}
