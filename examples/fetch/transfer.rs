//! One URL, and where it goes.

use std::{
    borrow::Cow,
    fmt,
    path::PathBuf,
    time::{Duration, Instant},
};

use client::{Client, Error, RequestBuilder, RetryReport, ThroughputFloor};
use indicatif::BinaryBytes;
use tokio::time::timeout;

use crate::{arguments::Header, exit::Exit, screen::Screen};

/// What is to be downloaded.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) url: String,
    pub(crate) target: Target,
    /// In hexadecimal digits.
    pub(crate) sha256: Option<String>,
    /// Whether it goes on from what an earlier run has left.
    pub(crate) continues: bool,
    pub(crate) headers: Vec<Header>,
    pub(crate) max_time: Option<Duration>,
    /// The floor of throughput, where another than the client's is asked for.
    #[expect(
        clippy::option_option,
        reason = "to leave it and to turn it off are two things"
    )]
    pub(crate) floor: Option<Option<ThroughputFloor>>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    Stdout,
    File(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("-"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Transfer {
    /// What it is called on the screen.
    pub(crate) fn name(&self) -> Cow<'_, str> {
        match &self.target {
            Target::Stdout => "-".into(),
            Target::File(path) => path.file_name().unwrap_or(path.as_ref()).to_string_lossy(),
        }
    }

    /// Downloads it, and gives a summary, or says why it cannot be had and what the exit status is.
    pub(crate) async fn run(
        &self,
        client: &Client,
        screen: &Screen,
    ) -> Result<String, (Exit, String)> {
        let began = Instant::now();
        let transfer = self.transfer(client, screen);
        let outcome = match self.max_time {
            None => transfer.await,
            Some(time) => timeout(time, transfer).await.map_err(|_| {
                let hint = match self.target {
                    Target::File(_) => "; go on with `-C`",
                    Target::Stdout => "",
                };
                (
                    Exit::Timeout,
                    format!("it was not done within {time:?}{hint}"),
                )
            })?,
        };
        let done = outcome.map_err(|error| (Exit::of(&error), explain(&error)))?;
        Ok(done.summary(&self.name(), began.elapsed()))
    }

    async fn transfer(&self, client: &Client, screen: &Screen) -> Result<Done, Error> {
        let mut bar = screen.bar(&self.name());
        let request = self.request(client);
        match &self.target {
            Target::File(path) => {
                let mut download = request.download_to(path);
                if let Some(digest) = &self.sha256 {
                    download = download.sha256_hex(digest);
                }
                if !self.continues {
                    download = download.fresh();
                }
                let done = download.on_progress(|progress| bar.show(progress)).await?;
                Ok(Done {
                    length: done.length(),
                    resumed_from: done.resumed_from(),
                    report: done.retry_report().clone(),
                })
            }
            Target::Stdout => {
                let response = request.resume(true).send().await?;
                let report = response.retry_report();
                let mut stdout = tokio::io::stdout();
                let copied =
                    response.copy_with_progress(&mut stdout, |progress| bar.show(progress));
                Ok(Done {
                    length: copied.await?,
                    resumed_from: 0,
                    report,
                })
            }
        }
    }

    fn request(&self, client: &Client) -> RequestBuilder {
        let mut request = client.get(self.url.as_str());
        if let Some(floor) = self.floor {
            request = request.download_floor(floor);
        }
        self.headers
            .iter()
            .fold(request, |request, header| match header {
                Header::Sent(name, value) => request.append_header(name, value),
                Header::LeftOut(name) => request.without_header(name),
            })
    }
}

/// One line about an error, and what to do where something is left to go on from.
fn explain(error: &Error) -> String {
    let hint = match error.partial_file() {
        Some(_) => "; go on with `-C`",
        None => "",
    };
    format!("{error:#}{hint}")
}

/// A download that is whole.
struct Done {
    length: u64,
    resumed_from: u64,
    report: RetryReport,
}

impl Done {
    fn summary(&self, name: &str, took: Duration) -> String {
        let loaded = self.length.saturating_sub(self.resumed_from);
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = loaded.saturating_mul(1_000) / millis;
        let mut parts = vec![format!(
            "{name}: {} in {:?}, {}/s",
            BinaryBytes(self.length),
            Duration::from_millis(millis),
            BinaryBytes(rate)
        )];
        if self.resumed_from > 0 {
            parts.push(format!("{} were there", BinaryBytes(self.resumed_from)));
        }
        let attempts = self.report.attempts().len();
        if attempts > 1 {
            parts.push(format!("{attempts} attempts: {}", self.report));
        }
        parts.join("; ")
    }
}
