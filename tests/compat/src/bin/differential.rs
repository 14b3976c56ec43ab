//! Sends the same requests by this project's client, by reqwest and by curl, and compares the answers.
//!
//! `tests/real-peers/differential` starts the servers and runs this; the arguments are the origins of httpbin, of
//! nginx and of a server with TLS and HTTP/2, and the file of the authority that signed the latter's certificate.
//!
//! Equal must be the status, the body as its reader gets it, the version of HTTP, and the headers of [`COMPARED`].
//! Each difference is printed. One that is not in the list of [`explanation`] fails the run.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    error::Error,
    fmt,
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request,
    header::{ACCEPT, USER_AGENT},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::{fs, process::Command};

type Failure = Box<dyn Error + Send + Sync>;

/// Of the others most are decided by the server alone, or for the connection.
const COMPARED: [&str; 14] = [
    "accept-ranges",
    "allow",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
    "location",
    "retry-after",
    "set-cookie",
    "www-authenticate",
    "x-a",
];

/// Why a client differs from ours in this part of an answer; `None` if nobody knows.
fn explanation(client: &str, case: &Case, difference: &Difference) -> Option<&'static str> {
    let all_start = |start: &str| difference.parts.iter().all(|it| it.starts_with(start));
    let redirected = case.path.contains("redirect");
    match (client, difference.name.as_str()) {
        ("reqwest", "body") if redirected && all_start("\"Referer\"") => {
            Some("reqwest adds a Referer when it follows a redirect; curl and we do not tell")
        }
        ("curl", "body") if redirected && all_start("\"Content-Type\"") => {
            Some("curl sends what --header says at each hop, also where the body is gone")
        }
        ("reqwest", "body") if case.body.is_none() && all_start("\"Content-Length\": \"0\"") => {
            Some(
                "a POST without a body: reqwest announces no length, curl and we do (RFC 9110, section 8.6)",
            )
        }
        ("curl", "content-encoding" | "content-length") if ENCODED.contains(&case.path) => Some(
            "curl shows the headers as they came; reqwest and we drop those of the encoded body",
        ),
        (_, "content-length") if case.method == Method::HEAD && case.server == "bin" => Some(
            "the body that is not sent would tell the Accept-Encoding, which each writes in its own way",
        ),
        (_, "etag") if case.path == "/cache" => Some("httpbin makes a new one for each request"),
        _ => None,
    }
}

const ENCODED: [&str; 3] = ["/gzip", "/deflate", "/encoded"];

/// In what two answers differ.
struct Difference {
    name: String,
    ours: String,
    theirs: String,
    /// The lines that only one of both has.
    parts: Vec<String>,
}

/// One request. The first word says to whom: `bin`, `nginx` or `tls`.
struct Case {
    server: &'static str,
    method: Method,
    path: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Option<&'static str>,
}

impl Case {
    /// Reads a line of `differential.cases`.
    fn read(line: &'static str) -> Result<Self, Failure> {
        let (head, body) = match line.split_once(" < ") {
            Some((head, body)) => (head, Some(body)),
            None => (line, None),
        };
        let mut words = head.split(' ');
        let mut word = || words.next().ok_or("a case has three words");
        let (server, method, path) = (word()?, word()?.parse()?, word()?);
        let headers = words.filter_map(|it| it.split_once('='));
        let headers = headers
            .map(|(name, value)| (name, value.replace('+', " ")))
            .collect();
        Ok(Self {
            server,
            method,
            path,
            headers,
            body,
        })
    }

    fn url(&self, origins: &BTreeMap<&str, String>) -> String {
        let origin = origins.get(self.server).map_or("", String::as_str);
        format!("{origin}{}", self.path)
    }

    fn request(&self, url: &str) -> Result<Request<Bytes>, Failure> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(url)
            .header(USER_AGENT, "differential")
            .header(ACCEPT, "*/*");
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        Ok(request.body(Bytes::from(self.body.unwrap_or_default()))?)
    }
}

/// What came of a request, as far as it is compared: each part by its name.
type Answer = BTreeMap<String, String>;

fn answer(status: impl fmt::Display, version: &str, headers: &HeaderMap, body: &[u8]) -> Answer {
    let mut answer = Answer::new();
    answer.insert("status".to_owned(), status.to_string());
    answer.insert("version".to_owned(), version.to_owned());
    // What a client offers is its own matter, and httpbin tells of it.
    let text = String::from_utf8_lossy(body);
    let lines = text
        .lines()
        .filter(|line| !line.contains("\"Accept-Encoding\""));
    answer.insert("body".to_owned(), lines.collect::<Vec<_>>().join("\n"));
    let echoes = text.contains("\"Accept-Encoding\"");
    for name in COMPARED {
        if echoes && name == "content-length" {
            continue;
        }
        let values: Vec<_> = headers
            .get_all(name)
            .iter()
            .map(|it| it.to_str().unwrap_or("?"))
            .collect();
        if !values.is_empty() {
            answer.insert(name.to_owned(), values.join(", "));
        }
    }
    answer
}

/// That there is no answer is compared, and not in which words it is told.
fn failed() -> Answer {
    Answer::from([("status".to_owned(), "failed".to_owned())])
}

async fn by_us(client: &client::Client, case: &Case, url: &str) -> Result<Answer, Failure> {
    // The others send a request once.
    let request = client.request_from(case.request(url)?.map(http_body_util::Full::new));
    Ok(match request.no_retry().fetch().await {
        Ok(it) => answer(
            it.status().as_u16(),
            &format!("{:?}", it.version()),
            it.headers(),
            it.body(),
        ),
        Err(_) => failed(),
    })
}

