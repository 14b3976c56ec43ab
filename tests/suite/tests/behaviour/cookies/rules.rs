//! Cookies on the wire: what a server may set, who gets it back, and what is seen of it elsewhere.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header::SET_COOKIE};
use http_body_util::Full;
use proptest::{collection::vec, prelude::*};
use retry_layer::{RetryLayer, RetryPolicy};
use session_layer::{
    PoolConfig, SessionLayer, Timeouts,
    cookies::{CookieLayer, Cookies, Jar, PublicSuffixes, Save},
};
use test_suite::{BytesSession, TemporaryFolder, get, in_memory, session};
use test_support::{MemoryConnector, Reply, Server, StrictService, always, answer, sequence};
use tower::{Layer, ServiceBuilder, ServiceExt};

const LIST: &str = "// ===BEGIN ICANN DOMAINS===\nuk\nco.uk\n";

fn with_cookies(connector: &MemoryConnector, jar: &Jar) -> Cookies<BytesSession> {
    let session = in_memory(PoolConfig::default(), Timeouts::default(), connector);
    CookieLayer::new(jar.clone()).layer(session)
}

async fn fetch(service: &Cookies<BytesSession>, request: Request<Full<Bytes>>) -> StatusCode {
    let response = service.clone().oneshot(request).await;
    response.expect("the peer answers").status()
}

/// Lets a response from one URL set a cookie; returns the `Cookie` header of a request to another.
async fn sent_after(set_cookie: &str, from: &str, to: &str) -> Option<String> {
    let jar = Jar::with_public_suffixes(LIST.parse().expect("the test's list is valid"));
    let setting = Reply::status(200).header("set-cookie", set_cookie);
    let connector = MemoryConnector::new(sequence([setting, Reply::status(200)]));
    let service = with_cookies(&connector, &jar);
    fetch(&service, get(from)).await;
    fetch(&service, get(to)).await;
    let log = connector.log();
    let second = log.requests.last().expect("two requests came");
    let cookie = second.headers.get("cookie");
    cookie.map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned())
}

/// The same host, by plain HTTP.
async fn is_kept(set_cookie: &str) -> bool {
    let url = "http://www.peer.test/a/b";
    sent_after(set_cookie, url, url).await.is_some()
}

