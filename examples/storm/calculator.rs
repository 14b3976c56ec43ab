//! What a fleet with one configuration does.

use std::{fmt::Write as _, time::Duration};

use overload::{Figures, Storm, Trouble};

use crate::{Exit, arguments::Question, policy};

pub(crate) fn run(question: &Question, text: &mut String) -> Result<Exit, String> {
    let config = policy::read(&question.policy)?;
    let patience = match question.patience {
        Some(patience) => Some(patience),
        None => policy::patience(&config)?,
    };
    let storm = Storm {
        patience,
        ..question.storm.clone()
    };
    let figures = storm.run(|server, seed| policy::client(&config, server, seed));
    describe(&storm, text);
    report(&figures, text);
    Ok(judge(question, &figures, text))
}

fn describe(storm: &Storm, text: &mut String) {
    let (percent, how) = match storm.trouble {
        Trouble::Slow { percent } => (percent, "queues"),
        Trouble::Shedding { percent, .. } => (percent, "refuses"),
        Trouble::Refusing => (0, "refuses"),
    };
    let patience = match storm.patience {
        Some(patience) => format!("{patience:?}"),
        None => "any time".to_owned(),
    };
    let _ = writeln!(
        text,
        "fleet          {} clients, {} calls/s each; an attempt waits for {patience}\n\
         server         {} answers/s, {percent} % of that for {:?}; it {how} the rest",
        storm.clients, storm.rate, storm.capacity, storm.lasts
    );
}

fn report(figures: &Figures, text: &mut String) {
    let recovery = figures.recovery().map_or_else(
        || "never, while it was watched".to_owned(),
        |seconds| format!("{seconds} s after the trouble"),
    );
    let _ = writeln!(
        text,
        "burst          {:.2} x the usual rate, in the busiest 100 ms\n\
         amplification  {:.2} requests for each call, in the worst second\n\
         lost           {:.1} % of the calls in the trouble, {:.1} % from then on\n\
         recovery       {recovery}",
        figures.burst(),
        figures.amplification(),
        100.0 * figures.lost_in_trouble(),
        100.0 * figures.lost(),
    );
}

fn judge(question: &Question, figures: &Figures, text: &mut String) -> Exit {
    let mut exit = Exit::Fine;
    if let Some(most) = question.max_amplification {
        if figures.amplification() > most {
            let _ = writeln!(text, "storm: the amplification is more than {most}");
            exit = Exit::Exceeded;
        }
    }
    if let Some(most) = question.max_recovery {
        if figures.recovery().is_none_or(|it| it > most) {
            let most = Duration::from_secs(u64::try_from(most).unwrap_or(u64::MAX));
            let _ = writeln!(text, "storm: it does not recover within {most:?}");
            exit = Exit::Exceeded;
        }
    }
    exit
}
