//! Downloads URLs to files, several at once, with progress bars, and goes on where a download broke:
//! also after the program itself was ended in any way.
//!
//! `cargo run --example fetch -- --help` shows the options, which are curl's where curl has them.

mod arguments;
mod exit;
mod screen;
mod settings;
mod throttle;
mod transfer;

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
};

use client::Client;
use futures_util::{StreamExt as _, stream};
use tokio::runtime::Runtime;

use self::{
    arguments::{Arguments, Command, HELP},
    exit::Exit,
    screen::{Screen, print_error},
    transfer::Transfer,
};

fn main() -> ExitCode {
    program(env::args_os()).into()
}

fn program(line: impl IntoIterator<Item = OsString>) -> Exit {
    let runtime = Runtime::new().expect("the system gives what a runtime needs");
    let exit = runtime.block_on(execute(line));
    // Threads that still write are not waited for: a write to a pipe that is not read never ends.
    runtime.shutdown_background();
    exit
}

async fn execute(line: impl IntoIterator<Item = OsString>) -> Exit {
    match Arguments::parse(line) {
        Ok(Command::Help) => {
            // A reader that closes the pipe early is not an error.
            let _ = io::stdout().write_all(HELP.as_bytes());
            Exit::Done
        }
        Ok(Command::Fetch(arguments)) => {
            // Whatever was written by now stays, for a later run with `-C`.
            tokio::select! {
                exit = fetch(*arguments) => exit,
                _ = tokio::signal::ctrl_c() => {
                    print_error("fetch: interrupted; go on with `-C`");
                    Exit::Interrupted
                }
            }
        }
        Err(why) => {
            print_error(&format!("fetch: {why}\nfetch: see `fetch --help`"));
            Exit::Usage
        }
    }
}

/// Downloads everything, and returns what the first URL that failed came to.
async fn fetch(arguments: Arguments) -> Exit {
    let screen = Screen::new(arguments.silent);
    let client = match settings::client(&arguments, &screen) {
        Ok(client) => client,
        Err((exit, why)) => {
            screen.say(&format!("fetch: {why}"));
            return exit;
        }
    };
    let parallel = arguments.parallel;
    let transfers: Vec<_> = arguments.into_transfers().enumerate().collect();
    let running = transfers.into_iter().map(|(number, transfer)| {
        let (client, screen) = (&client, &screen);
        async move { (number, run(client, &transfer, screen).await) }
    });
    let mut exits: Vec<_> = stream::iter(running)
        .buffer_unordered(parallel)
        .collect()
        .await;
    client.close().await;
    exits.sort_unstable_by_key(|(number, _)| *number);
    let mut exits = exits.into_iter().map(|(_, exit)| exit);
    exits.find(|exit| *exit != Exit::Done).unwrap_or(Exit::Done)
}

