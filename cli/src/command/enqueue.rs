//! Enqueues one job, or all of a file.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::future::join;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sqjobs::{
    Client, Enqueued, Envelope, Record, State,
    envelope::Digest,
    envelope::Form,
    lifecycle::{SKEW, waits_for_other_time},
    store::{DynamoDb, Store as _},
};
use tokio::signal::ctrl_c;

use super::{
    follow::{self, Follow, Sent},
    queue::{self, DeadLetterQueues},
    table,
};
use crate::{
    args::{Enqueue, Options},
    aws::Aws,
    failure::Failure,
    output::{Output, clean, progress},
    sentence::shell,
    time,
};

/// Lines that are sent before the next are read.
const LINES: usize = 500;

pub(super) async fn enqueue(aws: &Aws, wanted: Enqueue) -> Result<bool, Failure> {
    table::refuse_other(aws).await?;
    let client = aws.client();
    // The usual queue of a job has the same name in all environments.
    let environments = async {
        match (&wanted.from, &wanted.options.queue) {
            (None, None) => Vec::new(),
            _ => table::environments(aws).await.unwrap_or_default(),
        }
    };
    let (environments, dlqs) = join(environments, DeadLetterQueues::read(aws)).await;
    if let Some(refusal) = wanted.options.queue.as_ref().and_then(|queue| queue::of_another(&environments, &aws.queue(queue))) {
        return Err(Failure::said(refusal));
    }
    match (wanted.from, wanted.name) {
        (Some(file), _) => Bulk { aws, client, environments, dlqs, options: wanted.options, json: wanted.json, from: file }.run().await,
        (None, Some(name)) => {
            dlqs.refuse(aws, wanted.options.queue.as_deref().unwrap_or(&name)).await?;
            let mut job = job(&name, wanted.args.as_deref(), &wanted.options)?;
            if let Some(id) = wanted.id {
                job = job.id(id);
            }
            let queue = aws.queue(wanted.options.queue.as_deref().unwrap_or(&name));
            let ids: Vec<_> = job.envelope().id.clone().into_iter().collect();
            if let Some(first) = firsts(aws, &ids).await.pop().flatten() {
                let (is_same, said) = duplicate(&first, job.envelope(), &queue);
                anstream::eprintln!("{}", aws.place.with_options(&said));
                if !is_same {
                    return Ok(false);
                }
            }
            // The clocks of this machine and of SQS may differ.
            let since = {
                let now = aws.clock.now();
                now.checked_sub(SignedDuration::try_from(SKEW).unwrap_or_default()).unwrap_or(now)
            };
            let asked = Asked::by(job.envelope());
            let sent = client.enqueue_one(job).await.map_err(|error| Failure::of_queue(error, aws.short(&queue)))?;
            if wanted.json {
                Output::new().json(&answer(&sent, None))?;
            } else {
                Output::new().line(&sent.id)?;
            }
            let missing = missing(&sent, &asked);
            if let Some(missing) = &missing {
                anstream::eprintln!("{missing}");
            }
            let is_done = !wanted.wait || {
                let sent_here = Some(Sent { queue, since });
                let is_done = Follow { aws, id: &sent.id, within: follow::PATIENCE, json: wanted.json, sent: sent_here }.run().await?;
                // Another job of this id may have been enqueued before, and have had no record yet.
                let ran = client.get(&sent.id).await?.and_then(|record| record.digest);
                let is_own = ran.is_none_or(|ran| ran == asked.digest);
                if !is_own {
                    anstream::eprintln!(
                        "{} ran with other arguments, of an earlier job of this id; these arguments did not run",
                        clean(&sent.id)
                    );
                }
                is_done && is_own
            };
            Ok(is_done && missing.is_none())
        }
        (None, None) => Err(Failure::said("no job is named; give its name, or a file by --from")),
    }
}

/// A job of that name.
pub(super) fn job(name: &str, args: Option<&str>, options: &Options) -> Result<sqjobs::Enqueue, Failure> {
    Ok(with(sqjobs::Enqueue::named(name, arguments(args)?), options))
}

