//! What is taken from the environment: each case in a process of its own, since the environment
//! belongs to all tests of this one.

use std::{env, process::Stdio};

use client::{ClientBuilder, ClientConfig};
use test_suite::test_path;
use test_support::{Server, always, proxy};
use tokio::process::Command;

/// Set in the process that a test starts: what the response of the client must be.
const EXPECTED: &str = "CLIENT_CONFIG_EXPECTED";

const URL: &str = "http://origin.test/path";

/// Runs one test of this program again, with these variables and none of the proxies that are set
/// already.
async fn run_again(test: &str, expected: &str, variables: &[(&str, &str)]) {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", &test_path(module_path!(), test), "--nocapture"])
        .env(EXPECTED, expected)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.env_remove("REQUEST_METHOD");
    command.envs(variables.iter().copied());
    let output = command.output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{variables:?}: {told}");
    // A name that no test has would run nothing, and succeed.
    assert!(told.contains("1 passed"), "{told}");
}

async fn fetched() -> String {
    let config: ClientConfig = toml::from_str("proxy = 'env'").unwrap();
    let client = ClientBuilder::from_config(config).unwrap().build().unwrap();
    let url = env::var("CLIENT_CONFIG_URL").unwrap_or_else(|_| URL.to_owned());
    client.get(url).fetch().await.unwrap().text().unwrap()
}

#[tokio::test]
async fn proxy_env_goes_through_what_the_environment_names() {
    if let Ok(expected) = env::var(EXPECTED) {
        return assert_eq!(fetched().await, expected);
    }
    let origin = Server::start(always(200, "the origin")).await;
    let through = Server::start(proxy::http(origin.addr(), None)).await;
    let test = "proxy_env_goes_through_what_the_environment_names";
    let (proxy, url) = (through.origin(), origin.url("/"));
    // An HTTP proxy answers with what it was asked for.
    run_again(test, URL, &[("HTTP_PROXY", &proxy)]).await;
    run_again(test, URL, &[("http_proxy", &proxy)]).await;
    run_again(test, URL, &[("ALL_PROXY", &proxy)]).await;
    assert_eq!(through.log().requests.len(), 3);
    for exempt in [
        &[("HTTP_PROXY", &*proxy), ("NO_PROXY", "127.0.0.1")][..],
        // Where a CGI program may have been told by its client.
        &[("HTTP_PROXY", &proxy), ("REQUEST_METHOD", "GET")],
        &[],
    ] {
        let direct = [exempt, &[("CLIENT_CONFIG_URL", &*url)]].concat();
        run_again(test, "the origin", &direct).await;
    }
    assert_eq!(through.log().requests.len(), 3);
    assert_eq!(origin.log().requests.len(), 3);
}

#[tokio::test]
async fn proxy_env_refuses_what_is_no_proxy() {
    if env::var(EXPECTED).is_ok() {
        let config: ClientConfig = toml::from_str("proxy = 'env'").unwrap();
        let error = ClientBuilder::from_config(config).map(drop).unwrap_err();
        assert!(error.is_builder(), "{error}");
        return assert!(format!("{error:#}").contains("HTTP_PROXY"), "{error:#}");
    }
    let test = "proxy_env_refuses_what_is_no_proxy";
    run_again(test, "", &[("HTTP_PROXY", "ftp://proxy.test")]).await;
}
