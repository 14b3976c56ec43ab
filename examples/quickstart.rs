//! Fetches URLs, and prints what happened on the way, attempt by attempt.
//!
//! `cargo run --example quickstart` starts a flaky server of its own, and needs no network.
//! `cargo run --example quickstart -- URL...` fetches these URLs instead.

use std::{
    env,
    error::Error,
    io,
    process::ExitCode,
    time::{Duration, Instant},
};

use client::{Client, Exponential, Response, RetryPolicy, RetryReport, Stats};
use retry_layer::{AttemptOutcome, Class, WaitReason};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

const HELP: &str = "\
Fetches URLs one after the other, and prints what happened on the way.

Usage: cargo run --example quickstart [-- URL...]

Without a URL it starts a flaky server of its own, and fetches from that.

Exit status: 0 if every URL was answered with a status below 400; 1 if any was answered with
another (as with `curl --fail`) or not at all; 2 if the options are wrong. Redirects are
followed.
";

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.iter().any(|it| it == "--help" || it == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    if let Some(option) = arguments.iter().find(|it| it.starts_with('-')) {
        eprint!("unknown option {option}\n\n{HELP}");
        return ExitCode::from(2);
    }
    let done = if arguments.is_empty() {
        fetch_from_a_flaky_server().await
    } else {
        fetch_all(&arguments).await
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            print_error(&*error);
            ExitCode::FAILURE
        }
    }
}

/// The client with its default settings.
async fn fetch_all(urls: &[String]) -> Result<bool, Failure> {
    let client = Client::new();
    let mut all_well = true;
    for url in urls {
        all_well &= fetch(&client, url).await;
        println!();
    }
    print_pool(client.stats());
    client.close().await;
    Ok(all_well)
}

/// The client with its own retry policy.
async fn fetch_from_a_flaky_server() -> Result<bool, Failure> {
    let server = flaky_server().await;
    // Three failures are to come. The low base for throttled waits lets the server's `Retry-After`
    // decide how long the second wait is: by default the random one may be longer.
    let policy = RetryPolicy::builder().max_attempts(4).backoff(
        Exponential::new(Duration::from_millis(100)).throttled_base(Duration::from_millis(100)),
    );
    let client = Client::builder().retry(policy).build()?;
    let well = fetch(&client, &format!("{}/motto", server.uri())).await;
    println!();
    print_pool(client.stats());
    client.close().await;
    Ok(well)
}

/// Answers 503, then 429, then hangs up, then answers.
async fn flaky_server() -> MockServer {
    let server = MockServer::start().await;
    let once = |reply| {
        Mock::given(path("/motto"))
            .respond_with(reply)
            .up_to_n_times(1)
    };
    once(ResponseTemplate::new(503)).mount(&server).await;
    once(ResponseTemplate::new(429).insert_header("retry-after", "1"))
        .mount(&server)
        .await;
    Mock::given(path("/motto"))
        .respond_with_err(|_: &wiremock::Request| io::Error::from(io::ErrorKind::ConnectionReset))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    once(ResponseTemplate::new(200).set_body_string("Patience is bitter, but its fruit is sweet."))
        .mount(&server)
        .await;
    server
}

/// Tells whether the answer is one that `curl --fail` would like.
async fn fetch(client: &Client, url: &str) -> bool {
    println!("GET {url}");
    let begun = Instant::now();
    let answer = client.get(url).fetch().await;
    let took = short(begun.elapsed());
    let response = match answer {
        Ok(response) => response,
        Err(error) => {
            if let Some(report) = error.retry_report() {
                print_timeline(report, &took);
            }
            print_error(&error);
            return false;
        }
    };
    print_timeline(&response.retry_report(), &took);
    print_body(&response);
    match response.error_for_status() {
        Ok(_) => true,
        Err(error) => {
            print_error(&error);
            false
        }
    }
}

fn print_timeline(report: &RetryReport, took: &str) {
    let last = report.attempts().len();
    for (number, attempt) in (1..).zip(report.attempts()) {
        let outcome = outcome(attempt.outcome());
        let next = match attempt.wait() {
            None if number < last => "led on to where it redirects".to_owned(),
            None => format!("stopped after {took}: {}", words(report.stop().as_str())),
            Some(wait) => match wait.reason() {
                WaitReason::TransparentRetry => "sent again at once".to_owned(),
                WaitReason::RetryAfter => {
                    format!("waited {}: Retry-After", short(wait.delay()))
                }
                reason => format!("waited {}: {}", short(wait.delay()), words(reason.as_str())),
            },
        };
        println!("  {number}  {outcome:<28}{next}");
    }
}

fn outcome(outcome: AttemptOutcome) -> String {
    match outcome {
        AttemptOutcome::Status(status) => status.to_string(),
        AttemptOutcome::Error(Class::NotSent) => "nothing sent".to_owned(),
        AttemptOutcome::Error(Class::Stale(_)) => "reused connection closed".to_owned(),
        AttemptOutcome::Error(Class::Ambiguous) => "sent, no whole answer".to_owned(),
        AttemptOutcome::Error(class) => format!("{} error", words(class.as_str())),
        other => other.to_string(),
    }
}

/// The names for logs and metrics have underscores.
fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn short(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.2} s", time.as_secs_f64())
    }
}

/// The first lines of a text; of anything else its size.
fn print_body(response: &Response<bytes::Bytes>) {
    const LINES: usize = 6;
    const COLUMNS: usize = 90;

    let size = response.body().len();
    let text = match std::str::from_utf8(response.body()) {
        Ok(text) if !text.contains('\0') => text.trim_end(),
        _ => return println!("\n     {size} bytes, not text"),
    };
    if text.is_empty() {
        return;
    }
    println!();
    for line in text.lines().take(LINES) {
        let line: String = line.chars().filter(|it| !it.is_control()).collect();
        match line.char_indices().nth(COLUMNS) {
            Some((end, _)) => println!("     {}…", line.get(..end).unwrap_or_default()),
            None => println!("     {line}"),
        }
    }
    if text.lines().nth(LINES).is_some() {
        println!("     … ({size} bytes in all)");
    }
}

fn print_error(error: &(dyn Error + 'static)) {
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  caused by: {error}");
        cause = error.source();
    }
}

fn print_pool(stats: Stats) {
    println!(
        "connections: {} opened, {} times reused, {} closed; {} open now, {} of them idle",
        stats.opened,
        stats.reused,
        stats.closed.total(),
        stats.open,
        stats.idle
    );
}
