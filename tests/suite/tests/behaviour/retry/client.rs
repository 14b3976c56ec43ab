//! How often a request is sent: transparent retries, policies of single requests and the client's budget; and
//! what a call was doing when its deadline passed.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use client::{
    Client, ClientBuilder, DeadlinePhase, Error, Exponential, PoolConfig, RequestBuilder, Resolver,
    RetryPolicy, RetryPolicyBuilder, StopReason, Timeouts, budget::FixedBudget,
};
use session_layer::{DnsError, dns::Name};
use test_support::{
    Connect, Connection, MemoryConnector, Reply, Request, Server, answer, sequence,
};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tower::service_fn;

const SECOND: Duration = Duration::from_secs(1);

fn with(connector: &MemoryConnector, policy: RetryPolicyBuilder) -> Client {
    Client::builder()
        .retry(policy)
        .build_with_connector(connector.clone())
        .expect("the settings are valid")
}

/// Answers the first request of each connection, and breaks the connection at the second, as a
/// server does that has closed it while it was idle.
fn closing() -> MemoryConnector {
    MemoryConnector::new(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        connection.respond(200, "first").await;
        let _ = connection.read_request().await;
        connection.reset();
    })
}

#[tokio::test(start_paused = true)]
async fn one_attempt_does_not_fail_for_a_connection_closed_while_idle() {
    let connector = closing();
    let client = with(&connector, RetryPolicy::builder().max_attempts(1));
    client.get("http://peer/").fetch().await.unwrap();
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.retry_report().transparent_retries(), 1);
    // A POST may have been executed.
    let error = client.post("http://peer/").fetch().await.unwrap_err();
    let report = error.retry_report().unwrap();
    assert_eq!(report.stop(), StopReason::NotIdempotent);
}

