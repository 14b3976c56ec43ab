//! The command line.

use std::{
    ffi::{OsStr, OsString},
    fmt::Display,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use client::{
    ThroughputFloor,
    http::{HeaderName, HeaderValue, header::RANGE},
};
use lexopt::{Arg, Parser, ValueExt as _};

use crate::transfer::{Target, Transfer};

pub(crate) const HELP: &str = "\
Downloads URLs to files named as they are, and goes on where a download broke.

Usage: fetch [OPTIONS] URL...

  -o, --output FILE        write to FILE, - is stdout; the first for URL 1
  -C, --continue-at -      go on from what an earlier run has left
      --sha256 HEX         check the file; the first for URL 1
  -H, --header 'A: B'      send this header; 'A:' leaves out what is sent anyway
      --retry NUM          retry NUM times (2)
      --retry-max-time S   begin no retry after this many seconds
      --retry-all-errors   retry after any error, also after a 404
      --connect-timeout S  give up connecting after S seconds (10)
  -m, --max-time S         give up a URL after S seconds
      --limit-rate RATE    bytes per second of each URL: 200K, 1.5M
  -Y, --speed-limit RATE   fail if slower than RATE for -y, --speed-time S (30)
      --parallel-max NUM   how many URLs at once (4)
  -x, --proxy URL          use this proxy, and not that of the environment
      --cacert FILE        trust the certificates in this PEM file alone
  -s, --silent             print errors alone
  -h, --help               print this

Exit status: 0 all done, 1 wrong digest, 2 usage, 5 no proxy of that name, 6 no
host of that name, 7 no connection, 18 broken off, 22 HTTP error, 23 no writing,
28 timeout, 33 cannot go on, 35 TLS, 60 not trusted, 130 Ctrl-C; else as curl's.
";

/// What is asked for.
pub(crate) enum Command {
    Help,
    Fetch(Box<Arguments>),
}

#[derive(Debug, Default)]
pub(crate) struct Arguments {
    urls: Vec<String>,
    outputs: Vec<OsString>,
    digests: Vec<String>,
    pub(crate) continues: bool,
    pub(crate) headers: Vec<Header>,
    pub(crate) retries: u32,
    pub(crate) retry_max_time: Option<Duration>,
    pub(crate) retry_all_errors: bool,
    pub(crate) connect_timeout: Option<Duration>,
    max_time: Option<Duration>,
    pub(crate) rate: Option<u64>,
    speed_limit: Option<u64>,
    speed_time: Option<Duration>,
    pub(crate) parallel: usize,
    pub(crate) proxy: Option<String>,
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) silent: bool,
}

/// A header of the command line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Header {
    Sent(HeaderName, HeaderValue),
    LeftOut(HeaderName),
}