async fn run(client: &Client, transfer: &Transfer, screen: &Screen) -> Exit {
    match transfer.run(client, screen).await {
        Ok(summary) => {
            screen.note(&summary);
            Exit::Done
        }
        Err((exit, why)) => {
            screen.say(&format!("fetch: {}: {why}", transfer.name()));
            exit
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

    use super::*;

    /// A folder that is gone when the test is over.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("fetch-{}-{name}", std::process::id());
            let path = env::temp_dir().join(name);
            fs::create_dir(&path).expect("the temporary directory can be written to");
            Self(path)
        }

        fn read(&self) -> Vec<(String, String)> {
            let entries = fs::read_dir(&self.0).expect("the folder is there");
            let files = entries.map(|entry| entry.expect("it can be read").path());
            let mut files: Vec<_> = files
                .map(|file| {
                    let name = file.file_name().expect("it has a name");
                    let content = fs::read_to_string(&file).expect("it is text");
                    (name.to_string_lossy().into_owned(), content)
                })
                .collect();
            files.sort();
            files
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    async fn server() -> MockServer {
        let server = MockServer::start().await;
        for (at, answer) in [
            ("/a", ResponseTemplate::new(200).set_body_string("abc")),
            ("/b", ResponseTemplate::new(200).set_body_string("of b")),
            (
                "/to-a",
                ResponseTemplate::new(302).insert_header("location", "/a"),
            ),
        ] {
            Mock::given(path(at))
                .respond_with(answer)
                .mount(&server)
                .await;
        }
        server
    }

    async fn run(line: &str) -> Exit {
        let line = format!("fetch -s --retry 0 {line}");
        let line = line.split_whitespace().map(OsString::from);
        match Arguments::parse(line) {
            Ok(Command::Fetch(arguments)) => fetch(*arguments).await,
            Ok(Command::Help) | Err(_) => Exit::Usage,
        }
    }

    const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[tokio::test]
    async fn files_are_whole_or_absent_and_the_first_failure_is_the_exit_status() {
        let (folder, server) = (Folder::new("whole"), server().await);
        let (url, to) = (server.uri(), folder.0.display());
        let lines = [
            (
                format!("-o {to}/a --sha256 {OF_ABC} {url}/a -o {to}/b {url}/b"),
                Exit::Done,
            ),
            (format!("-o {to}/to-a {url}/to-a"), Exit::Done),
            (
                format!("-o {to}/x {url}/absent -o {to}/c {url}/b"),
                Exit::HttpError,
            ),
            (
                format!("-o {to}/x --sha256 {OF_ABC} {url}/b"),
                Exit::WrongDigest,
            ),
            (format!("-o {to}/nowhere/x {url}/a"), Exit::NotWritten),
            (format!("-o {to}/x ftp://{to}/"), Exit::BadUrl),
            (
                format!("-o {to}/x --cacert {to}/nothing {url}/a"),
                Exit::BadAuthority,
            ),
        ];
        for (line, exit) in lines {
            assert_eq!(run(&line).await, exit, "{line}");
        }
        let files = folder.read();
        let files: Vec<_> = files
            .iter()
            .map(|(name, content)| (&**name, &**content))
            .collect();
        assert_eq!(
            files,
            [("a", "abc"), ("b", "of b"), ("c", "of b"), ("to-a", "abc")]
        );
    }

    /// Not a test: the program, for one that runs it.
    #[test]
    #[ignore = "it is run by `an_interrupt_ends_it_where_nobody_reads_its_output`"]
    fn the_program() {
        let line = env::var("FETCH_TEST_LINE").expect("the other test sets it");
        let exit = program(line.split_whitespace().map(OsString::from));
        std::process::exit(exit as i32);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn an_interrupt_ends_it_where_nobody_reads_its_output() {
        use std::{
            io::Read as _,
            process::{Command, Stdio},
            time::Duration,
        };

        let server = MockServer::start().await;
        let large = ResponseTemplate::new(200).set_body_bytes(vec![b'x'; 4 << 20]);
        Mock::given(path("/large"))
            .respond_with(large)
            .mount(&server)
            .await;
        let line = format!("fetch -s -o - {}/large", server.uri());
        let mut program = Command::new(env::current_exe().expect("it is known"))
            .args(["--exact", "tests::the_program", "--ignored", "--nocapture"])
            .env("FETCH_TEST_LINE", line)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a program can be started");
        let mut output = program.stdout.take().expect("it is a pipe");
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; 1 << 20];
            output.read_exact(&mut piece).expect("so much is written");
            output
        });
        // It stays open, and is not read any more.
        let _output = read.await.expect("it does not panic");
        let id = program.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status();
        assert!(sent.is_ok_and(|it| it.success()));
        let mut ended = None;
        for _ in 0..1_000 {
            ended = program.try_wait().expect("it can be waited for");
            if ended.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        program.kill().ok();
        let code = ended.and_then(|it| it.code());
        assert_eq!(code, Some(i32::from(Exit::Interrupted as u8)));
    }
}
