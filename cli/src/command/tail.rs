//! `sqjobs tail`: follows the endings of jobs on all queues, in the logs of their functions.
//!
//! A function logs each ending anyway, so jobs pay nothing for it. The command reads the logs again and again with `FilterLogEvents`. Other
//! than a session of Live Tail, such a request has no price, and it drops no line if there are many.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
    time::{Duration, Instant},
};

use aws_sdk_cloudwatchlogs::{
    error::{ProvideErrorMetadata as _, SdkError},
    operation::filter_log_events::FilterLogEventsError,
};
use clap::{Args, builder::PossibleValuesParser};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sqjobs::State;
use tokio::{signal::ctrl_c, time::sleep};

use super::{mapping, queue};
use crate::{
    aws::Aws,
    failure::Failure,
    output::{DIM, Output, PLAIN, clean, colour, first_line},
    shell::shell,
    time::{self, exact, fine},
    value::text,
};

#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// Show only jobs of the function that reads this queue. Repeat the option for more queues.
    #[arg(long = "queue", value_name = "QUEUE", value_parser = text)]
    pub(crate) queues: Vec<String>,
    /// Show only jobs with this name. Repeat the option for more names.
    #[arg(long = "name", value_name = "NAME", value_parser = text)]
    pub(crate) names: Vec<String>,
    /// Show only this outcome. Repeat the option for more outcomes.
    #[arg(long = "outcome", value_name = "OUTCOME", value_parser = PossibleValuesParser::new(OUTCOMES))]
    pub(crate) outcomes: Vec<String>,
    /// Show only the job with this id. Repeat the option for more ids.
    #[arg(long = "id", value_name = "ID", value_parser = text)]
    pub(crate) ids: Vec<String>,
    /// Begin with the endings of this time before now, such as 10m.
    #[arg(long, value_name = "DURATION", value_parser = time::duration, default_value = "0s")]
    pub(crate) since: Duration,
    /// Stop after this time; with 0s, after the first look. Default: the command goes on until Ctrl-C.
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    pub(crate) within: Option<Duration>,
    /// Print each ending as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The outcomes that functions log. `docs/logs.md` describes them.
const OUTCOMES: [&str; 18] = [
    "succeeded",
    "retried",
    "failed",
    "snoozed",
    "interrupted",
    "not_started",
    "held",
    "early",
    "blocked",
    "busy",
    "lease_lost",
    "duplicate",
    "cancelled",
    "expired",
    "foreign",
    "rejected",
    "parked",
    "skipped",
];
/// The target of the log lines about endings.
const TARGET: &str = "sqjobs::ending";
/// The time that each look covers again, because CloudWatch may show a line late.
const OVERLAP: SignedDuration = SignedDuration::from_mins(1);
/// Shortest pause between two looks, and the additional pause for each log group. An account has at least five requests per second:
/// "CloudWatch Logs quotas" in its user guide.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_PER_GROUP: Duration = Duration::from_millis(250);
/// Number of requests at the same time.
const AT_A_TIME: usize = 4;
/// Maximum length of a filter pattern.
const PATTERN: usize = 1024;

/// The end of an attempt or a delivery, as a function logs it.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
struct Ending {
    #[serde(rename(deserialize = "timestamp"))]
    at: Timestamp,
    #[serde(skip_deserializing)]
    function: String,
    outcome: String,
    id: String,
    #[serde(rename(deserialize = "job"))]
    name: Option<String>,
    attempt: Option<u32>,
    generation: Option<u64>,
    run_ms: Option<u64>,
    waited_ms: Option<u64>,
    kind: Option<String>,
    error: Option<String>,
    reason: Option<String>,
    message_id: Option<String>,
    request_id: Option<String>,
    #[serde(skip_serializing)]
    level: String,
    #[serde(skip_serializing)]
    target: String,
}

/// The log of a function, and how far it was read.
struct Log {
    function: String,
    group: String,
    from: Timestamp,
    /// The lines since then, with their times in milliseconds.
    seen: HashMap<String, i64>,
    /// True until the log group exists.
    is_missing: bool,
}

