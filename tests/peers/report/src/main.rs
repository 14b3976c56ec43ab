//! Measures each client against the one server, and writes what they cost beside bare hyper.
//!
//! Called by the script `run` when all is built: `report DIRECTORY quick|record|profile|full`.

mod case;
mod full;
mod measure;
mod peers;
mod quick;
mod server;
mod table;

use std::{env, path::PathBuf, process::ExitCode};

use self::{measure::Bench, server::Server};

/// What goes wrong with a tool or a file ends the report.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<ExitCode> {
    let mut arguments = env::args().skip(1);
    let (Some(directory), Some(form)) = (arguments.next(), arguments.next()) else {
        return Err("report DIRECTORY quick|record|profile|full".into());
    };
    let directory = PathBuf::from(directory);
    let server = Server::start(&directory)?;
    let bench = Bench::new(directory, &server);
    let passed = match form.as_str() {
        "quick" => quick::check(&bench)?,
        "record" => quick::record(&bench)?,
        "profile" => quick::profile(&bench)?,
        "full" => full::report(&bench)?,
        other => return Err(format!("unknown form {other}").into()),
    };
    Ok(ExitCode::from(u8::from(!passed)))
}
