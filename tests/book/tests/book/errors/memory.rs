//! Over streams in memory, on a paused clock: whatever waits.

use std::{collections::BTreeSet, convert::Infallible, io, time::Duration};

use bytes::Bytes;
use client::{
    Body, Client, ClientBuilder, Error, PoolConfig, Resolver, RetryPolicy, SAVED_FLOOR, Token,
    budget::FixedBudget,
    http::header::LOCATION,
    retry_layer::{breaker::Breaker, pause::Pause},
    testing::{Answer, Failure, Fake},
    token_fn,
};
use session_layer::Connector;
use test_support::{Connection, MemoryConnector, Reply, always, http2, sequence};
use tower::service_fn;

use super::{HOST, line};

const URL: &str = "http://api.example.com/orders/7";

pub(super) async fn errors() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    lines.extend(connecting().await);
    lines.extend(pool().await);
    lines.extend(heads().await);
    lines.extend(bodies().await);
    lines.extend(deadlines().await);
    lines.extend(redirects().await);
    lines.extend(multiplexed().await);
    lines.extend(answers().await);
    lines.extend(settings().await);
    lines.extend(held_back().await);
    lines
}

fn over(connector: &MemoryConnector) -> Client {
    with(Client::builder(), connector)
}

fn with(builder: ClientBuilder, connector: &MemoryConnector) -> Client {
    builder.build_with_connector(connector.clone()).unwrap()
}

fn replying(replies: impl IntoIterator<Item = Reply>) -> MemoryConnector {
    MemoryConnector::new(sequence(replies))
}

async fn get(client: &Client) -> Result<client::Response<Bytes>, Error> {
    client.get(URL).fetch().await
}

async fn post(client: &Client) -> Result<client::Response<Bytes>, Error> {
    client.post(URL).body("tea").fetch().await
}

async fn connecting() -> Vec<String> {
    let hanging = MemoryConnector::new(always(200, ""));
    hanging.hang();

    let resolving = |resolver: Resolver| {
        let connector = Connector::new().resolver(resolver);
        Client::builder().connector(connector).build().unwrap()
    };
    let unknown = Resolver::over(service_fn(async |_| {
        let why = "failed to lookup address information: Name or service not known";
        Err::<Vec<std::net::SocketAddr>, _>(io::Error::other(why))
    }));
    let silent = Resolver::over(service_fn(async |_| {
        std::future::pending::<Result<Vec<std::net::SocketAddr>, Infallible>>().await
    }));
    let guarded = Resolver::new()
        .override_host(HOST, [std::net::Ipv4Addr::LOCALHOST])
        .public_only();
    vec![
        line(get(&over(&hanging)).await),
        line(get(&resolving(unknown)).await),
        line(get(&resolving(silent)).await),
        line(get(&resolving(guarded)).await),
    ]
}

async fn pool() -> Vec<String> {
    // The only connection is away with a body that nobody reads.
    let occupied = async |pool: PoolConfig| {
        let connector = MemoryConnector::new(|mut connection: Connection| async move {
            connection.read_request().await;
            connection
                .write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
                .await;
            connection.stall_until_closed().await;
        });
        let client = with(Client::builder().pool(pool), &connector);
        let kept = client.get(URL).send().await.unwrap();
        let line = line(get(&client).await);
        drop(kept);
        line
    };
    let one = || PoolConfig::default().max_connections_per_origin(1);
    vec![occupied(one()).await, occupied(one().max_waiting(0)).await]
}

async fn heads() -> Vec<String> {
    let closing = |connection: Connection| async move {
        let mut connection = connection;
        connection.read_request().await;
        connection.close().await;
    };
    let once = |mut connection: Connection| async move {
        connection.read_request().await;
        connection.respond(200, "").await;
        connection.read_request().await;
        connection.close().await;
    };
    let stale = over(&MemoryConnector::new(once));
    get(&stale).await.unwrap();
    // At once, before the connection has been idle for too long.
    let stale = line(post(&stale).await);
    let greeting = |mut connection: Connection| async move {
        connection.write("220 mail.example.com ESMTP\r\n").await;
        connection.read_bytes().await;
    };
    vec![
        line(get(&over(&replying([Reply::stall()]))).await),
        line(post(&over(&replying([Reply::stall()]))).await),
        line(get(&over(&MemoryConnector::new(closing))).await),
        line(post(&over(&MemoryConnector::new(closing))).await),
        stale,
        line(get(&over(&MemoryConnector::new(greeting))).await),
        line(get(&over(&replying([Reply::raw("SSH-2.0-OpenSSH_9.6\r\n")]))).await),
        line(
            get(&over(&replying([Reply::raw(
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nno",
            )])))
            .await,
        ),
        line(
            get(&over(&replying([(0..101)
                .fold(Reply::status(200), |reply, number| {
                    reply.header(format!("x-{number}"), "1")
                })])))
            .await,
        ),
    ]
}