/// Follows the endings until Ctrl-C, or until the given time has passed.
pub(super) async fn tail(aws: &Aws, wanted: &Tail) -> Result<bool, Failure> {
    let followed = tokio::select! {
        followed = follow(aws, wanted) => followed,
        interrupted = ctrl_c() => interrupted.map_err(Failure::from),
    };
    note!("this took {}", aws.meter);
    followed.map(|()| true)
}

async fn follow(aws: &Aws, wanted: &Tail) -> Result<(), Failure> {
    let (started, pattern) = (Instant::now(), pattern(wanted));
    let from = aws.clock.now().checked_sub(wanted.since).unwrap_or(Timestamp::MIN);
    let mut logs = logs(aws, &wanted.queues, from).await?;
    let pause = PAUSE.max(PAUSE_PER_GROUP * u32::try_from(logs.len()).unwrap_or(u32::MAX));
    let names: Vec<_> = logs.iter().map(|log| clean(&log.function)).collect();
    let every = if logs.len() == 1 { "a request".into() } else { format!("{} requests", logs.len()) };
    note!("following the logs of {}; {every} every {}; Ctrl-C ends it", names.join(", "), fine(pause));
    let mut output = Output::new();
    loop {
        let looked = Instant::now();
        let found = stream::iter(&mut logs).map(|log| log.read(aws, &pattern)).buffer_unordered(AT_A_TIME);
        let mut endings: Vec<_> = found.try_collect::<Vec<_>>().await?.concat();
        endings.retain(|ending| wanted.selects(ending));
        endings.sort_by_key(|ending| ending.at);
        for ending in &endings {
            if wanted.json {
                output.json(ending)?;
            } else {
                output.line(line(ending))?;
            }
        }
        let left = wanted.within.map(|within| within.saturating_sub(started.elapsed()));
        if left == Some(Duration::ZERO) {
            return Ok(());
        }
        let pause = pause.saturating_sub(looked.elapsed());
        sleep(left.map_or(pause, |left| left.min(pause))).await;
    }
}

impl Tail {
    fn selects(&self, ending: &Ending) -> bool {
        let is_wanted = |wanted: &[String], value: Option<&String>| wanted.is_empty() || value.is_some_and(|value| wanted.contains(value));
        is_wanted(&self.names, ending.name.as_ref())
            && is_wanted(&self.outcomes, Some(&ending.outcome))
            && is_wanted(&self.ids, Some(&ending.id))
    }
}

/// Returns the logs of the functions that read these queues, or any queue.
async fn logs(aws: &Aws, queues: &[String], from: Timestamp) -> Result<Vec<Log>, Failure> {
    let mut statuses = Vec::new();
    for name in queues {
        statuses.push(queue::status(aws, queue::pair(aws, &aws.queue(name)).await?));
    }
    if queues.is_empty() {
        let all = queue::all(aws).await?;
        crate::output::print_notes(&all.left_out.notes());
        statuses = all.statuses(aws);
    }
    let feeds = mapping::feeds(aws, &statuses).await?;
    for (status, _) in statuses.iter().zip(&feeds).filter(|(_, feed)| feed.function.is_none()) {
        let name = shell(&status.name);
        let note = format!("no function reads queue {}; connect one with `sqjobs queue create {name} --function FUNCTION`", status.name);
        note!("{}", clean(&aws.place.with_options(&note)));
    }
    let functions: BTreeSet<_> = feeds.into_iter().filter_map(|feed| feed.function).collect();
    if functions.is_empty() {
        let why = if statuses.is_empty() { queue::no_queue(aws).await } else { "no function reads these queues".into() };
        return Err(Failure::new(format!("there is no log to follow: {why}")));
    }
    let mut logs = Vec::new();
    for function in functions {
        let configuration = aws.lambda().get_function_configuration().function_name(&function).send().await;
        // Without the permission to read the function, it counts as one with the usual log group.
        let own = configuration.ok().and_then(|own| own.logging_config?.log_group);
        let group = own.unwrap_or_else(|| format!("/aws/lambda/{function}"));
        logs.push(Log { function, group, from, seen: HashMap::new(), is_missing: false });
    }
    Ok(logs)
}

