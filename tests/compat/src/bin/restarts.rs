//! A load on a server that is restarted meanwhile, through a session with the retry layer over it.
//!
//! `tests/real-peers/restarts` starts and restarts the servers and runs this; the arguments are a name, the protocol,
//! the server's origin, how many seconds the load lasts, and the address on which the server finds the upstream of
//! `/count`, which runs in here; without that, only GETs are sent.

use std::{env, error::Error, process::ExitCode, time::Duration};

use http::Method;
use test_compat::{Load, Upstream, retrying_session};
use tokio::time::Instant;

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (name, protocol, origin, seconds, upstream) = match *arguments.as_slice() {
        [name, protocol, origin, seconds] => (name, protocol, origin, seconds, None),
        [name, protocol, origin, seconds, upstream] => {
            (name, protocol, origin, seconds, Some(upstream))
        }
        _ => return Err("usage: restarts NAME h1|h2 ORIGIN SECONDS [UPSTREAM]".into()),
    };
    let upstream = match upstream {
        Some(address) => Some(Upstream::start(address).await?),
        None => None,
    };
    let end = Instant::now() + Duration::from_secs(seconds.parse()?);
    let service = retrying_session(protocol == "h2")?;
    let get = Load::new(Method::GET, &format!("{origin}/"), "get").until(end);
    let post = Load::new(Method::POST, &format!("{origin}/count"), "post").until(end);

    let (gets, posts) = tokio::join!(get.send(service.clone()), async {
        match &upstream {
            Some(_) => Some(post.send(service.clone()).await),
            None => None,
        }
    });
    gets.print(&format!("{name}, {protocol}, GET"));
    let mut proven = gets.failures == 0 && gets.successes > 0;
    if let Some((posts, upstream)) = posts.zip(upstream) {
        posts.print(&format!("{name}, {protocol}, POST"));
        let counted = upstream.print("post");
        // One whose answer was cut off may have been executed, and is not sent again.
        let executed = posts.successes..=posts.successes + posts.failures;
        proven &= counted.twice == 0 && executed.contains(&counted.once);
    }
    println!("{}", if proven { "as expected" } else { "FAILED" });
    Ok(if proven {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