/// Reads arguments: JSON, or where it is.
pub(super) fn arguments(text: Option<&str>) -> Result<Value, Failure> {
    let cannot = |file: &str, error| Failure::because(&format!("cannot read the arguments from {file}"), error);
    let text = match text {
        None => return Ok(Value::Null),
        Some("-") => io::read_to_string(io::stdin()).map_err(|error| cannot("standard input", error))?,
        Some(text) => match text.strip_prefix('@') {
            Some(file) => fs::read_to_string(file).map_err(|error| cannot(file, error))?,
            None => text.to_owned(),
        },
    };
    let args = serde_json::from_str(&text).map_err(|error| {
        Failure::said(format!("the arguments are not JSON: {error}; write [1, 2], '{{\"to\": \"x\"}}', '\"text\"', @FILE or -"))
    })?;
    Envelope::check_integers(&format!(r#"{{"args": {text}}}"#)).map_err(|flaw| Failure::because("cannot enqueue the job", flaw))?;
    Ok(args)
}

/// The answer to an enqueue as JSON, with the number of its line.
fn answer(sent: &Enqueued, line: Option<usize>) -> Value {
    let Enqueued { id, message_id, unrecorded, unlisted, .. } = sent;
    let mut answer = json!({"id": id, "message_id": message_id});
    let more = [
        ("line", line.map(Value::from)),
        ("unrecorded", unrecorded.clone().map(Value::from)),
        ("unlisted", unlisted.clone().map(Value::from)),
    ];
    for (name, value) in more {
        if let Some(value) = value {
            answer[name] = value;
        }
    }
    answer
}

/// The arguments of a job, and the instant that it names. A delay names none: the same command gives another instant later.
struct Asked {
    digest: Digest,
    run_at: Option<Timestamp>,
}

impl Asked {
    fn by(envelope: &Envelope) -> Self {
        Self { digest: envelope.digest(), run_at: envelope.run_at }
    }

    /// Returns true where an earlier job of the same id waits for another instant.
    fn is_at_other_time(&self, first: &Record) -> bool {
        self.run_at.is_some() && waits_for_other_time(first, self.run_at)
    }
}

/// Says what was asked for and could not be written beside the message, or that another job has the id.
fn missing(sent: &Enqueued, asked: &Asked) -> Option<String> {
    let id = clean(&sent.id);
    let unrecorded = sent.unrecorded.as_ref().map(|why| format!("its record could not be written ({why}): its first attempt writes it"));
    let unlisted = sent.unlisted.as_ref().map(|why| {
        format!("it is missing in some of its lists ({why}): enqueue it once more with the id {id} to list it; it does not run twice")
    });
    let other = sent.first.as_ref().and_then(|first| match first.run_at {
        _ if first.digest.is_some_and(|first| first != asked.digest) => {
            Some("a job of this id has other arguments, and one of both runs".to_owned())
        }
        at if asked.is_at_other_time(first) => Some(format!(
            "a job of this id already waits{}, and keeps its time",
            at.map(|at| format!(" until {}", time::exact(at))).unwrap_or_default()
        )),
        _ => None,
    });
    let missing: Vec<_> = [unrecorded, unlisted, other].into_iter().flatten().collect();
    (!missing.is_empty()).then(|| clean(&format!("{id} is enqueued, but {}", missing.join("; "))))
}

/// The options of a job that a line of a file may give beside the fields of the message.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Line {
    queue: Option<String>,
    delay: Option<String>,
    group: Option<String>,
    dedup: Option<String>,
    recorded: bool,
    listed: bool,
    objects: Vec<String>,
}

impl Line {
    const FIELDS: [&str; 7] = ["queue", "delay", "group", "dedup", "recorded", "listed", "objects"];

    /// Takes the options out of a message, which does not carry them.
    fn take(envelope: &mut Envelope) -> Result<Options, String> {
        if envelope.form != Form::Native {
            return Ok(Options::default()); // older systems give these fields other meanings
        }
        let own = Self::FIELDS.into_iter().filter_map(|field| Some((field.to_owned(), envelope.unknown.remove(field)?)));
        let own: Map<String, Value> = own.filter(|(_, value)| !value.is_null()).collect();
        let line: Self = serde_json::from_value(Value::Object(own)).map_err(|error| {
            format!("{error}; queue, delay, group and dedup are texts, recorded and listed true or false, objects an array of texts")
        })?;
        if line.delay.is_some() && envelope.run_at.is_some() {
            return Err("delay and run_at exclude each other; give one of them".into());
        }
        let Self { queue, delay, group, dedup, recorded, listed, objects } = line;
        let delay = delay.map(|delay| time::duration(&delay)).transpose()?;
        Ok(Options { queue, delay, group, dedup, recorded, listed, objects, ..Options::default() })
    }
}

fn with(mut job: sqjobs::Enqueue, options: &Options) -> sqjobs::Enqueue {
    let Options { queue, delay, at, expires, max_attempts, tags, meta, group, dedup, recorded, listed, objects } = options.clone();
    if let Some(queue) = queue {
        job = job.queue(queue);
    }
    if let Some(delay) = delay {
        job = job.delay(delay);
    }
    if let Some(at) = at {
        job = job.run_at(at);
    }
    if let Some(expires) = expires {
        job = job.expires_at(expires);
    }
    if let Some(attempts) = max_attempts {
        job = job.max_attempts(attempts);
    }
    if let Some(group) = group {
        job = job.group(group);
    }
    if let Some(dedup) = dedup {
        job = job.dedup(dedup);
    }
    if recorded {
        job = job.recorded();
    }
    if listed {
        job = job.listed();
    }
    job = tags.into_iter().fold(job, sqjobs::Enqueue::tag);
    job = objects.into_iter().fold(job, sqjobs::Enqueue::object);
    // A number is kept as one, unless digits would be lost.
    meta.into_iter().fold(job, |job, (key, value)| {
        let is_whole = Envelope::check_integers(&format!(r#"{{"meta": {value}}}"#)).is_ok();
        let value = serde_json::from_str(&value).ok().filter(|_| is_whole).unwrap_or(Value::String(value));
        job.meta(key, value)
    })
}

/// The records of jobs that were enqueued before. A producer need not have the right to read them.
async fn firsts(aws: &Aws, ids: &[String]) -> Vec<Option<Record>> {
    let store = DynamoDb::new(aws.dynamodb(), aws.place.table());
    let read = store.read(ids).await;
    if let Some(error) = read.iter().find_map(|answer| answer.as_ref().err()) {
        anstream::eprintln!("it is not known whether a job of this id was enqueued before: {}", clean(&error.to_string()));
    }
    read.into_iter().map(|answer| answer.ok().flatten()).collect()
}

/// Says what a record means for a job that is enqueued with its id, and whether the two are the same.
fn duplicate(first: &Record, envelope: &Envelope, queue: &str) -> (bool, String) {
    let at = first.finished_at.map(|at| format!(" at {}", time::exact(at))).unwrap_or_default();
    let id = clean(&first.id);
    let state = match first.state {
        State::Cancelled if first.name.is_empty() => format!("{id} was cancelled{at} before any function saw it"),
        state if state.is_terminal() => format!("{id} already ended{at} ({})", state.as_str()),
        state => {
            let due = first.run_at.map(|at| format!(", due at {}", time::exact(at))).unwrap_or_default();
            format!("{id} is already {}{due}", state.as_str())
        }
    };
    let asked = Asked::by(envelope);
    let differs = match &first.digest {
        _ if first.name.is_empty() => {
            format!("`sqjobs retry {} ARGS --name {}` runs it after all", shell(&first.id), shell(&envelope.name))
        }
        _ if first.queue != queue => format!("the id belongs to job {} on queue {}", clean(&first.name), clean(&first.queue)),
        Some(digest) if *digest == asked.digest && asked.is_at_other_time(first) => {
            return (
                false,
                format!("{state}, and keeps its time; nothing was enqueued: enqueue a job for another time with an id of its own"),
            );
        }
        Some(digest) if *digest == asked.digest => {
            let once = if first.state.is_terminal() { "it does not run again" } else { "it runs once however often it is enqueued" };
            return (true, format!("{state}; its arguments were the same, and {once}"));
        }
        Some(_) => "its arguments were different".into(),
        None => "it is not known if its arguments were the same".into(),
    };
    (false, format!("{state}; these arguments did not run, and nothing was enqueued: {differs}"))
}

/// The jobs of a file.
struct Bulk<'a> {
    aws: &'a Aws,
    client: Client,
    /// The prefixes of other environments, as far as this user may list them.
    environments: Vec<String>,
    dlqs: DeadLetterQueues,
    options: Options,
    json: bool,
    from: PathBuf,
}

/// How far it came.
#[derive(Default)]
struct Done {
    sent: usize,
    /// Sent, and not listed or recorded as was asked for.
    incomplete: usize,
    /// Sent, and known to be duplicates with the same arguments.
    duplicates: usize,
    refused: usize,
    nameless: usize,
    /// Fields that this version does not know.
    unknown: BTreeSet<String>,
    /// The queues of the file, each with the reason why no job is sent to it.
    queues: HashMap<String, Option<String>>,
    /// Lines that repeat an earlier one, and were not sent.
    repeated: usize,
    /// The ids of the file, each with the first line that has it.
    ids: HashMap<String, First>,
}

/// The first line of a file that has an id.
struct First {
    line: usize,
    name: String,
    queue: String,
    asked: Asked,
    delay: Option<Duration>,
}

impl First {
    /// Names what a later line of the same id has otherwise. None: it is the same job.
    fn differs(&self, later: &Self) -> Option<&'static str> {
        let differences = [
            ("another name", self.name != later.name),
            ("another queue", self.queue != later.queue),
            ("other arguments", self.asked.digest != later.asked.digest),
            ("another time", (self.asked.run_at, self.delay) != (later.asked.run_at, later.delay)),
        ];
        differences.into_iter().find_map(|(what, differs)| differs.then_some(what))
    }
}

impl Bulk<'_> {
    async fn run(&self) -> Result<bool, Failure> {
        let (mut lines, length) = open(&self.from)?;
        let progress = progress(length, "");
        let mut done = Done::default();
        let mut number = 0;
        loop {
            let part: Vec<_> = lines.by_ref().take(LINES).collect::<io::Result<_>>()?;
            if part.is_empty() {
                break;
            }
            progress.inc(part.iter().map(|line| line.len() as u64 + 1).sum());
            let sending = self.send(&part, number, &mut done);
            tokio::select! {
                sent = sending => sent?,
                interrupted = ctrl_c() => {
                    interrupted?;
                    progress.finish_and_clear();
                    return Err(Failure::said(interrupted_at(number, part.len(), done.nameless)));
                }
            }
            number += part.len();
            progress.set_message(format!("{} jobs", done.sent));
        }
        progress.finish_and_clear();
        if !done.unknown.is_empty() {
            let fields: Vec<_> = done.unknown.iter().map(|field| clean(field)).collect();
            anstream::eprintln!("warning: this version does not know the fields {}; they were sent as they are", fields.join(", "));
        }
        if done.sent + done.refused == 0 {
            anstream::eprintln!("no job enqueued: the input is empty");
            return Ok(false);
        }
        if !self.json {
            let incomplete =
                if done.incomplete > 0 { format!(", {} of them not recorded or listed", done.incomplete) } else { String::new() };
            let refused = if done.refused > 0 { format!(", {} refused", done.refused) } else { String::new() };
            let again =
                if done.duplicates > 0 { format!(", {} of them duplicates that do not run again", done.duplicates) } else { String::new() };
            let repeated = if done.repeated > 0 { format!(", {} repeated lines left out", done.repeated) } else { String::new() };
            Output::new().line(format!("{} jobs enqueued{again}{incomplete}{repeated}{refused}", done.sent))?;
        }
        Ok(done.refused + done.incomplete == 0)
    }

    /// Sends lines of which the first is the one after `before`.
    async fn send(&self, lines: &[String], before: usize, done: &mut Done) -> Result<(), Failure> {
        let mut places = Vec::new();
        let mut jobs = Vec::new();
        for (place, line) in lines.iter().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let read = Envelope::parse(line).map_err(|error| error.to_string());
            let read = read.and_then(|mut envelope| Ok((Line::take(&mut envelope)?, envelope)));
            let of_another = |queue: &String| queue::of_another(&self.environments, &self.aws.queue(queue));
            match read.and_then(|(own, envelope)| own.queue.as_ref().and_then(of_another).map_or(Ok((own, envelope)), Err)) {
                Ok((own, envelope)) => {
                    done.unknown.extend(envelope.unknown.keys().cloned());
                    done.nameless += usize::from(envelope.id.is_none());
                    places.push(before + place + 1);
                    let job = sqjobs::Enqueue::named(&envelope.name.clone(), Value::Null).with(|own| *own = envelope);
                    let queue = self.options.queue.clone().or_else(|| own.queue.clone()).unwrap_or_else(|| job.name().to_owned());
                    let delay = self.options.delay.or(own.delay);
                    jobs.push((self.aws.queue(&queue), delay, with(with(job, &own), &self.options)));
                }
                Err(error) => self.refuse(before + place + 1, &error, done)?,
            }
        }
        let ids: Vec<_> = jobs.iter().filter_map(|(.., job)| job.envelope().id.clone()).collect();
        let firsts: HashMap<_, _> = firsts(self.aws, &ids).await.into_iter().flatten().map(|first| (first.id.clone(), first)).collect();
        for (queue, ..) in &jobs {
            if !done.queues.contains_key(queue) {
                done.queues.insert(queue.clone(), self.dlqs.refusal(self.aws, queue).await);
            }
        }
        let (mut sent_lines, mut own) = (Vec::new(), Vec::new());
        for (line, (queue, delay, job)) in places.into_iter().zip(jobs) {
            if let Some(why) = done.queues.get(&queue).cloned().flatten() {
                self.refuse(line, &why, done)?;
                continue;
            }
            if let Some(id) = job.envelope().id.clone() {
                let asked = Asked::by(job.envelope());
                let own = First { line, name: job.name().to_owned(), queue: queue.clone(), asked, delay };
                match done.ids.entry(id) {
                    Entry::Vacant(vacant) => drop(vacant.insert(own)),
                    Entry::Occupied(first) => {
                        let (id, first) = (clean(first.key()), first.get());
                        let earlier = first.line;
                        match first.differs(&own) {
                            Some(what) => {
                                let why = format!("id {id} stands in line {earlier} with {what}; give each job an id of its own");
                                self.refuse(line, &why, done)?;
                            }
                            None => self.repeat(line, &id, earlier, done)?,
                        }
                        continue;
                    }
                }
            }
            let first = job.envelope().id.as_ref().and_then(|id| firsts.get(id));
            match first.map(|first| duplicate(first, job.envelope(), &queue)) {
                Some((false, said)) => self.refuse(line, &said, done)?,
                known => {
                    done.duplicates += usize::from(known.is_some());
                    sent_lines.push((line, queue, Asked::by(job.envelope())));
                    own.push(job);
                }
            }
        }
        let answers = self.client.enqueue_many(own).await;
        for ((line, queue, asked), sent) in sent_lines.into_iter().zip(answers) {
            match sent {
                Ok(sent) => {
                    done.sent += 1;
                    let missing = missing(&sent, &asked);
                    done.incomplete += usize::from(missing.is_some());
                    if self.json {
                        Output::new().json(&answer(&sent, Some(line)))?;
                    } else if let Some(missing) = missing {
                        anstream::eprintln!("line {line}: {missing}");
                    }
                }
                Err(error) => self.refuse(line, &Failure::of_queue(error, &shell(self.aws.short(&queue))).told(), done)?,
            }
        }
        Ok(())
    }

    /// Says that a line repeats an earlier one, and is not sent.
    fn repeat(&self, line: usize, id: &str, earlier: usize, done: &mut Done) -> Result<(), Failure> {
        done.repeated += 1;
        if self.json {
            Output::new().json(&json!({"line": line, "id": id, "repeats_line": earlier}))?;
        } else {
            anstream::eprintln!("line {line}: a duplicate of line {earlier}, which has the same id {id}; it was left out");
        }
        Ok(())
    }

    fn refuse(&self, line: usize, error: &str, done: &mut Done) -> Result<(), Failure> {
        done.refused += 1;
        let error = self.aws.place.with_options(error);
        if self.json {
            Output::new().json(&json!({"line": line, "error": error}))?;
        } else {
            anstream::eprintln!("line {line}: {error}");
        }
        Ok(())
    }
}

