//! `sqjobs tail`: follows the endings of jobs on all queues, in the logs of their functions.
//!
//! A function logs each ending anyway, so jobs pay nothing for it. The command reads the logs again and again with `FilterLogEvents`. Unlike
//! a session of Live Tail, such a request has no price, and it does not sample lines.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    time::{Duration, Instant},
};

use aws_sdk_cloudwatchlogs::{
    error::{ProvideErrorMetadata as _, SdkError},
    operation::filter_log_events::FilterLogEventsError,
    types::FilteredLogEvent,
};
use clap::{Args, builder::PossibleValuesParser};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sqjobs::State;
use tokio::{
    signal::ctrl_c,
    time::{Interval, MissedTickBehavior, interval, sleep},
};

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
    /// Show only jobs with this name. Repeat the option for more names. Lines without a name, such as those of duplicates, are not shown.
    #[arg(long = "name", value_name = "NAME", value_parser = text)]
    pub(crate) names: Vec<String>,
    /// Show only this outcome. Repeat the option for more outcomes.
    #[arg(long = "outcome", value_name = "OUTCOME", value_parser = PossibleValuesParser::new(OUTCOMES))]
    pub(crate) outcomes: Vec<String>,
    /// Show only the job with this id. Repeat the option for more ids.
    #[arg(long = "id", value_name = "ID", value_parser = text)]
    pub(crate) ids: Vec<String>,
    /// Also show the endings of this time before now, such as 10m.
    #[arg(long, value_name = "DURATION", value_parser = time::duration, default_value = "0s")]
    pub(crate) since: Duration,
    /// Stop after this time. With 0s, stop after the first look. Default: the command goes on until Ctrl-C.
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
/// Shortest time between two looks, and between two requests. An account has at least five requests per second in a region: "CloudWatch
/// Logs quotas" in its user guide.
const PAUSE: Duration = Duration::from_secs(1);
const PACE: Duration = Duration::from_millis(250);
/// Maximum additional time for the last look, if CloudWatch refuses requests.
const GRACE: Duration = Duration::from_mins(1);
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

/// A log group, and how far it was read.
struct Log {
    group: String,
    /// The functions to follow that log there.
    functions: BTreeSet<String>,
    from: Timestamp,
    /// The page at which the next request continues a look.
    next_page: Option<String>,
    /// Hashes of the lines since `from`, with their times in milliseconds.
    seen: HashMap<u64, i64>,
    state: Reading,
}

/// The result of the last look at a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// It was read to its end.
    Complete,
    /// CloudWatch refused a request for now. The next look continues there.
    Refused,
    /// The log group does not exist yet.
    Missing,
    /// The user may not read it.
    Denied,
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
    let pause = PAUSE.max(PACE * u32::try_from(logs.len()).unwrap_or(u32::MAX));
    let names: Vec<_> = logs.iter().flat_map(|log| &log.functions).map(|function| clean(function)).collect();
    let every = if logs.len() == 1 { "a request".into() } else { format!("{} requests", logs.len()) };
    note!("following the logs of {}; at least {every} every {}; Ctrl-C ends it", names.join(", "), fine(pause));
    let mut turns = interval(PACE);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut output, mut was_refused) = (Output::new(), false);
    loop {
        let (looked, mut endings) = (Instant::now(), Vec::new());
        for log in logs.iter_mut().filter(|log| log.state != Reading::Denied) {
            log.read(aws, &pattern, &mut turns, &mut endings).await?;
        }
        if logs.iter().all(|log| log.state == Reading::Denied) {
            return Err(Failure::new("no log can be read; `sqjobs permissions --for reader` prints a policy that allows it"));
        }
        endings.retain(|ending| wanted.selects(ending));
        endings.sort_by_key(|ending| ending.at);
        for ending in &endings {
            if wanted.json {
                output.json(ending)?;
            } else {
                output.line(line(ending))?;
            }
        }
        let is_refused = logs.iter().any(|log| log.state == Reading::Refused);
        if is_refused && !was_refused {
            note!("CloudWatch refuses requests or does not answer; lines appear later");
        }
        was_refused = is_refused;
        if let Some(within) = wanted.within.filter(|within| started.elapsed() >= *within) {
            if !is_refused {
                return Ok(());
            }
            if started.elapsed() >= within + GRACE {
                return Err(Failure::new("not all lines were read: CloudWatch refuses requests or does not answer; try again later"));
            }
        }
        let left = wanted.within.map(|within| within.saturating_sub(started.elapsed())).filter(|left| !left.is_zero());
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
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for function in functions {
        let own = match aws.lambda().get_function_configuration().function_name(&function).send().await {
            Ok(own) => own.logging_config.and_then(|logging| logging.log_group),
            // Without the permission to read the function, it counts as one with the usual log group.
            Err(error) if matches!(error.code(), Some("AccessDeniedException" | "ResourceNotFoundException")) => None,
            Err(error) => return Err(Failure::because(&format!("cannot read the function {function}"), error)),
        };
        groups.entry(own.unwrap_or_else(|| format!("/aws/lambda/{function}"))).or_default().insert(function);
    }
    let log = |(group, functions)| Log { group, functions, from, next_page: None, seen: HashMap::new(), state: Reading::Complete };
    Ok(groups.into_iter().map(log).collect())
}