impl Arguments {
    /// Reads a command line, the name of the program first.
    pub(crate) fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
        let mut parser = Parser::from_iter(line);
        Self::read(&mut parser).map_err(|error| error.to_string())
    }

    fn read(parser: &mut Parser) -> Result<Command, lexopt::Error> {
        let mut read = Self {
            retries: 2,
            parallel: 4,
            ..Self::default()
        };
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
                Arg::Short('o') | Arg::Long("output") => read.outputs.push(parser.value()?),
                Arg::Short('C') | Arg::Long("continue-at" | "continue") => {
                    read.continues = true;
                    skip_dash(parser)?;
                }
                Arg::Long("sha256") => {
                    read.digests.push(parser.value()?.parse_with(digest)?);
                }
                Arg::Short('H') | Arg::Long("header") => {
                    read.headers.push(parser.value()?.parse_with(header)?);
                }
                Arg::Long("retry") => read.retries = parser.value()?.parse()?,
                Arg::Long("retry-max-time") => read.retry_max_time = time(parser)?,
                Arg::Long("retry-all-errors") => read.retry_all_errors = true,
                Arg::Long("connect-timeout") => read.connect_timeout = time(parser)?,
                Arg::Short('m') | Arg::Long("max-time") => read.max_time = time(parser)?,
                Arg::Long("limit-rate") => read.rate = Some(parser.value()?.parse_with(rate)?),
                Arg::Short('Y') | Arg::Long("speed-limit") => {
                    read.speed_limit = Some(parser.value()?.parse_with(rate_or_none)?);
                }
                Arg::Short('y') | Arg::Long("speed-time") => read.speed_time = time(parser)?,
                Arg::Long("parallel-max") => {
                    read.parallel = parser.value()?.parse_with(at_least_one)?;
                }
                Arg::Short('x') | Arg::Long("proxy") => {
                    read.proxy = Some(with_scheme(&parser.value()?.string()?));
                }
                Arg::Long("cacert") => read.authorities = Some(parser.value()?.into()),
                Arg::Short('s') | Arg::Long("silent") => read.silent = true,
                // What is done in any case, and so costs no one his habit.
                Arg::Short('O' | 'f' | 'L' | 'S' | 'Z')
                | Arg::Long("remote-name" | "fail" | "location" | "show-error" | "parallel") => {}
                Arg::Value(url) => read.urls.push(with_scheme(&url.string()?)),
                Arg::Short(_) | Arg::Long(_) => return Err(argument.unexpected()),
            }
        }
        read.check()?;
        Ok(Command::Fetch(Box::new(read)))
    }

    fn check(&self) -> Result<(), String> {
        let urls = self.urls.len();
        if urls == 0 {
            return Err("there is no URL".to_owned());
        }
        if self.outputs.len() > urls || self.digests.len() > urls {
            return Err("there are more `-o` or `--sha256` than URLs".to_owned());
        }
        let mut seen = Vec::new();
        for (number, url) in self.urls.iter().enumerate() {
            let target = self.target(number, url);
            let target =
                target.ok_or_else(|| format!("{} has no file name: use `-o`", shown(url)))?;
            if target == Target::Stdout && self.digests.get(number).is_some() {
                return Err("only a file can be checked, and not stdout".to_owned());
            }
            let ranged = |it: &Header| matches!(it, Header::Sent(name, _) if name == RANGE);
            if target != Target::Stdout && self.headers.iter().any(ranged) {
                return Err("a range of a URL can only be written to stdout".to_owned());
            }
            if seen.contains(&target) {
                return Err(format!("two URLs would be written to {target}"));
            }
            seen.push(target);
        }
        Ok(())
    }

    fn target(&self, number: usize, url: &str) -> Option<Target> {
        match self.outputs.get(number) {
            Some(output) if output == "-" => Some(Target::Stdout),
            Some(output) => Some(Target::File(output.into())),
            None => named_by(url).map(|name| Target::File(name.into())),
        }
    }

    /// The floor of throughput that was asked for, as curl reads these options: one of the two is
    /// enough. `Some(None)` is none.
    #[expect(
        clippy::option_option,
        reason = "to leave it and to turn it off are two things"
    )]
    fn floor(&self) -> Option<Option<ThroughputFloor>> {
        let time = self.speed_time.unwrap_or(Duration::from_secs(30));
        match (self.speed_limit, self.speed_time) {
            // The default one would take the own limit for a slow server.
            (None, None) => self.rate.filter(|rate| *rate < 1_000).map(|_| None),
            (Some(0), _) => Some(None),
            (limit, _) => Some(Some(ThroughputFloor::new(limit.unwrap_or(1), time))),
        }
    }

    /// Gives each URL with what is said about it.
    pub(crate) fn into_transfers(self) -> impl Iterator<Item = Transfer> {
        (0..self.urls.len()).filter_map(move |number| {
            let url = self.urls.get(number)?;
            Some(Transfer {
                url: url.clone(),
                target: self.target(number, url)?,
                sha256: self.digests.get(number).cloned(),
                continues: self.continues,
                headers: self.headers.clone(),
                max_time: self.max_time,
                floor: self.floor(),
            })
        })
    }
}

