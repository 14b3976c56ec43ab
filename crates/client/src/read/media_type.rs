use http::HeaderValue;

pub(super) const EVENT_STREAM: &str = "text/event-stream";

/// Whether this `Content-Type` is that of a stream of events.
pub(crate) fn is_event_stream(content_type: &HeaderValue) -> bool {
    let essence = content_type.as_bytes().split(|byte| *byte == b';').next();
    essence.is_some_and(|it| {
        it.trim_ascii()
            .eq_ignore_ascii_case(EVENT_STREAM.as_bytes())
    })
}
