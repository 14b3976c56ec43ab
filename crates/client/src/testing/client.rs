//! Clients over a fake.

use super::{Answer, Fake, service::FakeService};
use crate::{
    Client, ClientBuilder, DeadlinePhase, Error,
    so_far::{SoFar, Telling},
};

impl Fake {
    /// Makes a client with the default settings over this fake;
    /// [`build_with_fake`](ClientBuilder::build_with_fake) makes one with others.
    ///
    /// # Panics
    ///
    /// Never: the default settings are valid.
    #[must_use]
    pub fn client(&self) -> Client {
        ClientBuilder::new()
            .build_with_fake(self)
            .expect("the default settings are valid")
    }
}

impl Client {
    /// Makes a client with the default settings that needs no network: its attempts get these
    /// answers one after the other; see [`testing`](crate::testing).
    ///
    /// ```
    /// use client::Client;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), client::Error> {
    /// let client = Client::fake([(503, "busy"), (200, "pong")]);
    /// assert_eq!(client.get("http://any/ping").fetch().await?.text()?, "pong");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn fake<I>(answers: I) -> Self
    where
        I: IntoIterator<Item: Into<Answer> + 'static, IntoIter: Send + 'static>,
    {
        Fake::new(answers).client()
    }
}

impl ClientBuilder {
    /// Builds the client over a [`Fake`] in place of the session, with its retries and all other
    /// layers, and without a network; see [`testing`](crate::testing).
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build).
    pub fn build_with_fake(self, fake: &Fake) -> Result<Client, Error> {
        let service = FakeService::new(fake.clone(), &self.timeouts);
        let service = Telling::new(service, |_| SoFar::in_phase(DeadlinePhase::Head));
        self.build_with_service(service)
    }
}