async fn by_reqwest(client: &reqwest::Client, case: &Case, url: &str) -> Result<Answer, Failure> {
    let Ok(response) = client.execute(case.request(url)?.try_into()?).await else {
        return Ok(failed());
    };
    let (status, version) = (
        response.status().as_u16(),
        format!("{:?}", response.version()),
    );
    let headers = response.headers().clone();
    let body = response.bytes().await;
    Ok(body.map_or_else(
        |_| failed(),
        |body| answer(status, &version, &headers, &body),
    ))
}

async fn by_curl(authority: &Path, case: &Case, url: &str) -> Result<Answer, Failure> {
    let state = authority
        .parent()
        .ok_or("the authority is in a directory")?;
    let (head, body) = (state.join("curl.head"), state.join("curl.body"));
    for file in [&head, &body] {
        fs::write(file, "").await?;
    }
    let mut command = Command::new("curl");
    command
        .args([
            "--silent",
            "--location",
            "--max-redirs",
            "10",
            "--compressed",
            "--noproxy",
            "*",
        ])
        .args(["--user-agent", "differential", "--max-time", "30"])
        .arg("--cacert")
        .arg(authority)
        .arg("--dump-header")
        .arg(&head)
        .arg("--output")
        .arg(&body);
    for (name, value) in &case.headers {
        command.args(["--header", &format!("{name}: {value}")]);
    }
    match (&case.method, case.body) {
        (&Method::HEAD, _) => {
            command.arg("--head");
        }
        // With `--request` it would stay a POST at every redirect.
        (&Method::POST, body) => {
            command.args(["--data-raw", body.unwrap_or_default()]);
        }
        (method, body) => {
            if method != Method::GET {
                command.args(["--request", method.as_str()]);
            }
            if let Some(body) = body {
                command.args(["--data-raw", body]);
            }
        }
    }
    if !command.arg(url).status().await?.success() {
        return Ok(failed());
    }
    // One head for each hop; the last is the answer's.
    let heads = fs::read_to_string(&head).await?;
    let last = heads
        .trim_end()
        .rsplit("\r\n\r\n")
        .next()
        .unwrap_or_default();
    let (first, fields) = last.split_once("\r\n").unwrap_or((last, ""));
    let mut first = first.split(' ');
    let version = match first.next() {
        Some("HTTP/2") => "HTTP/2.0".to_owned(),
        other => other.unwrap_or_default().to_owned(),
    };
    let status = first.next().unwrap_or_default();
    let mut headers = HeaderMap::new();
    for (name, value) in fields.lines().filter_map(|it| it.split_once(':')) {
        headers.append(name.parse::<http::HeaderName>()?, value.trim().parse()?);
    }
    // A HEAD's "body" is its head, to curl.
    let body = if case.method == Method::HEAD {
        Vec::new()
    } else {
        fs::read(&body).await?
    };
    Ok(answer(status, &version, &headers, &body))
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [bin, nginx, tls, authority] = arguments.as_slice() else {
        return Err("usage: differential HTTPBIN NGINX TLS AUTHORITY".into());
    };
    let origins = BTreeMap::from([
        ("bin", bin.clone()),
        ("nginx", nginx.clone()),
        ("tls", tls.clone()),
    ]);
    let authority = Path::new(authority);
    let mut config = trusting(authority)?;
    let ours = client::Client::builder()
        .tls_config(config.clone())
        .build()?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let reqwest = reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .no_proxy()
        .build()?;

    let (mut cases, mut failures, mut explained, mut unexplained) = (0, 0, 0, 0);
    for line in include_str!("differential.cases")
        .lines()
        .filter(|it| !it.is_empty() && !it.starts_with('#'))
    {
        let case = Case::read(line)?;
        let url = case.url(&origins);
        cases += 1;
        let ours_answered = by_us(&ours, &case, &url).await?;
        failures += u32::from(ours_answered == failed());
        let others = [
            ("reqwest", by_reqwest(&reqwest, &case, &url).await?),
            ("curl", by_curl(authority, &case, &url).await?),
        ];
        for (client, theirs) in others {
            for difference in differences(&ours_answered, &theirs) {
                let Difference {
                    name, ours, theirs, ..
                } = &difference;
                println!("{line}\n  {name}: ours {ours:?}, {client} {theirs:?}");
                if let Some(why) = explanation(client, &case, &difference) {
                    println!("  {why}");
                    explained += 1;
                } else {
                    println!("  UNEXPLAINED");
                    unexplained += 1;
                }
            }
        }
    }
    println!("\n{cases} requests by 3 clients, {failures} not answered");
    println!("differences: {explained} explained, {unexplained} not");
    ours.close().await;
    Ok(if unexplained == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn differences(ours: &Answer, theirs: &Answer) -> Vec<Difference> {
    let names: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let differing = names
        .into_iter()
        .filter(|name| ours.get(*name) != theirs.get(*name));
    differing
        .map(|name| {
            let (ours, theirs) = (ours.get(name), theirs.get(name));
            let (ours, theirs) = (only_in(ours, theirs), only_in(theirs, ours));
            let shown = |parts: &[String]| parts.join(" | ").chars().take(200).collect();
            Difference {
                name: name.clone(),
                ours: shown(&ours),
                theirs: shown(&theirs),
                parts: [ours, theirs].concat(),
            }
        })
        .collect()
}

/// The lines that the other has not; of JSON without the comma that depends on what follows.
fn only_in(one: Option<&String>, other: Option<&String>) -> Vec<String> {
    fn lines(text: Option<&String>) -> impl Iterator<Item = &str> {
        let lines = text.map(|it| it.lines()).into_iter().flatten();
        lines.map(|line| line.trim().trim_end_matches(','))
    }
    let other: BTreeSet<_> = lines(other).collect();
    let only = lines(one).filter(|it| !other.contains(it));
    only.map(str::to_owned).collect()
}

fn trusting(authority: &Path) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
