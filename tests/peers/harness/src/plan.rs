use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, COOKIE},
};

use crate::{Payload, Protocol};

/// What requests have that bring headers of their own.
const HEADERS: [HeaderName; 4] = [ACCEPT, AUTHORIZATION, CACHE_CONTROL, COOKIE];

/// What one run does, from the arguments of a peer's binary: `VARIANT h1|h2 PORT NAME=VALUE...`.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which of the binary's clients.
    pub variant: String,
    /// How it speaks.
    pub protocol: Protocol,
    port: u16,
    path: String,
    /// How many addresses of the one server are asked in turn: `hosts`, 1 unless given.
    pub hosts: usize,
    /// How many requests go first, unmeasured, when each host has been asked once: `warm`, 0
    /// unless given.
    pub warm: usize,
    /// How many requests are measured: `requests`, 0 unless given.
    pub requests: usize,
    /// How many requests are under way at the same time: `workers`, 1 unless given.
    pub workers: usize,
    /// How many streams a connection of HTTP/2 carries before another is opened, where the client has such a
    /// setting: `streams`, its default unless given.
    pub streams: Option<usize>,
    /// How many bytes each request sends: `upload`, 0 unless given.
    pub upload: usize,
    /// How many of them one frame has, if they are sent as a stream: `frame`, 0 unless given.
    pub frame: usize,
    /// How many headers of its own each request has, 4 at most: `headers`, 0 unless given.
    pub headers: usize,
    /// Into how many slices of so many `requests` each the measured phase is cut, to tell the time
    /// of the processor that one takes: `slices`, 0 unless given.
    pub slices: usize,
    /// Whether the measured requests are the first that the hosts get: `cold`, 0 unless given.
    pub cold: bool,
}

impl Plan {
    /// Reads the arguments.
    ///
    /// # Panics
    ///
    /// If they cannot be understood.
    #[must_use]
    pub fn of(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut next = || arguments.next().expect("VARIANT h1|h2 PORT NAME=VALUE...");
        let variant = next();
        let protocol = match next().as_str() {
            "h1" => Protocol::Http1,
            "h2" => Protocol::Http2,
            other => panic!("unknown protocol {other}"),
        };
        let mut plan = Self {
            variant,
            protocol,
            port: next().parse().expect("the port is a number"),
            path: "/".to_owned(),
            hosts: 1,
            warm: 0,
            requests: 0,
            workers: 1,
            streams: None,
            upload: 0,
            frame: 0,
            headers: 0,
            slices: 0,
            cold: false,
        };
        for argument in arguments {
            let (name, value) = argument.split_once('=').expect("NAME=VALUE");
            let number = || value.parse().expect("the value is a number");
            match name {
                "path" => value.clone_into(&mut plan.path),
                "hosts" => plan.hosts = number(),
                "warm" => plan.warm = number(),
                "requests" => plan.requests = number(),
                "workers" => plan.workers = number(),
                "streams" => plan.streams = Some(number()),
                "upload" => plan.upload = number(),
                "frame" => plan.frame = number(),
                "headers" => plan.headers = number(),
                "slices" => plan.slices = number(),
                "cold" => plan.cold = number() > 0,
                _ => panic!("unknown setting {name}"),
            }
        }
        plan
    }

    /// The port of the server.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What is sent each time: what sends something is a PUT, which may be tried again.
    pub(crate) fn request(&self) -> Request<Payload> {
        let bytes = Bytes::from(vec![b'u'; self.upload]);
        let mut request = Request::new(match self.frame {
            0 => Payload::bytes(bytes),
            frame => Payload::stream(bytes, frame),
        });
        if self.upload > 0 {
            *request.method_mut() = Method::PUT;
        }
        let value = HeaderValue::from_static("value");
        for name in HEADERS.into_iter().take(self.headers) {
            request.headers_mut().insert(name, value.clone());
        }
        request
    }

    /// The URL of each host.
    pub(crate) fn uris(&self) -> impl Iterator<Item = Uri> {
        (0..self.hosts).map(|host| {
            // 127.0.0.1 is left for what is no part of the measurement.
            let address = format!(
                "127.{}.{}.{}",
                host / 62_500,
                host / 250 % 250,
                host % 250 + 2
            );
            let uri = format!("http://{address}:{}{}", self.port, self.path);
            uri.parse().expect("it is a URL")
        })
    }
}
