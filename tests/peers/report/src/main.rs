//! Measures each client against the one server, and writes what they cost beside bare hyper.
//!
//! Called by the script `run` when all is built: `report DIRECTORY FORM`.

mod bench;
mod case;
mod chart;
mod figures;
mod full;
mod goals;
mod micro;
mod missed;
mod page;
mod peers;
mod quick;
mod section;
mod sections;
mod server;
mod summary;
mod table;
mod verdict;
mod weight;

use std::{env, path::PathBuf, process::ExitCode};

use self::{bench::Bench, server::Server};

/// What goes wrong with a tool or a file ends the report.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<ExitCode> {
    let mut arguments = env::args().skip(1);
    let (Some(directory), Some(form)) = (arguments.next(), arguments.next()) else {
        return Err("report DIRECTORY FORM".into());
    };
    let names: Vec<_> = arguments.collect();
    if form == "page" {
        // Nothing is measured.
        full::again()?;
        return Ok(ExitCode::SUCCESS);
    }
    let directory = PathBuf::from(directory);
    let server = Server::start(&directory)?;
    let bench = Bench::new(directory, &server);
    let passed = match form.as_str() {
        "quick" => quick::check(&bench, &names)?,
        "record" => quick::record(&bench, &names)?,
        "profile" => quick::profile(&bench)?,
        "goals" => full::goals(&bench)?,
        "full" => full::full(&bench)?,
        "brief" => full::brief(&bench)?,
        "section" => {
            let title = names.first().ok_or("report DIRECTORY section TITLE")?;
            full::section(&bench, title)?
        }
        "threads" => bench.threads()?,
        other => return Err(format!("unknown form {other}").into()),
    };
    Ok(ExitCode::from(u8::from(!passed)))
}
