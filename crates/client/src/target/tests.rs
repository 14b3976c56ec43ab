use super::*;

fn uri(text: &str, base: Option<&str>) -> String {
    let base = base.map(|base| Base::new(base).unwrap());
    resolve(text, base.as_ref()).unwrap().uri.to_string()
}

#[test]
fn a_plain_url_is_what_the_url_parser_makes_of_it() {
    for text in [
        "http://a/",
        "http://a",
        "https://a.b:81/x/y?q=1&r=%20",
        "https://[::1]:80/",
        "http://[2001:db8::1:0:0:1]/",
        "http://a?x=1",
        "http://a?",
        "http://127.0.0.1:8123/ping",
        "http://255.255.255.255/",
        "http://1.2.3.4.example/",
        "http://a-1.b2:65535/[x]//y",
        "http://a./",
        "http://a_b&c/%zz",
        "http://a/x..y",
    ] {
        assert!(is_plain(text), "{text}");
        let fast = resolve(text, None).unwrap().uri;
        let slow = from_url(&Url::parse(text).unwrap()).unwrap().uri;
        assert_eq!(fast, slow, "{text}");
    }
}

#[test]
fn a_url_without_a_scheme_is_told_what_to_begin_with_and_its_path_is_not() {
    let message = |text: &str| resolve(text, None).unwrap_err().to_string();
    for text in [
        "localhost:8123/secret",
        "localhost:8123?secret",
        "localhost:8123",
    ] {
        let right = "the URL has no scheme: let it begin with http://localhost:8123/";
        assert_eq!(message(text), right, "{text}");
    }
    let right = "the URL has no scheme: let it begin with http://127.0.0.1:8123/";
    assert_eq!(message("127.0.0.1:8123/secret"), right);
    // It is not certain that these are hosts.
    assert!(message("orders/7").contains("is relative"));
    assert!(message("ftp://localhost/").contains("not ftp"));
    assert!(!message("user:secret@localhost").contains("secret"));
}

#[test]
fn a_host_or_port_that_the_url_parser_may_write_otherwise_is_not_plain() {
    for text in [
        "http://",
        "http:///a",
        "http://?x",
        "http://:80/",
        "http://./",
        "http://.a/",
        "http://a../",
        "http://A/",
        "http://a%62/",
        "http://256.1.1.1/",
        "http://1.2.3.4.5/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://a.0x7f/",
        "http://127.0.0.01/",
        "http://127.0.0.1./",
        "http://xn--a/",
        "http://a.xn--b.c/",
        "http://[0:0::1]/",
        "http://[::ffff:1.2.3.4]/",
        "http://[1.2.3.4]/",
        "http://[::1]x/",
        "http://[::1/",
        "http://a]/",
        "http://a[b]/",
        "http://a:/",
        "http://a:0/",
        "http://a:080/",
        "http://a:80/",
        "https://a:443/",
        "http://a:65536/",
        "http://a:+1/",
        "http://a:81:81/",
        "http://[::1]:/",
    ] {
        assert!(!is_plain(text), "{text}");
    }
}

#[test]
fn what_needs_care_gets_it() {
    assert_eq!(
        uri("http://bücher.example/ä b", None),
        "http://xn--bcher-kva.example/%C3%A4%20b"
    );
    assert_eq!(
        uri("HTTP://Example.COM/a/../b", None),
        "http://example.com/b"
    );
    assert_eq!(uri("http://a/#fragment", None), "http://a/");
}

#[test]
fn a_relative_url_is_joined_to_the_base() {
    let base = Some("http://a/v2/");
    assert_eq!(uri("orders?x=1", base), "http://a/v2/orders?x=1");
    assert_eq!(uri("/orders", base), "http://a/orders");
    assert_eq!(uri("?x=1", base), "http://a/v2/?x=1");
    assert_eq!(uri("http://b/", base), "http://b/");
    let base = Base::new("http://a/v2/").unwrap();
    let target = resolve_uri(Uri::from_static("/orders"), Some(&base)).unwrap();
    assert_eq!(target.uri, "http://a/orders");
}

#[test]
fn userinfo_leaves_the_uri() {
    for target in [
        resolve("http://us%40er:pa%3Ass%E9@a/x", None).unwrap(),
        resolve_uri("http://us%40er:pa%3Ass%E9@a/x".parse().unwrap(), None).unwrap(),
    ] {
        assert_eq!(target.uri, "http://a/x");
        let credentials = target.credentials.unwrap();
        assert_eq!(credentials.user, b"us@er");
        assert_eq!(credentials.password, b"pa:ss\xe9");
    }
}

#[test]
fn what_cannot_be_sent_is_refused_in_words() {
    for (text, words) in [
        ("orders", "relative"),
        ("/orders", "relative"),
        ("ftp://a/", "not ftp"),
        ("file:///etc/passwd", "not file"),
        ("http://", "not valid"),
        ("http://a:99999/", "not valid"),
        ("http://a b/", "not valid"),
        ("", "relative"),
    ] {
        let error = resolve(text, None).unwrap_err();
        assert!(error.is_builder(), "{text}");
        assert!(error.to_string().contains(words), "{text}: {error}");
    }
}

#[test]
fn a_sign_before_the_port_is_refused_however_the_url_is_given() {
    for text in [
        "http://a:+80/",
        "http://a:+8080/x",
        "https://[::1]:+443/",
        "http://u:p@a:+80/",
    ] {
        let uri: Uri = text.parse().unwrap();
        assert!(!is_sendable(&uri), "{text}");
        for refused in [resolve(text, None), resolve_uri(uri, None)] {
            let error = refused.unwrap_err();
            assert!(error.is_builder(), "{text}");
            assert!(
                error.to_string().contains("invalid port"),
                "{text}: {error}"
            );
        }
    }
    let plus = resolve_uri(Uri::from_static("http://a+b:80/"), None).unwrap();
    assert_eq!(plus.uri, "http://a+b:80/");
}