#[tokio::test(start_paused = true)]
async fn one_attempt_is_one_where_the_server_failed() {
    let connector = MemoryConnector::new(answer(|_| Reply::status(503)));
    let client = with(&connector, RetryPolicy::builder().max_attempts(1));
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(connector.log().requests.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_transparent_retries_or_retries_a_request_is_sent_once() {
    let once = RetryPolicy::builder()
        .max_attempts(1)
        .without_transparent_retries();
    let connector = closing();
    let client = with(&connector, once);
    client.get("http://peer/").fetch().await.unwrap();
    client.get("http://peer/").fetch().await.unwrap_err();

    let connector = closing();
    let client = with(&connector, RetryPolicy::builder());
    client.get("http://peer/").fetch().await.unwrap();
    let call = client.get("http://peer/").no_retry();
    call.fetch().await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn all_hops_of_a_redirect_together_have_one_free_transparent_retry() {
    // Each request is misdirected at first, and redirected when it comes again.
    let hop = Arc::new(AtomicUsize::new(0));
    let connector = MemoryConnector::new(answer(move |request: &Request| {
        let count = hop.fetch_add(1, Relaxed);
        if count % 2 == 0 {
            return Reply::status(421);
        }
        let host = if count % 4 == 1 { "other" } else { "peer" };
        let next = format!("http://{host}/{}x", request.path().trim_start_matches('/'));
        Reply::status(307).header("Location", next)
    }));
    let tokens = Arc::new(FixedBudget::new(3, 1).unwrap());
    let policy = RetryPolicy::builder().budget(Arc::clone(&tokens));
    let client = with(&connector, policy);
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.status(), 421);
    let report = response.retry_report();
    assert_eq!(report.stop(), StopReason::BudgetExhausted);
    assert_eq!(
        report.transparent_retries(),
        1 + 3,
        "one is free, the others cost a token"
    );
    assert_eq!(connector.log().requests.len(), 9);
}

/// How many requests a server gets that fails, from a hundred calls.
async fn sent_to_a_dead_server(own: Option<RetryPolicyBuilder>) -> usize {
    let connector = MemoryConnector::new(answer(|_| Reply::status(503)));
    let client = with(&connector, RetryPolicy::builder());
    for _ in 0..100 {
        let mut call = client.get("http://peer/");
        if let Some(own) = &own {
            call = call.retry(own.clone());
        }
        let response = call.fetch().await.expect("it is answered");
        assert_eq!(response.status(), 503);
    }
    connector.log().requests.len()
}

#[tokio::test(start_paused = true)]
async fn requests_with_policies_of_their_own_draw_from_the_clients_budget() {
    let as_the_client = sent_to_a_dead_server(None).await;
    let of_their_own = sent_to_a_dead_server(Some(RetryPolicy::builder())).await;
    assert!((105..=108).contains(&as_the_client), "{as_the_client}");
    assert!((105..=108).contains(&of_their_own), "{of_their_own}");
}

/// The error of a call whose deadline passes after three seconds, with the pool of the client held to
/// one connection.
async fn late(connector: &MemoryConnector, others: usize) -> Error {
    let client = Client::builder()
        .pool(PoolConfig::default().max_connections(1))
        .build_with_connector(connector.clone())
        .expect("the settings are valid");
    let others: Vec<_> = (0..others)
        .map(|_| tokio::spawn(client.get("http://peer/").send()))
        .collect();
    tokio::task::yield_now().await;
    let call = client.get("http://peer/").timeout(Duration::from_secs(3));
    let error = call.fetch().await.unwrap_err();
    others.iter().for_each(tokio::task::JoinHandle::abort);
    error
}

/// Answers the head of a response with a part of its body after a while, and then nothing.
fn half_answering(head: &'static str, after: Duration) -> MemoryConnector {
    MemoryConnector::new(move |mut connection: Connection| async move {
        let _ = connection.read_request().await;
        tokio::time::sleep(after).await;
        connection
            .write(format!("HTTP/1.1 {head}\r\ncontent-length: 9\r\n\r\nhalf"))
            .await;
        connection.stall_until_closed().await;
    })
}

const NO_ANSWER: &str = "GET http://peer:80: no answer within the deadline of 3s";

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passed_says_what_the_call_was_doing() {
    let stalling = || MemoryConnector::new(sequence([Reply::stall()]));
    let hanging = stalling();
    hanging.hang();
    let refused_once = stalling();
    refused_once.script([Connect::Refuse, Connect::Accept]);
    let refused_and_hanging = stalling();
    refused_and_hanging.script([Connect::Refuse, Connect::Hang]);
    let late_redirect = "302 Found\r\nlocation: /next";
    let cases = [
        (
            hanging,
            0,
            DeadlinePhase::Connect,
            ", while waiting for a connection to be set up (1 attempt; deadline_exceeded)",
        ),
        (
            stalling(),
            1,
            DeadlinePhase::Queue,
            ", while waiting in the queue for a connection (1 attempt; deadline_exceeded)",
        ),
        (
            stalling(),
            0,
            DeadlinePhase::Head,
            ", while waiting for the head (1 attempt; deadline_exceeded)",
        ),
        (
            refused_once,
            0,
            DeadlinePhase::Head,
            ", while waiting for the head of attempt 2 (2 attempts; deadline_exceeded)",
        ),
        (
            refused_and_hanging,
            0,
            DeadlinePhase::Connect,
            ", while waiting for a connection to be set up for attempt 2 (2 attempts; \
             deadline_exceeded)",
        ),
        (
            half_answering(late_redirect, Duration::from_millis(2_990)),
            0,
            DeadlinePhase::Redirect,
            ", while following a redirect (1 attempt)",
        ),
    ];
    for (connector, others, phase, text) in cases {
        let error = late(&connector, others).await;
        assert_eq!(error.deadline_phase(), Some(phase), "{error}");
        assert_eq!(error.to_string(), format!("{NO_ANSWER}{text}"));
        let records = error.retry_report().unwrap().attempts();
        let last = records.last().unwrap();
        if phase != DeadlinePhase::Redirect {
            assert_eq!(last.kind(), Some(client::ErrorKind::Deadline.into()));
            assert!(
                last.took()
                    .is_some_and(|took| took > Duration::from_secs(2))
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passed_in_a_body_says_so_and_keeps_the_response() {
    let error = late(&half_answering("200 OK", Duration::ZERO), 0).await;
    assert_eq!(error.deadline_phase(), Some(DeadlinePhase::Body), "{error}");
    assert_eq!(
        error.to_string(),
        "GET http://peer:80: the body had not ended at the deadline of 3s (1 attempt; \
         deadline_exceeded)"
    );
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passed_before_the_call_says_so() {
    let client = with(
        &MemoryConnector::new(answer(|_| Reply::status(200))),
        RetryPolicy::builder(),
    );
    let call = client.get("http://peer/").timeout(Duration::ZERO);
    let error = call.fetch().await.unwrap_err();
    assert_eq!(
        error.deadline_phase(),
        Some(DeadlinePhase::Start),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passed_while_a_token_was_fetched_says_so() {
    let connector = MemoryConnector::new(answer(|_| Reply::status(200)));
    let client = Client::builder()
        .base_url("http://peer/")
        .unwrap()
        .auth(client::token_fn(std::future::pending))
        .build_with_connector(connector)
        .unwrap();
    let error = client.get("/").timeout(SECOND).fetch().await.unwrap_err();
    assert_eq!(
        error.deadline_phase(),
        Some(DeadlinePhase::Token),
        "{error}"
    );
    assert!(
        error.to_string().contains(", while waiting for a token"),
        "{error}"
    );
}

/// The error of a call whose deadline passes as soon as it has `reached` what it then waits for.
async fn late_at(call: RequestBuilder, reached: impl Future<Output = ()>) -> Error {
    let call = tokio::spawn(call.timeout(100 * SECOND).no_retry().fetch());
    reached.await;
    // From here on the clock goes to the next timer, which is the deadline's.
    tokio::time::pause();
    call.await.unwrap().unwrap_err()
}

/// A client without any timeout but the deadline.
fn patient() -> ClientBuilder {
    let timeouts = Timeouts::default().connect(None).head(None).body_idle(None);
    Client::builder().timeouts(timeouts)
}

/// A listener whose peer has sent this many bytes, and hears nothing.
async fn silent(listener: &TcpListener, bytes: usize, kept: &mut Option<TcpStream>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut read = vec![0; bytes];
    stream.read_exact(&mut read).await.unwrap();
    *kept = Some(stream);
}

#[tokio::test]
async fn a_deadline_that_passed_while_a_connection_was_set_up_names_the_step() {
    let asked = Arc::new(Notify::new());
    let resolver = Resolver::over(service_fn({
        let asked = asked.clone();
        move |_: Name| {
            asked.notify_one();
            std::future::pending::<Result<Vec<SocketAddr>, DnsError>>()
        }
    }));
    let client = patient()
        .map_connector(|connector| connector.resolver(resolver))
        .build()
        .unwrap();
    let error = late_at(client.get("http://name.test/"), asked.notified()).await;
    assert_eq!(error.deadline_phase(), Some(DeadlinePhase::Dns), "{error}");
    assert!(
        error
            .to_string()
            .contains(", while waiting for the address of the host"),
        "{error}"
    );
}

#[tokio::test]
async fn a_deadline_that_passed_in_the_tls_handshake_or_at_a_proxy_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let proxy = || client::Proxy::all(&format!("http://{addr}")).unwrap();
    // A ClientHello and a CONNECT are longer than what the peer waits for.
    for (builder, url, phase, text) in [
        (
            patient(),
            format!("https://{addr}/"),
            DeadlinePhase::Tls,
            "the TLS handshake",
        ),
        (
            patient().proxy(proxy()),
            "https://origin.test/".to_owned(),
            DeadlinePhase::Proxy,
            "the proxy",
        ),
    ] {
        let client = builder.build().unwrap();
        let mut kept = None;
        let error = late_at(client.get(url), silent(&listener, 24, &mut kept)).await;
        tokio::time::resume();
        assert_eq!(error.deadline_phase(), Some(phase), "{error}");
        let text = format!(", while waiting for {text} (1 attempt; deadline_exceeded)");
        assert!(error.to_string().contains(&text), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_span_or_a_jar_hides_no_phase() {
    let client = Client::builder()
        .cookies(client::Jar::new())
        .record_metrics()
        .build_with_connector(MemoryConnector::new(sequence([Reply::stall()])))
        .unwrap();
    let error = client
        .get("http://peer/")
        .timeout(SECOND)
        .fetch()
        .await
        .unwrap_err();
    assert_eq!(error.deadline_phase(), Some(DeadlinePhase::Head), "{error}");
}

#[tokio::test]
async fn a_report_tells_the_connection_of_each_attempt_that_had_one() {
    let server = Server::start(sequence([
        Reply::status(200),
        Reply::status(503),
        Reply::truncated_body(9, "half"),
        Reply::status(200),
    ]))
    .await;
    let client = Client::builder()
        .retry(RetryPolicy::builder().backoff(Exponential::from(Duration::from_millis(1))))
        .build()
        .unwrap();
    let url = server.url("/");
    client.get(&url).fetch().await.unwrap();
    let response = client.get(&url).fetch().await.unwrap();

    let report = response.retry_report();
    let [refused, cut, answered] = report.attempts() else {
        panic!("{report}");
    };
    assert_eq!(answered.outcome().to_string(), "200");
    for record in [refused, cut] {
        assert_eq!(record.is_reused(), Some(true), "{report}");
        assert_eq!(record.address(), Some(server.addr()), "{report}");
        assert_eq!(record.version(), Some(http::Version::HTTP_11), "{report}");
    }
    assert_eq!(cut.kind(), Some(client::ErrorKind::Body.into()));
    assert_eq!(cut.other_requests(), Some(2), "{report}");
}
