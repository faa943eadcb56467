//! Enqueues the jobs of a file.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, hash_map::Entry},
    io,
    path::PathBuf,
    time::Duration,
};

use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sqjobs::{
    Client, Envelope,
    envelope::{Form, Step},
    queue::is_fifo,
};
use tokio::signal::ctrl_c;

use super::{
    FIFO, FIFO_DELAY, answer,
    args::Options,
    duplicate::{Asked, duplicate, duplicate_workflow, firsts, missing},
    job::with,
    needs_beater,
};
use crate::{
    aws::Aws,
    command::{
        beater,
        queue::{self, DeadLetterQueues},
    },
    failure::Failure,
    lines::open,
    output::{Output, clean, progress},
    time,
};

/// The number of lines that are sent together.
const LINES: usize = 500;

/// The jobs of a file.
pub(super) struct Bulk<'a> {
    pub(super) aws: &'a Aws,
    pub(super) client: Client,
    /// The prefixes of other environments, as far as this user may list them.
    pub(super) environments: Vec<String>,
    pub(super) dlqs: DeadLetterQueues,
    pub(super) options: Options,
    pub(super) json: bool,
    pub(super) from: PathBuf,
}

/// Counts of the lines that were handled.
#[derive(Default)]
struct Done {
    /// Sent, and new as far as is known.
    new: usize,
    /// Sent, but not recorded or listed as requested.
    incomplete: usize,
    /// Sent, and known to be duplicates with the same arguments.
    duplicates: usize,
    refused: usize,
    nameless: usize,
    /// True if a FIFO queue may have discarded a message because of its deduplication id.
    is_deduplicated: bool,
    /// True if a job of a FIFO queue is delayed.
    is_delayed_in_order: bool,
    /// True if a beater is needed for a job.
    needs_beater: bool,
    /// Fields that this version does not know, each with a line that has it.
    unknown: BTreeMap<String, usize>,
    /// The queues of the file, each with the reason to refuse its jobs, if any.
    queues: HashMap<String, Option<String>>,
    /// Lines that repeat an earlier line, and were not sent.
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
    /// Returns the first difference to a later line with the same id. None: it is the same job.
    fn differs(&self, later: &Self) -> Option<&'static str> {
        let differences = [
            ("another name", self.name != later.name),
            ("another queue", self.queue != later.queue),
            ("other arguments", self.asked.digest != later.asked.digest),
            ("other dependencies", !self.asked.waits_like(&later.asked)),
            ("another time", (self.asked.run_at, self.delay) != (later.asked.run_at, later.delay)),
        ];
        differences.into_iter().find_map(|(what, differs)| differs.then_some(what))
    }
}

/// The options of a job that a line of a file can contain beside the fields of the message.
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

    /// Removes the options from a message, and returns them.
    fn take(envelope: &mut Envelope) -> Result<Options, String> {
        if envelope.form != Form::Native {
            return Ok(Options::default()); // older systems give these fields other meanings
        }
        let own = Self::FIELDS.into_iter().filter_map(|field| Some((field.to_owned(), envelope.unknown.remove(field)?)));
        let own: Map<String, Value> = own.filter(|(_, value)| !value.is_null()).collect();
        let line: Self = serde_json::from_value(Value::Object(own)).map_err(|error| {
            format!(
                "{error}; queue, delay, group and dedup are strings, recorded and listed are true or false, objects is an array of strings"
            )
        })?;
        if line.delay.is_some() && envelope.run_at.is_some() {
            return Err("delay and run_at cannot be used together; give one of them".into());
        }
        let Self { queue, delay, group, dedup, recorded, listed, objects } = line;
        let delay = delay.map(|delay| time::duration(&delay)).transpose()?;
        Ok(Options { queue, delay, group, dedup, recorded, listed, objects, ..Options::default() })
    }
}