impl Log {
    /// Returns the endings that are new since the last look.
    async fn read(&mut self, aws: &Aws, pattern: &str) -> Result<Vec<Ending>, Failure> {
        let now = aws.clock.now();
        let wanted = aws.logs().filter_log_events().log_group_name(&self.group).start_time(self.from.as_millisecond());
        let mut pages = wanted.filter_pattern(pattern).into_paginator().send();
        let mut endings = Vec::new();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) => return self.unread(error).map(|()| endings),
            };
            for event in page.events.unwrap_or_default() {
                let (Some(at), Some(line)) = (event.timestamp, event.message) else { continue };
                if !self.seen.contains_key(&line) {
                    endings.extend(self.parse(&line));
                    self.seen.insert(line, at);
                }
            }
        }
        // Only a look to the end moves the window.
        self.from = self.from.max(now - OVERLAP);
        self.seen.retain(|_, at| *at >= self.from.as_millisecond());
        Ok(endings)
    }

    /// Returns the ending that a line tells, if it does.
    fn parse(&self, line: &str) -> Option<Ending> {
        let ending: Ending = serde_json::from_str(line).ok().filter(|ending: &Ending| ending.target == TARGET)?;
        Some(Ending { function: self.function.clone(), ..ending })
    }

    /// Handles an error. The next look covers what this one has missed.
    fn unread(&mut self, error: SdkError<FilterLogEventsError>) -> Result<(), Failure> {
        let (function, group) = (clean(&self.function), clean(&self.group));
        match error.code() {
            Some("ThrottlingException" | "ServiceUnavailableException") => Ok(()),
            // Lambda creates it with the first invocation.
            Some("ResourceNotFoundException") => {
                if !std::mem::replace(&mut self.is_missing, true) {
                    note!("function {function} has not logged yet: there is no log group {group}");
                }
                Ok(())
            }
            _ => {
                Err(Failure::because(&format!("cannot read the log group {group}, which needs the permission logs:FilterLogEvents"), error))
            }
        }
    }
}