async fn bodies() -> Vec<String> {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
    let stalling = move |mut connection: Connection| async move {
        connection.read_request().await;
        connection.write(head).await;
        connection.stall_until_closed().await;
    };
    let trickling = |mut connection: Connection| async move {
        connection.read_request().await;
        connection
            .write("HTTP/1.1 200 OK\r\ncontent-length: 7000\r\n\r\n")
            .await;
        connection
            .drip(vec![b'x'; 7000], 7, Duration::from_secs(1))
            .await;
    };
    let trickling = over(&MemoryConnector::new(trickling));
    let trickling = trickling.get(URL).download_floor(SAVED_FLOOR);
    let corrupt = Fake::from_fn(|_| {
        let answer = Answer::new(200).header("content-encoding", "gzip");
        answer.body("this is no gzip")
    });
    let large = Client::builder().max_body(1024);
    let large = large.build_with_fake(&Fake::new([Answer::new(200).body(vec![0; 1025])]));
    let tagged = |tag: &str| {
        let answer = Answer::new(200).header("etag", tag);
        answer.header("content-length", "9")
    };
    let changed = [
        tagged("\"v1\"").body("half").breaks_off(),
        tagged("\"v2\"").body("something"),
    ];
    let saved = async |client: &Client, path: &str| -> Result<u64, Error> {
        client.get(URL).send().await?.save_to(path).await
    };
    let stream = async |client: &Client| -> Result<Bytes, Error> {
        client.get(URL).send().await?.bytes().await
    };
    vec![
        line(get(&over(&replying(vec![Reply::truncated_body(9, "half"); 3]))).await),
        line(stream(&over(&replying([Reply::truncated_body(9, "half")]))).await),
        line(get(&over(&MemoryConnector::new(stalling))).await),
        line(trickling.fetch().await),
        line(get(&corrupt.client()).await),
        line(get(&large.unwrap()).await),
        line(saved(&Client::fake(changed), "/dev/null").await),
        line(saved(&Client::fake(["rows"]), "/no-such-folder/report.csv").await),
    ]
}

async fn deadlines() -> Vec<String> {
    let second = Duration::from_secs(1);
    let limited = |seconds: u32| Client::builder().deadline(seconds * second);
    let silent = || replying([Reply::stall()]);
    let hanging = MemoryConnector::new(always(200, ""));
    hanging.hang();
    let body = |mut connection: Connection| async move {
        connection.read_request().await;
        connection
            .write("HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n")
            .await;
        connection
            .drip("tea".repeat(333), 1, Duration::from_secs(1))
            .await;
    };
    let (mut sender, unfinished) = http_body_util::channel::Channel::<Bytes, Infallible>::new(1);
    sender.send_data(Bytes::from(vec![0; 4096])).await.unwrap();
    let uploading = with(limited(20), &silent());
    let upload = uploading.post(URL).body(Body::new(unfinished));
    vec![
        line(upload.fetch().await),
        line(get(&with(limited(20), &silent())).await),
        line(get(&with(limited(45), &silent())).await),
        line(get(&with(limited(5), &hanging)).await),
        line(get(&with(limited(20), &MemoryConnector::new(body))).await),
        line(
            Client::fake([200])
                .get(URL)
                .timeout(Duration::ZERO)
                .fetch()
                .await,
        ),
    ]
}

async fn redirects() -> Vec<String> {
    let to = |url: &str| Answer::new(302).header(LOCATION, url);
    let around = Fake::from_fn(move |_| to(URL));
    let down = Fake::new([to("http://api.example.com/plain")]);
    let elsewhere = Fake::new([to("ftp://api.example.com/")]);
    vec![
        line(get(&around.client()).await),
        line(down.client().get("https://api.example.com/").fetch().await),
        line(
            elsewhere
                .client()
                .get("https://api.example.com/")
                .fetch()
                .await,
        ),
    ]
}