impl Log {
    /// Adds the endings that are new since the last look.
    async fn read(&mut self, aws: &Aws, pattern: &str, turns: &mut Interval, endings: &mut Vec<Ending>) -> Result<(), Failure> {
        let now = aws.clock.now();
        loop {
            turns.tick().await;
            let wanted = aws.logs().filter_log_events().log_group_name(&self.group).start_time(self.from.as_millisecond());
            let page = wanted.filter_pattern(pattern).set_next_token(self.next_page.clone()).send().await;
            let page = match page {
                Ok(page) => page,
                Err(error) => return self.unread(error),
            };
            for event in page.events.unwrap_or_default() {
                endings.extend(self.unseen(&event));
            }
            self.next_page = page.next_token;
            if self.next_page.is_none() {
                break;
            }
        }
        // Only a look to the end moves the window.
        self.state = Reading::Complete;
        self.from = self.from.max(now - OVERLAP);
        self.seen.retain(|_, at| *at >= self.from.as_millisecond());
        Ok(())
    }

    /// Returns the ending in an event that was not seen before.
    fn unseen(&mut self, event: &FilteredLogEvent) -> Option<Ending> {
        let (at, line) = (event.timestamp?, event.message.as_ref()?);
        let line_hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(line);
        if self.seen.insert(line_hash, at).is_some() {
            return None;
        }
        self.parse(line, event.log_stream_name.as_deref().unwrap_or_default())
    }

    /// Returns the ending that a line tells, if it does, and if it is of a followed function. In a group that functions share, the name of
    /// the stream has the name of the function: `2026/05/04/adder[$LATEST]…`. Source: "Configuring CloudWatch log groups" in the developer
    /// guide of Lambda.
    fn parse(&self, line: &str, stream: &str) -> Option<Ending> {
        let ending: Ending = serde_json::from_str(line).ok().filter(|ending: &Ending| ending.target == TARGET)?;
        let named = stream.rsplit('/').next().and_then(|last| last.split_once('[')).map(|(name, _)| name).filter(|name| !name.is_empty());
        let function = match named {
            Some(name) => self.functions.get(name)?,
            None => self.functions.first()?,
        };
        Some(Ending { function: function.clone(), ..ending })
    }