/// Takes the `-` behind `-C`, which curl wants there. An offset cannot be chosen.
fn skip_dash(parser: &mut Parser) -> Result<(), lexopt::Error> {
    let given = if let Some(value) = parser.optional_value() {
        Some(value)
    } else {
        let is_offset = |it: &OsStr| it.to_str().is_some_and(|it| it.parse::<u64>().is_ok());
        let mut rest = parser.raw_args()?;
        rest.next_if(|it| it == "-" || is_offset(it))
    };
    match given {
        Some(value) if value != "-" => Err("`-C` takes nothing but `-`".into()),
        Some(_) | None => Ok(()),
    }
}

/// A number of seconds, of which 0 is no limit.
fn time(parser: &mut Parser) -> Result<Option<Duration>, lexopt::Error> {
    parser.value()?.parse_with(|text| {
        let seconds = f64::from_str(text).map_err(|error| error.to_string())?;
        let time = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
        Ok::<_, String>(Some(time).filter(|time| !time.is_zero()))
    })
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it is at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}

/// Bytes per second, as curl writes them: `200K` are 200 × 1024.
fn rate(text: &str) -> Result<u64, String> {
    const UNITS: [char; 5] = ['B', 'K', 'M', 'G', 'T'];
    let last = text.chars().next_back().map(|it| it.to_ascii_uppercase());
    let power = UNITS.iter().position(|unit| Some(*unit) == last);
    let number = text.strip_suffix(|_: char| power.is_some()).unwrap_or(text);
    let number = f64::from_str(number).map_err(|error| error.to_string())?;
    let bytes = number * 1024_f64.powi(i32::try_from(power.unwrap_or(0)).unwrap_or(0));
    if !(1.0..1e15).contains(&bytes) {
        return Err("it is at least 1 byte per second".to_owned());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is in the range that was checked"
    )]
    Ok(bytes as u64)
}

/// The same, where 0 is for none.
fn rate_or_none(text: &str) -> Result<u64, String> {
    if text == "0" { Ok(0) } else { rate(text) }
}

fn digest(text: &str) -> Result<String, String> {
    let is_hex = text.len() == 64 && text.chars().all(|it| it.is_ascii_hexdigit());
    if is_hex {
        Ok(text.to_owned())
    } else {
        Err("a SHA-256 has 64 hexadecimal digits".to_owned())
    }
}

/// Reads `A: b`, and as curl does `A:` for none of this name and `A;` for one without a value.
fn header(text: &str) -> Result<Header, String> {
    let named = |name: &str| {
        let name = HeaderName::from_str(name.trim());
        name.map_err(|_| "the header has no valid name".to_owned())
    };
    let Some((name, value)) = text.split_once(':') else {
        let name = text
            .strip_suffix(';')
            .ok_or("there is no colon in the header")?;
        return Ok(Header::Sent(named(name)?, HeaderValue::from_static("")));
    };
    let value = value.trim();
    if value.is_empty() {
        return Ok(Header::LeftOut(named(name)?));
    }
    // The value may be a secret, and is not told.
    let value = HeaderValue::from_str(value).map_err(|_| "the header's value is not valid")?;
    Ok(Header::Sent(named(name)?, value))
}

/// The URL as it is, or for `http` if it has no scheme.
fn with_scheme(text: &str) -> String {
    if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    }
}

/// The last part of the URL's path, if that can name a file here.
fn named_by(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let path = rest.split(['?', '#']).next()?;
    let (_, name) = path.rsplit_once('/')?;
    let is_name = std::path::Path::new(name).file_name() == Some(name.as_ref());
    (is_name && !name.contains(['\\', ':'])).then(|| name.to_owned())
}

