//! Cases about a body that breaks, and is continued or not.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use retry_layer::{
    Backoff, RetryPolicy,
    resume::{Resume, ResumeBodyError},
};
use serde_json::Value;
use tower::ServiceExt;

use super::case::CaseValue;
use crate::support::script::{Answer, Server, answer};

/// The body of the first answer breaks behind what was received; the second is the server's answer to the request for the rest.
pub(super) async fn resume(input: &Value, expect: &Value) {
    let first = scripted(&input["first"], &input["received"]).breaks();
    let second = match &input["second"] {
        Value::Null => answer(404),
        second => scripted(second, &second["body"]),
    };
    let server = Server::new(vec![first, second]);
    let no_wait = Backoff::fixed(Duration::ZERO);
    let policy = RetryPolicy::builder().backoff(no_wait).build().unwrap();
    let method: Method = input["method"].as_str().unwrap_or("GET").parse().unwrap();
    let request = Request::builder().method(method).uri("http://peer/");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let service = Resume::new(server.clone(), policy);
    let (head, mut body) = service.oneshot(request.clone()).await.unwrap().into_parts();
    let is_resumable = body.is_resumable();
    let mut received = Vec::new();
    let mut error = None;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => received.extend_from_slice(&frame.into_data().unwrap()),
            Err(broken) => error = Some(broken),
        }
    }

    let asked = server.asked();
    if expect["resume"] == false {
        assert_eq!(asked.len(), 1);
    }
    if let Some(reason) = expect["reason"].as_str() {
        assert!(!is_resumable);
        let checked = Resume::new(server, RetryPolicy::default()).check_head(&request, &head);
        assert_eq!(checked.unwrap_err().as_str(), reason);
        assert!(matches!(error, Some(ResumeBodyError::Inner(_))));
    } else if let Some(kind) = expect["error"].as_str() {
        let error = error.unwrap();
        assert_eq!(error.resume_error().unwrap().kind().as_str(), kind);
    } else if let Some(result) = expect["result"].as_str() {
        assert!(error.is_none());
        assert_eq!(received, result.as_bytes());
    } else {
        let header = |name| asked[1].header(name);
        assert_eq!(header("range"), expect["request_range"].as_str());
        assert_eq!(header("if-range"), expect["if_range"].as_str());
    }
}

fn scripted(head: &Value, body: &Value) -> Answer {
    let mut scripted = answer(head["status"].integer());
    for name in [
        "etag",
        "content_range",
        "content_type",
        "date",
        "last_modified",
    ] {
        if let Some(value) = head[name].as_str() {
            scripted = scripted.header(&name.replace('_', "-"), value);
        }
    }
    if let Some(length) = head["content_length"].optional_integer() {
        scripted = scripted.length(length);
    }
    scripted.data(body.as_str().unwrap_or_default().to_owned())
}