async fn multiplexed() -> Vec<String> {
    let over = |peer: http2::Peer| {
        let http2 = client::Http2::default().prior_knowledge(true);
        let builder = Client::builder().http2(http2);
        builder.build_with_connector(peer.connector()).unwrap()
    };
    let builder = h2::server::Builder::new;
    let refusing = http2::Peer::new(builder(), |stream: http2::Stream| async { stream.refuse() });
    let resetting = http2::Peer::new(builder(), |stream: http2::Stream| async {
        stream.reset(h2::Reason::INTERNAL_ERROR);
    });
    vec![
        line(get(&over(refusing)).await),
        line(post(&over(resetting)).await),
    ]
}

async fn answers() -> Vec<String> {
    #[derive(Debug, serde::Deserialize)]
    struct Order {
        #[allow(dead_code, reason = "only read")]
        items: Vec<u32>,
    }
    let json = async |answer: Answer| {
        let response = Client::fake([answer]).get(URL).fetch().await.unwrap();
        line(response.json::<Order>())
    };
    let login = Answer::new(200)
        .header("content-type", "text/html")
        .body("<html>Please sign in</html>");
    let other = Answer::new(200)
        .header("content-type", "application/json")
        .body(r#"{"items": [1, "two"]}"#);
    let failed = Client::fake([Answer::new(404)]).get(URL).fetch().await;
    let keyless = Client::builder()
        .auth(token_fn(async || {
            Err::<Token, _>("the vault is sealed".into())
        }))
        .build_with_fake(&Fake::new([200]))
        .unwrap();
    let spent = RetryPolicy::builder().budget(FixedBudget::new(1, 100).unwrap());
    let spent = Client::builder().retry(spent);
    let spent = spent
        .build_with_fake(&Fake::from_fn(|_| Failure::Broken))
        .unwrap();
    let _ = get(&spent).await;
    let closed = over(&MemoryConnector::new(always(200, "")));
    closed.close().await;
    let long = Client::fake([Answer::new(200).body("x".repeat(2_000_000))]);
    let mut lines = long.get(URL).send().await.unwrap().lines();
    vec![
        json(login).await,
        json(other).await,
        line(failed.unwrap().error_for_status()),
        line(get(&keyless).await),
        line(get(&spent).await),
        line(get(&closed).await),
        line(lines.next().await.unwrap()),
    ]
}

/// What a circuit breaker or a pause refuses.
async fn held_back() -> Vec<String> {
    let failing = Client::builder()
        .breaker(Breaker::builder())
        .build_with_fake(&Fake::new([503; 7]))
        .unwrap();
    for _ in 0..7 {
        post(&failing).await.unwrap();
    }
    let throttled = Client::builder()
        .pause(Pause::builder())
        .build_with_fake(&Fake::new([Answer::new(429).header("retry-after", "90")]))
        .unwrap();
    post(&throttled).await.unwrap();
    vec![
        without_random_time(&line(get(&failing).await), "open for "),
        without_random_time(&line(get(&throttled).await), "another "),
    ]
}

/// The line with a time left out that has a random part.
fn without_random_time(line: &str, before: &str) -> String {
    let (start, rest) = line.split_once(before).unwrap();
    let rest = rest
        .split_once(',')
        .map_or(String::new(), |(_, rest)| format!(",{rest}"));
    format!("{start}{before}…{rest}")
}

async fn settings() -> Vec<String> {
    let client = Client::fake([200]);
    vec![
        line(client.get("/orders").fetch().await),
        line(client.get("localhost:8123/ping").fetch().await),
        line(client.get(URL).header("x-note", "two\nlines").fetch().await),
        line(Client::builder().base_url("localhost:8123")),
        line(
            Client::builder()
                .retry(RetryPolicy::builder().max_attempts(0))
                .build(),
        ),
        line(
            Client::builder()
                .pool(PoolConfig::default().max_connections(0))
                .build(),
        ),
        line(
            Client::builder()
                .https_only(true)
                .build()
                .unwrap()
                .get(URL)
                .fetch()
                .await,
        ),
    ]
}