/// Returns the filter that CloudWatch applies. It is only a part of the wanted one if a value has a character with a meaning in a pattern, or
/// if the values are too long.
fn pattern(wanted: &Tail) -> String {
    let mut pattern = format!(r#"{{ ($.target = "{TARGET}")"#);
    for (field, values) in [("outcome", &wanted.outcomes), ("job", &wanted.names), ("id", &wanted.ids)] {
        let is_plain = |value: &String| value.chars().all(|char| char.is_ascii_alphanumeric() || "-_.:/".contains(char));
        let any: Vec<_> = values.iter().map(|value| format!(r#"($.{field} = "{value}")"#)).collect();
        let any = any.join(" || ");
        if !values.is_empty() && values.iter().all(is_plain) && pattern.len() + any.len() + " && () }".len() <= PATTERN {
            write!(pattern, " && ({any})").ok();
        }
    }
    pattern + " }"
}

fn line(ending: &Ending) -> String {
    let colour = match (&*ending.level, &*ending.outcome) {
        ("ERROR", _) => colour(State::Failed),
        ("WARN", _) => colour(State::Retrying),
        (_, "succeeded") => colour(State::Succeeded),
        _ => DIM,
    };
    let millis = |ms: u64| fine(Duration::from_millis(ms));
    let details = [
        ending.attempt.map(|attempt| format!("attempt {attempt}")),
        ending.run_ms.map(|ms| format!("ran {}", millis(ms))),
        ending.waited_ms.map(|ms| format!("waited {}", millis(ms))),
    ];
    let details = details.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let why = [&ending.kind, &ending.error, &ending.reason].into_iter().flatten().map(|text| first_line(text));
    let why = why.collect::<Vec<_>>().join(": ");
    let [function, name, id] = [&ending.function, ending.name.as_ref().unwrap_or(&String::new()), &ending.id].map(|text| clean(text));
    let parts = [exact(ending.at), function, format!("{colour}{:<9}{PLAIN}", ending.outcome), name, id, details, clean(&why)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{self, Command};

    fn wanted(line: &str) -> Tail {
        match args::Args::try_parse_from(line.split(' ')).map(|args| args.command) {
            Ok(Command::Tail(wanted)) => wanted,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn log() -> Log {
        Log { function: "f".into(), group: String::new(), from: Timestamp::MIN, seen: HashMap::new(), is_missing: false }
    }

    #[test]
    fn a_pattern_names_what_is_wanted_unless_a_character_has_a_meaning_in_it() {
        assert_eq!(pattern(&wanted("sqjobs tail")), r#"{ ($.target = "sqjobs::ending") }"#);
        assert_eq!(
            pattern(&wanted("sqjobs tail --outcome failed --outcome retried --name invoice --id a/1")),
            r#"{ ($.target = "sqjobs::ending") && (($.outcome = "failed") || ($.outcome = "retried")) && (($.job = "invoice")) && (($.id = "a/1")) }"#
        );
        for id in ["*", "a\"b", "é", "%a%"] {
            let wanted = wanted(&format!("sqjobs tail --outcome failed --id x --id {id}"));
            assert_eq!(pattern(&wanted), r#"{ ($.target = "sqjobs::ending") && (($.outcome = "failed")) }"#, "{id}");
        }
        let many = (0..99).map(|number| format!(" --id order-{number:06}")).collect::<Vec<_>>().concat();
        let pattern = pattern(&wanted(&format!("sqjobs tail{many}")));
        assert!(pattern.len() <= PATTERN, "{}", pattern.len());
    }

    #[test]
    fn a_line_of_another_target_is_no_ending_and_a_hostile_one_is_shown_as_text() {
        let ended = r#"{"timestamp":"2026-05-04T12:00:00.123456Z","level":"ERROR","message":"job ended","id":"a\u001b[2J","job":"n","attempt":3,
            "generation":4,"outcome":"failed","kind":"error","error":"no\nmore","run_ms":1200,"waited_ms":7,"request_id":"r","target":"sqjobs::ending"}"#;
        let ending = log().parse(ended).expect("an ending");
        let shown = line(&ending);
        assert!(shown.ends_with("  n  a\u{fffd}[2J  attempt 3, ran 1.2s, waited 7ms  error: no"), "{shown}");
        assert!(shown.starts_with("2026-05-04T12:00:00Z  f  "), "{shown}");
        assert_eq!(log().parse(&ended.replace("sqjobs::ending", "sqjobs::worker")), None);
        assert_eq!(log().parse("REPORT RequestId: 1"), None);
        let duplicate = r#"{"timestamp":"2026-05-04T12:00:00Z","level":"INFO","message":"duplicate discarded","id":"a","outcome":"duplicate",
            "state":"succeeded","message_id":"m","target":"sqjobs::ending"}"#;
        let ending = log().parse(duplicate).expect("an ending");
        assert!(line(&ending).contains("duplicate") && line(&ending).ends_with("  a"), "{}", line(&ending));
        let selected = |options: &str| wanted(&format!("sqjobs tail{options}")).selects(&ending);
        assert_eq!(
            ["", " --id a", " --outcome duplicate", " --id b", " --name n", " --outcome failed"].map(selected),
            [true, true, true, false, false, false]
        );
    }

    #[test]
    fn the_outcomes_are_those_that_functions_log() {
        let source = include_str!("../../../shared/src/lifecycle/ending.rs");
        let (_, code) = source.split_once("fn as_str").expect("the function that names endings");
        let named: BTreeSet<_> = code.split('"').skip(1).step_by(2).collect();
        assert_eq!(named, BTreeSet::from(OUTCOMES));
    }
}
