//! Follows a job until it ends.

use std::time::{Duration, Instant};

use sqjobs::{Record, State};
use tokio::time::sleep;

use crate::{
    args::Watch,
    aws::Aws,
    failure::Failure,
    output::{Output, clean, colour, first_line},
    time::exact,
};

/// How long a job is waited for, unless told otherwise.
pub(super) const PATIENCE: Duration = Duration::from_hours(1);
/// How often it is looked at: a person waits, so often at first.
const FIRST: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_secs(3);

pub(super) async fn watch(aws: &Aws, wanted: Watch) -> Result<bool, Failure> {
    follow(aws, &wanted.id, wanted.within, wanted.json).await
}

/// Prints each change of a job; says whether it succeeded.
pub(super) async fn follow(aws: &Aws, id: &str, within: Duration, json: bool) -> Result<bool, Failure> {
    let (client, mut output, started) = (aws.client(), Output::new(), Instant::now());
    let (mut seen, mut pause): (Option<Record>, _) = (None, FIRST);
    loop {
        let record = client.get(id).await?;
        if let Some(record) = record.filter(|record| seen.as_ref().is_none_or(|seen| is_news(seen, record))) {
            if json {
                output.json(&record)?;
            } else {
                output.line(format!("{}  {}", exact(aws.clock.now()), line(&record)))?;
            }
            if record.state.is_terminal() {
                return Ok(record.state == State::Succeeded);
            }
            (seen, pause) = (Some(record), FIRST);
        }
        let rest = within.saturating_sub(started.elapsed());
        if rest.is_zero() {
            let state = seen.map_or("has not been started".into(), |record| format!("is {}", record.state.as_str()));
            anstream::eprintln!("{}", aws.place.with_options(&format!("it has not ended yet, and {state}; `sqjobs explain` says why")));
            return Ok(false);
        }
        sleep(pause.min(rest)).await;
        pause = (pause * 3 / 2).min(MOST);
    }
}

/// A renewal of the lease is no news.
fn is_news(seen: &Record, record: &Record) -> bool {
    let shown = |record: &Record| (record.state, record.attempts, record.generation, record.progress.clone(), record.cancel_requested);
    shown(seen) != shown(record)
}

fn line(record: &Record) -> String {
    let state = format!("{}{}\u{1b}[0m", colour(record.state), record.state.as_str());
    let tells = match (record.state, &record.result, &record.error, &record.progress) {
        (State::Succeeded, Some(result), ..) => result.to_string(),
        (State::Failed | State::Retrying, _, Some(error), _) => format!("{}: {}", error.kind, first_line(&error.message)),
        (State::Running, .., Some(progress)) => progress.to_string(),
        _ => String::new(),
    };
    let attempt = if record.generation > 0 { format!(", attempt {} of {}", record.attempts, record.max_attempts) } else { String::new() };
    let due = record.run_at.map(|at| format!(", due {}", exact(at))).unwrap_or_default();
    format!("{state}{attempt}{due}  {}", clean(&tells)).trim_end().to_owned()
}