/// How far it came, and how to go on.
fn interrupted_at(before: usize, under_way: usize, nameless: usize) -> String {
    let (from, to) = (before + 1, before + under_way);
    let again = if nameless == 0 {
        "run the command again: no job runs twice".to_owned()
    } else {
        format!("go on from line {from}: a job without an id that is sent again runs again")
    };
    format!("interrupted: lines 1 to {before} were sent, and some of lines {from} to {to}; {again}")
}

type Lines = Box<dyn Iterator<Item = io::Result<String>>>;

/// The lines of a file, and its length if that is known.
pub(super) fn open(path: &Path) -> Result<(Lines, Option<u64>), Failure> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(io::stdin().lines()), None));
    }
    let file = File::open(path).map_err(|error| Failure::because(&format!("cannot read {}", path.display()), error))?;
    let length = file.metadata().ok().map(|metadata| metadata.len());
    Ok((Box::new(BufReader::new(file).lines()), length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_json_and_else_the_error_shows_how_to_write_them() {
        assert!(matches!(arguments(Some("[1]")), Ok(value) if value == json!([1])));
        assert!(matches!(arguments(None), Ok(Value::Null)));
        assert!(matches!(arguments(Some("hello")), Err(Failure::Said(error)) if error.contains("'\"text\"'")));
        assert!(
            matches!(arguments(Some("[18446744073709551616]")), Err(Failure::Said(error)) if error.contains("args: it has an integer"))
        );
    }

    #[test]
    fn arguments_are_read_from_a_file() {
        let file = concat!("@", env!("CARGO_MANIFEST_DIR"), "/output.schema.json");
        assert!(matches!(arguments(Some(file)), Ok(value) if value["$defs"].is_object()));
        let missing = arguments(Some("@nowhere.json")).expect_err("there is none").told();
        assert!(missing.starts_with("cannot read the arguments from nowhere.json"), "{missing}");
    }

    #[test]
    fn a_duplicate_says_how_the_first_job_ended_and_what_differs() {
        let envelope = Envelope::new("n", json!([1]));
        let first = |change: Value| -> Record {
            let mut record = json!({
                "id": "a", "name": "n", "queue": "q", "state": "succeeded", "finished_at": "2026-05-04T12:00:00Z",
                "digest": serde_json::to_value(envelope.digest()).expect("plain data"),
            });
            record.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
            serde_json::from_value(record).expect("a record")
        };
        let other = serde_json::to_value(Envelope::new("n", json!([2])).digest()).expect("plain data");
        let cases = [
            (json!({}), true, "a already ended at 2026-05-04T12:00:00Z (succeeded); its arguments were the same"),
            (json!({"state": "queued", "finished_at": null}), true, "a is already queued; its arguments were the same, and it runs once"),
            (json!({"digest": other}), false, "nothing was enqueued: its arguments were different"),
            (json!({"digest": null}), false, "it is not known if its arguments were the same"),
            (json!({"queue": "p", "state": "running", "finished_at": null}), false, "a is already running; these arguments did not run"),
            (
                json!({"state": "queued", "run_at": "2026-05-04T13:00:00Z"}),
                true,
                "a is already queued, due at 2026-05-04T13:00:00Z; its arguments",
            ),
            (json!({"queue": "p"}), false, "the id belongs to job n on queue p"),
            (json!({"name": "", "state": "cancelled"}), false, "a was cancelled at 2026-05-04T12:00:00Z before any function saw it"),
            (json!({"name": ""}), false, "`sqjobs retry a ARGS --name n` runs it after all"),
        ];
        for (change, is_same, part) in cases {
            let (same, said) = duplicate(&first(change), &envelope, "q");
            assert!(same == is_same && said.contains(part), "{said}");
        }
        let first = first(json!({"state": "queued", "run_at": "2026-05-04T13:00:00Z"}));
        for (run_at, is_same) in [("2026-05-04T13:00:00Z", true), ("2026-05-04T14:00:00Z", false)] {
            let mut envelope = envelope.clone();
            envelope.run_at = run_at.parse().ok();
            let (same, said) = duplicate(&first, &envelope, "q");
            assert!(
                same == is_same && same != said.contains("due at 2026-05-04T13:00:00Z, and keeps its time; nothing was enqueued"),
                "{said}"
            );
        }
    }

    #[test]
    fn whoever_is_interrupted_is_told_how_to_go_on() {
        let safe = interrupted_at(1500, 500, 0);
        assert!(safe.contains("lines 1 to 1500 were sent") && safe.contains("run the command again"), "{safe}");
        assert!(interrupted_at(1500, 500, 1).contains("go on from line 1501"));
    }
}