#[tokio::test(start_paused = true)]
async fn a_cookie_comes_back_to_its_host_and_to_no_other() {
    let from = "http://www.peer.test/";
    for (to, sent) in [
        ("http://www.peer.test/any/path", true),
        ("https://www.peer.test:8443/", true),
        ("http://peer.test/", false),
        ("http://sub.www.peer.test/", false),
        ("http://www.peer.test.evil.test/", false),
    ] {
        let cookie = sent_after("id=1", from, to).await;
        assert_eq!(cookie.as_deref(), sent.then_some("id=1"), "{to}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_domain_cookie_comes_back_to_all_hosts_below() {
    let from = "http://www.peer.test/";
    for (to, sent) in [
        ("http://peer.test/", true),
        ("http://a.b.peer.test/", true),
        ("http://otherpeer.test/", false),
    ] {
        let cookie = sent_after("id=1; Domain=peer.test", from, to).await;
        assert_eq!(cookie.is_some(), sent, "{to}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_path_cookie_comes_back_to_what_is_below() {
    let from = "http://peer.test/shop/cart";
    for (line, to, sent) in [
        ("id=1", "http://peer.test/shop/pay", true),
        ("id=1", "http://peer.test/shopping", false),
        ("id=1; Path=/", "http://peer.test/shopping", true),
        ("id=1; Path=relative", "http://peer.test/shop", true),
    ] {
        let cookie = sent_after(line, from, to).await;
        assert_eq!(cookie.is_some(), sent, "{line} to {to}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_deletes_however_it_is_written() {
    let url = "http://www.peer.test/";
    for attributes in [
        "Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "Expires=Thu, 1 Jan 1970 0:0:0 GMT",
        "Expires=Thursday, 01-January-1970 00:00:00 UTC",
        "Expires=thu, 01 jan 1970 00:00:00 gmt",
        "Expires=Thu, 01 Jan 1970 00:00:00",
        "Expires=Thu, 01 Jan 1970 00:00:00 -0800",
        "Expires=Thu Jan 01 1970 00:00:00 GMT+0000 (Coordinated Universal Time)",
        "Expires=Mon, 01-Jan-0001 00:00:00 GMT",
        "Expires=\"Thu, 01 Jan 1970 00:00:00 GMT\"",
        "Expires=1 Jan 2100 0:00:00; Expires=1 Jan 1970 0:00:00",
        "Max-Age=; Max-Age=0",
        "Max-Age=60; Max-Age=0",
        "Max-Age=0; Max-Age=",
        "Path=/elsewhere; Path=; Max-Age=0",
        "Path=/elsewhere; Path; Max-Age=0",
        "Domain=peer.test; Domain=; Max-Age=0",
        "Comment=\u{e9}; Max-Age=0",
    ] {
        let jar = Jar::new();
        let deletion = Reply::status(200).header("set-cookie", format!("id=; {attributes}"));
        let connector = MemoryConnector::new(sequence([
            Reply::status(200).header("set-cookie", "id=1"),
            deletion,
            Reply::status(200),
        ]));
        let service = with_cookies(&connector, &jar);
        for _ in 0..3 {
            fetch(&service, get(url)).await;
        }
        let log = connector.log();
        let sent: Vec<_> = log.requests.iter().map(|it| it.header("cookie")).collect();
        assert_eq!(sent, [None, Some("id=1"), None], "{attributes}");
        assert!(jar.is_empty(), "{attributes}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_domain_counts_without_its_blanks_and_an_empty_one_takes_it_back() {
    let from = "http://www.peer.test/";
    for (line, on_all_hosts) in [
        ("id=1; Domain= peer.test ", true),
        ("id=1; Domain\t=\t.peer.test\t", true),
        ("id=1; Domain=other.test; Domain=peer.test", true),
        ("id=1; Domain=peer.test; Domain=", false),
        ("id=1; Domain=peer.test; Domain= ", false),
        ("id=1; Domain=other.test; Domain", false),
    ] {
        assert!(sent_after(line, from, from).await.is_some(), "{line}");
        let above = sent_after(line, from, "http://peer.test/").await;
        assert_eq!(above.is_some(), on_all_hosts, "{line}");
    }
    for line in [
        "id=1; Domain=peer. test",
        "id=1; Domain=peer.test; Domain=other.test",
    ] {
        assert_eq!(sent_after(line, from, from).await, None, "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cookie_for_another_domain_is_refused() {
    for domain in [
        "other.test",
        "sub.www.peer.test",
        "test",
        ".test",
        "er.test",
    ] {
        assert!(
            !is_kept(&format!("id=1; Domain={domain}")).await,
            "{domain}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_cookie_for_a_public_suffix_is_refused() {
    let from = "http://www.peer.co.uk/";
    for domain in ["co.uk", "Co.Uk", ".co.uk", "co.uk.", "uk"] {
        let line = format!("id=1; Domain={domain}");
        assert_eq!(sent_after(&line, from, from).await, None, "{domain}");
    }
    let line = "id=1; Domain=peer.co.uk";
    assert!(sent_after(line, from, from).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_cookie_of_an_address_is_for_that_address() {
    let from = "http://10.1.2.3/";
    for (line, to, sent) in [
        ("id=1", from, true),
        ("id=1; Domain=10.1.2.3", from, true),
        ("id=1; Domain=1.2.3", from, false),
        ("id=1; Domain=10.1.2.3", "http://9.10.1.2.3/", false),
    ] {
        let cookie = sent_after(line, from, to).await;
        assert_eq!(cookie.is_some(), sent, "{line} to {to}");
    }
    let v6 = "http://[2001:db8::1]:8080/";
    assert!(sent_after("id=1", v6, v6).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_secure_cookie_is_set_and_sent_by_tls_only() {
    let (plain, tls) = ("http://peer.test/", "https://peer.test/");
    let line = "id=1; Secure";
    assert!(sent_after(line, tls, tls).await.is_some());
    assert_eq!(sent_after(line, tls, plain).await, None);
    assert_eq!(sent_after(line, plain, tls).await, None);
    let local = "http://127.0.0.1/";
    assert!(sent_after(line, local, local).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn plain_http_does_not_overwrite_a_secure_cookie() {
    let jar = Jar::new();
    let tls = "https://peer.test/".parse().unwrap();
    jar.insert("id=safe; Secure", &tls).unwrap();
    let setting = Reply::status(200).header("set-cookie", "id=forged");
    let service = with_cookies(&MemoryConnector::new(sequence([setting])), &jar);
    fetch(&service, get("http://peer.test/")).await;
    assert_eq!(jar.get(&tls, "id").as_deref(), Some("safe"));
}

#[tokio::test(start_paused = true)]
async fn a_promising_name_needs_what_it_promises() {
    let tls = "https://peer.test/";
    for (line, kept) in [
        ("__Host-id=1; Secure; Path=/", true),
        ("__Host-id=1; Secure; Path=/; Domain=peer.test", false),
        ("__Host-id=1; Path=/", false),
        ("__Secure-id=1; Secure", true),
        ("__secure-id=1", false),
    ] {
        assert_eq!(sent_after(line, tls, tls).await.is_some(), kept, "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_refused_and_what_is_no_date_ends_with_the_session() {
    assert!(is_kept(&format!("id={}", "x".repeat(4000))).await);
    assert!(!is_kept(&format!("id={}", "x".repeat(5000))).await);
    assert!(!is_kept(&format!("id=1; Path=/{}", "x".repeat(9000))).await);
    assert!(is_kept("id=1; Expires=Wed, 99 Feb 2099 99:99:99 GMT").await);
    assert!(is_kept("id=1; Max-Age=100000000000000000000").await);
    assert!(!is_kept("id=1; Max-Age=-100000000000000000000").await);
    assert!(!is_kept("id=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT").await);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_text_are_left_out_and_text_comes_back_as_it_was() {
    let url = "http://peer.test/";
    let text = sent_after("id=café", url, url).await;
    assert_eq!(text.as_deref(), Some("id=café"));
    let raw = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nset-cookie: a=\xff\xfe\r\nset-cookie: b=1\r\n\r\n";
    let jar = Jar::new();
    let connector = MemoryConnector::new(sequence([Reply::raw(&raw[..]), Reply::status(200)]));
    let service = with_cookies(&connector, &jar);
    fetch(&service, get("http://peer.test/")).await;
    fetch(&service, get("http://peer.test/")).await;
    assert_eq!(connector.log().requests[1].header("cookie"), Some("b=1"));
}

#[tokio::test(start_paused = true)]
async fn ninety_cookies_of_ten_hosts_stay_within_fifty_each() {
    let connector = MemoryConnector::new(|mut connection: test_support::Connection| async move {
        let lines: Vec<String> = (0..90).map(|number| format!("n{number}=1")).collect();
        let headers: Vec<(&str, &str)> = lines.iter().map(|line| ("set-cookie", &**line)).collect();
        while connection.read_request().await.is_some() {
            connection.respond_with(200, &headers, "").await;
        }
    });
    let jar = Jar::new();
    let service = with_cookies(&connector, &jar);
    for host in 0..10 {
        fetch(&service, get(&format!("http://host{host}.test/"))).await;
    }
    assert_eq!(jar.len(), 500);
}

#[tokio::test(start_paused = true)]
async fn the_header_is_not_filled_beyond_eight_kilobytes() {
    let jar = Jar::new();
    let uri = "http://peer.test/".parse().unwrap();
    for name in ["a", "b", "c"] {
        jar.insert(&format!("{name}={}", "x".repeat(4000)), &uri)
            .unwrap();
    }
    jar.insert("small=1", &uri).unwrap();
    let header = jar.header(&uri).unwrap();
    let header = header.to_str().unwrap();
    assert!(header.len() < 8192);
    assert!(header.starts_with("a=x") && header.ends_with("; small=1"));
    assert!(!header.contains("c="));
}

#[tokio::test(start_paused = true)]
async fn cookies_of_an_error_status_are_kept_and_the_retry_carries_them() {
    let connector = MemoryConnector::new(sequence([
        Reply::status(503).header("set-cookie", "turn=1"),
        Reply::status(503).header("set-cookie", "turn=2"),
        Reply::status(200),
    ]));
    let jar = Jar::new();
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(RetryPolicy::default()))
        .layer(CookieLayer::new(jar))
        .layer(SessionLayer::default())
        .service(connector.clone());
    let mut request = get("http://peer.test/");
    let own = HeaderValue::from_static("own=1");
    request.headers_mut().insert("cookie", own);
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let log = connector.log();
    let sent: Vec<_> = log.requests.iter().map(|it| it.header("cookie")).collect();
    // Rotated, and never added up.
    let expected = ["own=1", "own=1; turn=1", "own=1; turn=2"];
    assert_eq!(sent, expected.map(Some));
}

#[tokio::test]
async fn two_jars_on_one_pool_stay_apart() {
    let server = Server::start(answer(|request| {
        let reply = Reply::status(200);
        match request.path().strip_prefix("/login/") {
            Some(name) => reply.header("set-cookie", format!("user={name}; Path=/")),
            None => reply,
        }
    }))
    .await;
    let session = session(PoolConfig::default());
    let alice = Cookies::new(session.clone(), Jar::new());
    let bob = Cookies::new(session.clone(), Jar::new());
    let nobody = Cookies::new(session.clone(), Jar::new());
    for (who, path) in [
        (&alice, "/login/alice"),
        (&bob, "/login/bob"),
        (&alice, "/"),
        (&bob, "/"),
        (&nobody, "/"),
    ] {
        fetch(who, get(&server.url(path))).await;
    }
    let log = server.log();
    let sent: Vec<_> = log.requests.iter().map(|it| it.header("cookie")).collect();
    let expected = [None, None, Some("user=alice"), Some("user=bob"), None];
    assert_eq!(sent, expected);
    assert_eq!(log.accepted, 1);
}

#[tokio::test(start_paused = true)]
async fn a_requests_own_cookies_win_by_name_and_are_not_kept() {
    let connector = MemoryConnector::new(always(200, ""));
    let jar = Jar::new();
    let uri = "http://peer.test/".parse().unwrap();
    jar.insert("a=jar", &uri).unwrap();
    jar.insert("b=jar", &uri).unwrap();
    let service = with_cookies(&connector, &jar);
    for (own, sent) in [
        (&["a=own"][..], &["a=own; b=jar"][..]),
        (&["a=own; c=own", "d=own"], &["a=own; c=own; d=own; b=jar"]),
        (&["a=own", "b=own"], &["a=own", "b=own"]),
        (&[" A=own; "], &["A=own;; a=jar; b=jar"]),
        (&[], &["a=jar; b=jar"]),
    ] {
        let mut request = get("http://peer.test/");
        for own in own {
            request.headers_mut().append("cookie", own.parse().unwrap());
        }
        fetch(&service, request).await;
        let log = connector.log();
        let headers = log.requests.last().unwrap().headers.get_all("cookie");
        let headers: Vec<_> = headers.iter().map(|it| it.to_str().unwrap()).collect();
        assert_eq!(headers, sent, "{own:?}");
    }
    assert_eq!(jar.len(), 2);
}

#[tokio::test]
async fn the_header_is_sensitive_and_the_service_is_called_once_ready() {
    let seen = Arc::new(Mutex::new(None));
    let inner = tower::service_fn({
        let seen = seen.clone();
        move |request: Request<()>| {
            let cookie = request.headers().get("cookie").cloned();
            *seen.lock().expect("nobody panics") = cookie;
            async { Ok::<_, io::Error>(http::Response::new(())) }
        }
    });
    let jar = Jar::new();
    let uri: Uri = "http://peer.test/".parse().unwrap();
    jar.insert("a=1", &uri).unwrap();
    let service = Cookies::new(StrictService::new(inner), jar.clone());
    let request = Request::get(uri.clone()).body(()).unwrap();
    service.oneshot(request).await.unwrap();
    assert!(seen.lock().unwrap().as_ref().unwrap().is_sensitive());
    assert!(jar.header(&uri).unwrap().is_sensitive());
}

#[test]
fn what_is_saved_is_loaded_with_all_that_it_was() {
    let jar = Jar::new();
    let uri = "https://www.peer.test/a/b".parse().unwrap();
    jar.insert("host=1; Expires=Wed, 01 Jan 2098 00:00:00 GMT", &uri)
        .unwrap();
    jar.insert(
        "wide=\"2\"; Domain=peer.test; Path=/; Expires=Wed, 01 Jan 2098 00:00:00 GMT; Secure",
        &uri,
    )
    .unwrap();
    jar.insert("session=3", &uri).unwrap();
    for (which, expected) in [(Save::All, 3), (Save::Persistent, 2)] {
        let mut saved = Vec::new();
        jar.save(&mut saved, which).unwrap();
        let loaded = Jar::new();
        loaded.load(&saved[..]).unwrap();
        assert_eq!(loaded.len(), expected);
        let what = |jar: &Jar| -> Vec<String> {
            let cookies = jar.cookies().into_iter();
            cookies.map(|it| format!("{it:?} {}", it.value())).collect()
        };
        assert_eq!(what(&loaded), what(&jar)[..expected]);
        let below = "https://sub.www.peer.test/a".parse().unwrap();
        assert_eq!(loaded.header(&below).unwrap(), "wide=\"2\"");
    }
}

#[test]
fn a_jar_loads_no_suffix_cookie_nor_what_is_no_jar_and_tells_no_secret() {
    let jar = Jar::new();
    let uri = "http://peer.co.uk/".parse().unwrap();
    jar.insert("id=1; Domain=co.uk", &uri).unwrap();
    let mut saved = Vec::new();
    jar.save(&mut saved, Save::All).unwrap();
    let strict = Jar::with_public_suffixes(LIST.parse::<PublicSuffixes>().unwrap());
    strict.load(&saved[..]).unwrap();
    assert!(strict.is_empty());

    for broken in ["", "{}", "[{\"raw_cookie\":\"canary\"}]", "[\"canary\"]"] {
        let error = jar.load(broken.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{broken}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }
    assert_eq!(jar.len(), 1);
}

#[test]
fn a_file_is_whole_and_its_owners_alone() {
    let directory = std::env::temp_dir().join(format!("cookies-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("jar.json");
    let jar = Jar::new();
    let error = jar.load_from_file(&path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    let uri = "http://peer.test/".parse().unwrap();
    for value in ["1", "2"] {
        jar.insert(&format!("id={value}"), &uri).unwrap();
        jar.save_to_file(&path, Save::All).unwrap();
    }
    let loaded = Jar::new();
    loaded.load_from_file(&path).unwrap();
    assert_eq!(loaded.get(&uri, "id").as_deref(), Some("2"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    jar.save_to_file(&directory, Save::All).unwrap_err();
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
    let beside = directory.parent().unwrap();
    let name = directory.file_name().unwrap().to_str().unwrap();
    let left = std::fs::read_dir(beside).unwrap().filter_map(Result::ok);
    assert_eq!(
        left.filter(|it| it.file_name().to_string_lossy().starts_with(name))
            .count(),
        1
    );
    std::fs::remove_dir_all(&directory).unwrap();
}

/// Saves a cookie there, and reads it from there where that can be.
#[cfg(unix)]
fn save_and_load(path: &std::path::Path) -> io::Result<()> {
    let uri = "http://peer.test/".parse().unwrap();
    let jar = Jar::new();
    jar.insert("id=1", &uri).unwrap();
    jar.save_to_file(path, Save::All)?;
    let loaded = Jar::new();
    loaded.load_from_file(path)?;
    assert_eq!(loaded.get(&uri, "id").as_deref(), Some("1"));
    Ok(())
}

#[cfg(unix)]
#[test]
fn a_file_of_cookies_that_is_replaced_leaves_its_mode_to_the_new_one() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

    let folder = TemporaryFolder::new();
    for mode in [0o600, 0o640, 0o644, 0o400] {
        let file = folder.file("jar");
        std::fs::write(&file, "old").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        // Only root may, and then both are kept.
        let given_away = chown(&file, Some(12_345), Some(54_321)).is_ok();
        save_and_load(&file).unwrap();
        let found = std::fs::metadata(&file).unwrap();
        assert_eq!(found.mode() & 0o7777, mode);
        if given_away {
            assert_eq!((found.uid(), found.gid()), (12_345, 54_321));
        }
        std::fs::remove_file(&file).unwrap();
    }
    assert_eq!(folder.names(), [] as [&str; 0]);
}

#[cfg(unix)]
#[test]
fn cookies_are_saved_where_symbolic_links_lead_and_those_stay() {
    use std::os::unix::fs::symlink;

    let folder = TemporaryFolder::new();
    std::fs::create_dir(folder.file("data")).unwrap();
    std::fs::write(folder.file("data/old"), "old").unwrap();
    symlink("data/old", folder.file("first")).unwrap();
    symlink(folder.file("first"), folder.file("second")).unwrap();
    symlink("data/missing", folder.file("third")).unwrap();
    symlink("loop", folder.file("loop")).unwrap();
    for (link, target) in [
        ("first", "data/old"),
        ("second", "data/old"),
        ("third", "data/missing"),
    ] {
        std::fs::write(folder.file("data/old"), "old").unwrap();
        save_and_load(&folder.file(link)).unwrap();
        let written = std::fs::read(folder.file(target)).unwrap();
        assert!(written.starts_with(b"["), "{link}");
        assert!(folder.file(link).is_symlink(), "{link}");
    }
    save_and_load(&folder.file("loop")).unwrap_err();
    let names = ["data", "first", "loop", "second", "third"];
    assert_eq!(folder.names(), names, "and no part is left");
}

#[cfg(unix)]
#[test]
fn cookies_take_the_place_of_regular_files_alone() {
    use std::os::unix::{
        fs::{FileTypeExt, symlink},
        net::UnixListener,
    };

    let folder = TemporaryFolder::new();
    let _socket = UnixListener::bind(folder.file("socket")).unwrap();
    std::fs::create_dir(folder.file("folder")).unwrap();
    for name in ["socket", "folder"] {
        let error = save_and_load(&folder.file(name)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("no regular file"), "{error}");
    }
    // A file that this process has open: to replace it would leave the writer with the old one.
    let open = std::fs::File::create(folder.file("open")).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&open);
    if cfg!(target_os = "linux") {
        let error = save_and_load(format!("/dev/fd/{number}").as_ref()).unwrap_err();
        assert!(error.to_string().contains("has open"), "{error}");
    }
    // What is written to it is forgotten; it is reached by a link, so that a wrong answer replaces
    // no more than that.
    symlink("/dev/null", folder.file("null")).unwrap();
    Jar::new()
        .save_to_file(folder.file("null"), Save::All)
        .unwrap();
    let null = std::fs::metadata(folder.file("null")).unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!(folder.names(), ["folder", "null", "open", "socket"]);
}

#[cfg(unix)]
#[test]
fn a_file_of_cookies_may_have_a_name_as_long_as_the_file_system_allows() {
    let folder = TemporaryFolder::new();
    for name in ["x".repeat(255), "ä".repeat(127)] {
        for _ in 0..2 {
            save_and_load(&folder.file(&name)).unwrap();
            assert_eq!(folder.names(), [&*name]);
        }
        std::fs::remove_file(folder.file(&name)).unwrap();
    }
}

#[test]
fn what_a_jar_has_can_be_seen_and_removed() {
    let jar = Jar::new();
    let uri: Uri = "https://peer.test/".parse().unwrap();
    jar.insert("a=1; Secure", &uri).unwrap();
    jar.insert("b=2; Domain=peer.test; Path=/deep; Max-Age=60", &uri)
        .unwrap();
    let cookies = jar.cookies();
    let [a, b] = &cookies[..] else {
        panic!("two were kept")
    };
    assert!(a.is_secure() && a.is_host_only() && a.expires().is_none());
    assert!(!b.is_secure() && !b.is_host_only() && b.expires().is_some());
    assert_eq!(
        (b.name(), b.value(), b.domain(), b.path()),
        ("b", "2", "peer.test", "/deep")
    );
    jar.remove(b.domain(), b.path(), b.name());
    assert_eq!((jar.len(), jar.get(&uri, "a").as_deref()), (1, Some("1")));
    jar.clone().clear();
    assert!(jar.is_empty() && jar.header(&uri).is_none());
    let relative = "/only/a/path".parse().unwrap();
    jar.insert("a=1", &relative).unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_jar_may_be_used_by_many_at_once() {
    let jar = Jar::new();
    let uri: Uri = "http://peer.test/".parse().unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (jar, uri) = (jar.clone(), uri.clone());
            tokio::spawn(async move {
                for turn in 0..200 {
                    jar.insert(&format!("t{task}={turn}"), &uri)
                        .expect("it is valid");
                    let own = jar.get(&uri, &format!("t{task}"));
                    assert_eq!(own, Some(turn.to_string()));
                    jar.header(&uri).expect("one's own is there");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(jar.len(), 8);
}

/// `Set-Cookie` values that are nearly right, so that more than the first check is passed.
fn nearly_right() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        prop::sample::select(vec![
            "id=1",
            "=",
            ";",
            "Domain=",
            "Path=/",
            "Max-Age=",
            "Expires=",
            "Secure",
            "__Host-",
            ".",
            "peer.test",
            "www.",
            "test",
            "127.0.0.1",
            "[::1]",
            "xn--",
            "9999999999999999999",
            "-",
            "Thu, 01 Jan 1970 00:00:00 GMT",
            "é",
            "\t",
            "\"",
            "%00",
            "\u{3002}",
            "\u{ff0e}",
            " ",
        ])
        .prop_map(|part| part.as_bytes().to_vec()),
        vec(any::<u8>(), 0..6),
    ];
    vec(part, 0..14).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn no_set_cookie_causes_a_panic_or_is_for_another_than_its_sender(
        lines in vec(nearly_right(), 1..4),
        host in prop::sample::select(vec![
            "www.peer.test", "peer.test", "test", "localhost", "127.0.0.1", "[::1]", "peer.test.",
            "xn--bcher-kva.test", "WWW.PEER.TEST",
        ]),
        secure: bool,
    ) {
        let jar = Jar::new();
        let scheme = if secure { "https" } else { "http" };
        let uri: Uri = format!("{scheme}://{host}/a/b").parse().expect("it is a URI");
        let mut headers = HeaderMap::new();
        for line in &lines {
            if let Ok(line) = HeaderValue::from_bytes(line) {
                headers.append(SET_COOKIE, line);
            }
            if let Ok(line) = std::str::from_utf8(line) {
                let _ = jar.insert(line, &uri);
            }
        }
        jar.store(&headers, &uri);
        let _ = jar.header(&uri);
        let host = host.to_ascii_lowercase();
        for cookie in jar.cookies() {
            let domain = cookie.domain();
            let is_above = host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
            prop_assert!(domain == host || is_above && domain.contains('.'), "{cookie:?}");
            prop_assert!(domain == host || !host.ends_with(char::is_numeric), "{cookie:?}");
            prop_assert!(domain == host || !domain.split('.').any(str::is_empty), "{cookie:?}");
        }
        let elsewhere = "https://evil.example/".parse().expect("it is a URI");
        prop_assert!(jar.header(&elsewhere).is_none());

        // Whatever was kept survives being saved.
        let mut saved = Vec::new();
        jar.save(&mut saved, Save::All).expect("a vector takes it");
        let loaded = Jar::new();
        loaded.load(&saved[..]).expect("it was saved so");
        prop_assert_eq!(loaded.header(&uri), jar.header(&uri));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_keeps_nothing() {
    let late = Reply::status(200)
        .header("set-cookie", "id=1")
        .delay(Duration::from_secs(5));
    let connector = MemoryConnector::new(sequence([late]));
    let jar = Jar::new();
    let service = with_cookies(&connector, &jar);
    let call = service.oneshot(get("http://peer.test/"));
    let cut = tokio::time::timeout(Duration::from_secs(1), call).await;
    assert!(cut.is_err() && jar.is_empty());
}
