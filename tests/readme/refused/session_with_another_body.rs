// A session has one type of request body.
//~ expected `Full<Bytes>`, found `Empty<Bytes>`

use bytes::Bytes;
use http::Request;
use http_body_util::{Empty, Full};
use session_layer::{Connector, Session};
use tower::Service;

fn main() {
    let mut session: Session<Full<Bytes>> = Session::new(Connector::new());
    let _ = session.call(Request::new(Empty::<Bytes>::new()));
}