impl Bulk<'_> {
    pub(super) async fn run(&self) -> Result<bool, Failure> {
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
                    return Err(Failure::new(interrupted_at(number, part.len(), done.nameless)));
                }
            }
            number += part.len();
            progress.set_message(format!("{} jobs", done.new + done.duplicates));
        }
        progress.finish_and_clear();
        if !done.unknown.is_empty() {
            let fields: Vec<_> = done.unknown.iter().map(|(field, line)| format!("{} (line {line})", clean(field))).collect();
            note!("warning: this version does not know these fields, and did not use them: {}", fields.join(", "));
        }
        if done.new + done.duplicates + done.refused == 0 {
            note!("no job was enqueued: the input is empty");
            return Ok(false);
        }
        if !self.json {
            let jobs = if done.new == 1 { "1 job enqueued".to_owned() } else { format!("{} jobs enqueued", done.new) };
            let counts = [
                ("duplicates that do not run again", done.duplicates),
                ("not recorded or listed", done.incomplete),
                ("repeated lines, not sent", done.repeated),
                ("refused lines", done.refused),
            ];
            let counts = counts.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("; {what}: {count}"));
            Output::new().line(jobs + &counts.collect::<String>())?;
        }
        if done.is_deduplicated {
            note!("{FIFO}");
        }
        if done.is_delayed_in_order {
            note!("{FIFO_DELAY}");
        }
        if done.needs_beater {
            beater::report_missing(self.aws).await;
        }
        Ok(done.refused + done.incomplete == 0)
    }

    /// Sends lines. `before` is the number of the lines before them.
    async fn send(&self, lines: &[String], before: usize, done: &mut Done) -> Result<(), Failure> {
        let mut places = Vec::new();
        let mut jobs = Vec::new();
        for (place, line) in lines.iter().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let read = Envelope::parse(line).map_err(|error| error.to_string());
            let read = read.and_then(|mut envelope| Ok((Line::take(&mut envelope)?, envelope))).and_then(refuse_mistakes);
            let of_another = |queue: &String| queue::of_another(&self.environments, &self.aws.queue(queue));
            match read.and_then(|(own, envelope)| own.queue.as_ref().and_then(of_another).map_or(Ok((own, envelope)), Err)) {
                Ok((own, envelope)) => {
                    done.unknown.extend(envelope.unknown.keys().map(|field| (field.clone(), before + place + 1)));
                    done.nameless += usize::from(envelope.id.is_none());
                    places.push(before + place + 1);
                    let job = sqjobs::Enqueue::named(&envelope.name.clone(), Value::Null).with(|own| *own = envelope);
                    let queue = self.options.queue.clone().or_else(|| own.queue.clone()).unwrap_or_else(|| job.name().to_owned());
                    let delay = self.options.delay.or(own.delay);
                    let job = with(with(job, &own), &self.options);
                    let queue = job.envelope().priority.queue_for_job(&queue);
                    jobs.push((self.aws.queue(&queue), delay, job));
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
        let now = self.aws.clock.now();
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
                                let why = format!("id {id} is in line {earlier} with {what}; give each job its own id");
                                self.refuse(line, &why, done)?;
                            }
                            None => self.repeat(line, &id, earlier, done)?,
                        }
                        continue;
                    }
                }
            }
            let first = job.envelope().id.as_ref().and_then(|id| firsts.get(id));
            let known = match first {
                Some(first) if !job.envelope().jobs.is_empty() => duplicate_workflow(self.aws, first, job.envelope()).await,
                first => first.and_then(|first| duplicate(first, job.envelope(), &queue)),
            };
            match known {
                Some((false, message)) => self.refuse(line, &message, done)?,
                known => {
                    let starts = delay.map(|delay| SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX));
                    let starts = starts.or_else(|| Some(job.envelope().run_at?.duration_since(now)));
                    done.needs_beater |= needs_beater(starts.unwrap_or_default(), job.envelope(), &queue);
                    let is_delayed = delay.is_some_and(|delay| !delay.is_zero()) || job.envelope().run_at.is_some();
                    done.is_delayed_in_order |= is_fifo(&queue) && is_delayed;
                    done.is_deduplicated |= is_fifo(&queue) && job.envelope().id.is_some();
                    sent_lines.push((line, queue, Asked::by(job.envelope()), known.is_some()));
                    own.push(job);
                }
            }
        }
        let answers = self.client.enqueue_many(own).await;
        for ((line, queue, asked, is_duplicate), sent) in sent_lines.into_iter().zip(answers) {
            match sent {
                Ok(sent) => {
                    *if is_duplicate { &mut done.duplicates } else { &mut done.new } += 1;
                    let missing = missing(&sent, &asked);
                    done.incomplete += usize::from(missing.is_some());
                    if self.json {
                        Output::new().json(&answer(&sent, Some(line)))?;
                    } else if let Some(missing) = missing {
                        note!("line {line}: {missing}");
                    }
                }
                Err(error) => self.refuse(line, &Failure::of_queue(error, self.aws.short(&queue)).into_message(), done)?,
            }
        }
        Ok(())
    }

    /// Reports a line that repeats an earlier line, and is not sent.
    fn repeat(&self, line: usize, id: &str, earlier: usize, done: &mut Done) -> Result<(), Failure> {
        done.repeated += 1;
        if self.json {
            Output::new().json(&json!({"line": line, "id": id, "repeats_line": earlier}))?;
        } else {
            note!("line {line}: not sent: line {earlier} has the same id {id}");
        }
        Ok(())
    }

    fn refuse(&self, line: usize, error: &str, done: &mut Done) -> Result<(), Failure> {
        done.refused += 1;
        let error = self.aws.place.with_options(error);
        if self.json {
            Output::new().json(&json!({"line": line, "error": error}))?;
        } else {
            note!("line {line}: {error}");
        }
        Ok(())
    }
}

/// Refuses a line with a field that is probably a mistake, because its job would run without it.
fn refuse_mistakes((own, envelope): (Options, Envelope)) -> Result<(Options, Envelope), String> {
    let unknown = |(field, remedy): (&str, Cow<'static, str>)| format!("the field {field} is unknown: {remedy}");
    let in_step = |(place, step): (usize, &Step)| {
        let (field, remedy) = step.job.mistaken_fields().next()?;
        Some(unknown((&format!("jobs[{place}].{field}"), remedy)))
    };
    let mistake = envelope.mistaken_fields().next().map(unknown);
    let mistake = mistake.or_else(|| envelope.jobs.iter().enumerate().find_map(in_step));
    mistake.map_or(Ok((own, envelope)), Err)
}

/// Returns the error of an interrupted command: the lines that were sent, and how to continue.
fn interrupted_at(before: usize, under_way: usize, nameless: usize) -> String {
    let (from, to) = (before + 1, before + under_way);
    let again = if nameless == 0 {
        "run the command again: no job runs twice".to_owned()
    } else {
        format!("continue with line {from}. A job without an id in the lines {from} to {to} may run twice")
    };
    format!("interrupted: lines 1 to {before} were sent, and also some of the lines {from} to {to}; {again}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_interrupted_is_told_how_to_go_on() {
        let safe = interrupted_at(1500, 500, 0);
        assert!(safe.contains("lines 1 to 1500 were sent") && safe.contains("run the command again"), "{safe}");
        assert!(interrupted_at(1500, 500, 1).contains("continue with line 1501"));
    }
}