    /// Handles an error. The next look continues at the same page.
    fn unread(&mut self, error: SdkError<FilterLogEventsError>) -> Result<(), Failure> {
        let group = clean(&self.group);
        let is_server = error.raw_response().is_some_and(|response| response.status().is_server_error());
        let is_network = matches!(error, SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) | SdkError::ResponseError(_));
        self.state = match error.code() {
            Some("ThrottlingException" | "ServiceUnavailableException") => Reading::Refused,
            _ if is_server || is_network => Reading::Refused,
            // Lambda creates it with the first invocation.
            Some("ResourceNotFoundException") => {
                if self.state != Reading::Missing {
                    let functions = self.functions.iter().map(|function| clean(function)).collect::<Vec<_>>().join(", ");
                    note!("function {functions} has not logged yet: there is no log group {group}");
                }
                Reading::Missing
            }
            Some("AccessDeniedException") if self.state != Reading::Denied => {
                note!("cannot read the log group {group}, which needs the permission logs:FilterLogEvents; its lines are left out");
                Reading::Denied
            }
            _ => return Err(Failure::because(&format!("cannot read the log group {group}"), error)),
        };
        Ok(())
    }
}

/// Returns the filter that CloudWatch applies. It leaves out values with special characters, and values that do not fit into a pattern: the
/// command filters them itself.
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
        Log {
            group: String::new(),
            functions: ["f".to_owned(), "g".to_owned()].into(),
            from: Timestamp::MIN,
            next_page: None,
            seen: HashMap::new(),
            state: Reading::Complete,
        }
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
    fn only_ending_lines_are_shown_and_a_hostile_one_is_shown_as_text() {
        let ended = r#"{"timestamp":"2026-05-04T12:00:00.123456Z","level":"ERROR","message":"job ended","id":"a\u001b[2J","job":"n","attempt":3,
            "generation":4,"outcome":"failed","kind":"error","error":"no\nmore","run_ms":1200,"waited_ms":7,"request_id":"r","target":"sqjobs::ending"}"#;
        let ending = log().parse(ended, "2026/05/04/[$LATEST]1").expect("an ending");
        let shown = line(&ending);
        assert!(shown.ends_with("  n  a\u{fffd}[2J  attempt 3, ran 1.2s, waited 7ms  error: no"), "{shown}");
        assert!(shown.starts_with("2026-05-04T12:00:00Z  f  "), "{shown}");
        assert_eq!(log().parse(&ended.replace("sqjobs::ending", "sqjobs::worker"), ""), None);
        assert_eq!(log().parse("REPORT RequestId: 1", ""), None);
        let duplicate = r#"{"timestamp":"2026-05-04T12:00:00Z","level":"INFO","message":"duplicate discarded","id":"a","outcome":"duplicate",
            "state":"succeeded","message_id":"m","target":"sqjobs::ending"}"#;
        let ending = log().parse(duplicate, "").expect("an ending");
        assert!(line(&ending).contains("duplicate") && line(&ending).ends_with("  a"), "{}", line(&ending));
        let selected = |options: &str| wanted(&format!("sqjobs tail{options}")).selects(&ending);
        assert_eq!(
            ["", " --id a", " --outcome duplicate", " --id b", " --name n", " --outcome failed"].map(selected),
            [true, true, true, false, false, false]
        );
    }

    #[test]
    fn the_name_of_a_stream_tells_the_function_in_a_shared_group() {
        let line = r#"{"timestamp":"2026-05-04T12:00:00Z","level":"INFO","id":"a","outcome":"succeeded","target":"sqjobs::ending"}"#;
        let function = |stream: &str| log().parse(line, stream).map(|ending| ending.function);
        assert_eq!(function("2026/05/04/g[$LATEST]abc").as_deref(), Some("g"));
        assert_eq!(function("2026/05/04/other[3]abc"), None);
        assert_eq!(function("2026/05/04/[$LATEST]abc").as_deref(), Some("f"));
    }

    #[test]
    fn the_outcomes_are_those_that_functions_log() {
        let source = include_str!("../../../shared/src/lifecycle/ending.rs");
        let (_, code) = source.split_once("fn as_str").expect("the function that names endings");
        let named: BTreeSet<_> = code.split('"').skip(1).step_by(2).collect();
        assert_eq!(named, BTreeSet::from(OUTCOMES));
    }
}