/// A URL without what may be a secret in it.
pub(crate) fn shown(url: &str) -> impl Display {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Arguments, String> {
        let line = ["fetch"].into_iter().chain(line.split_whitespace());
        match Arguments::parse(line.map(OsString::from))? {
            Command::Fetch(arguments) => Ok(*arguments),
            Command::Help => Err("help".to_owned()),
        }
    }

    fn targets(line: &str) -> Vec<String> {
        let transfers = read(line).expect("the line is valid").into_transfers();
        transfers.map(|it| it.target.to_string()).collect()
    }

    #[test]
    fn the_help_fits_one_screen() {
        assert!(HELP.lines().count() <= 24);
        let longest = HELP.lines().map(|line| line.chars().count()).max();
        assert!(longest.is_some_and(|longest| longest <= 80), "{longest:?}");
    }

    #[test]
    fn a_file_is_named_by_its_option_or_its_url() {
        assert_eq!(targets("-O example.com/a.tar?token=x"), ["a.tar"]);
        assert_eq!(
            targets("-o x http://a/1 -o - http://a/2 http://a/3"),
            ["x", "-", "3"]
        );
        for unnamed in [
            "example.com",
            "http://a/",
            "http://a/b/..",
            "http://a/?x=/y",
        ] {
            assert!(read(unnamed).is_err(), "{unnamed}");
            assert_eq!(targets(&format!("-o x {unnamed}")), ["x"]);
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for wrong in [
            "",
            "-o a -o b http://a/1",
            "http://a/1 http://b/1",
            "--sha256 123 http://a/1",
            "--sha256 00000000000000000000000000000000000000000000000000000000000000ff -o - http://a/1",
            "-H nothing http://a/1",
            "-H Range:bytes=1-2 http://a/1",
            "--limit-rate 0 http://a/1",
            "--limit-rate fast http://a/1",
            "--max-time -1 http://a/1",
            "--parallel-max 0 http://a/1",
            "-C 100 -o x",
            "-C100 http://a/1",
            "--unknown http://a/1",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read("--help").is_err_and(|it| it == "help"));
    }

    #[test]
    fn what_curl_takes_is_taken() {
        for line in [
            "-C - http://a/1",
            "-C http://a/1",
            "--continue-at - http://a/1",
            "-C- http://a/1",
        ] {
            let read = read(line).expect(line);
            assert!(read.continues);
            assert_eq!(read.urls, ["http://a/1"], "{line}");
        }
        let read = read("-fsSLO -m 1.5 --retry 7 --limit-rate 200K -x proxy:3128 http://a/1");
        let read = read.expect("the line is valid");
        assert!(read.silent);
        assert_eq!(read.max_time, Some(Duration::from_millis(1500)));
        assert_eq!((read.retries, read.rate), (7, Some(200 * 1024)));
        assert_eq!(read.proxy.as_deref(), Some("http://proxy:3128"));
    }

    #[test]
    fn a_floor_of_throughput_is_left_set_or_turned_off() {
        let floor = |line: &str| read(line).expect("the line is valid").floor();
        let set = |bytes, seconds| {
            let window = Duration::from_secs(seconds);
            Some(Some(ThroughputFloor::new(bytes, window)))
        };
        assert_eq!(floor("http://a/1"), None);
        assert_eq!(floor("-Y 0 http://a/1"), Some(None));
        assert_eq!(floor("--limit-rate 50 http://a/1"), Some(None));
        assert_eq!(floor("-Y 2k http://a/1"), set(2048, 30));
        assert_eq!(floor("-y 5 http://a/1"), set(1, 5));
        assert_eq!(floor("-Y 10 -y 60 http://a/1"), set(10, 60));
    }

    #[test]
    fn rates_have_curls_units() {
        for (text, bytes) in [
            ("100", 100),
            ("1k", 1024),
            ("1.5M", 3 << 19),
            ("2G", 2 << 30),
        ] {
            assert_eq!(rate(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn headers_are_sent_left_out_or_empty() {
        let name = HeaderName::from_static("a");
        let sent = |value| Ok(Header::Sent(name.clone(), HeaderValue::from_static(value)));
        assert_eq!(header("A: b:c"), sent("b:c"));
        assert_eq!(header("A;"), sent(""));
        assert_eq!(header("A:"), Ok(Header::LeftOut(name.clone())));
    }

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        assert_eq!(
            shown("http://me:pw@a/b@c?token=x#y").to_string(),
            "http://a/b@c"
        );
    }
}
