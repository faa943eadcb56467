//! Enqueues one job, or all of a file.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sqjobs::{Client, Envelope};
use tokio::signal::ctrl_c;

use super::follow;
use crate::{
    args::{Enqueue, Options},
    aws::Aws,
    failure::Failure,
    output::{Output, progress},
};

/// Lines that are sent before the next are read.
const LINES: usize = 500;

pub(super) async fn enqueue(aws: &Aws, wanted: Enqueue) -> Result<bool, Failure> {
    let client = aws.client();
    match (wanted.from, wanted.name) {
        (Some(file), _) => Bulk { client, options: wanted.options, json: wanted.json, from: file }.run().await,
        (None, Some(name)) => {
            let mut job = job(&name, wanted.args.as_deref(), &wanted.options)?;
            if let Some(id) = wanted.id {
                job = job.id(id);
            }
            let sent = client.enqueue_one(job).await?;
            if wanted.wait {
                return follow::follow(aws, &sent.id, follow::PATIENCE, wanted.json).await;
            }
            let mut output = Output::new();
            if wanted.json {
                output.json(&json!({"id": sent.id, "message_id": sent.message_id}))?;
            } else {
                output.line(&sent.id)?;
            }
            Ok(true)
        }
        (None, None) => Err(Failure::said("what is to be enqueued? Give the job's name, or a file by --from")),
    }
}

/// A job of that name.
pub(super) fn job(name: &str, args: Option<&str>, options: &Options) -> Result<sqjobs::Enqueue, Failure> {
    Ok(with(sqjobs::Enqueue::named(name, arguments(args)?), options))
}

/// Reads arguments.
pub(super) fn arguments(text: Option<&str>) -> Result<Value, Failure> {
    let Some(text) = text else { return Ok(Value::Null) };
    serde_json::from_str(text)
        .map_err(|error| Failure::said(format!("the arguments are not JSON: {error}; write [1, 2], '{{\"to\": \"x\"}}' or '\"text\"'")))
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
    // A number is kept as one.
    meta.into_iter().fold(job, |job, (key, value)| {
        let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
        job.meta(key, value)
    })
}

/// The jobs of a file.
struct Bulk {
    client: Client,
    options: Options,
    json: bool,
    from: PathBuf,
}

/// How far it came.
#[derive(Default)]
struct Done {
    sent: usize,
    refused: usize,
    nameless: usize,
}

impl Bulk {
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
        if !self.json {
            let refused = if done.refused > 0 { format!(", {} refused", done.refused) } else { String::new() };
            Output::new().line(format!("{} jobs enqueued{refused}", done.sent))?;
        }
        Ok(done.refused == 0)
    }

    /// Sends lines of which the first is the one after `before`.
    async fn send(&self, lines: &[String], before: usize, done: &mut Done) -> Result<(), Failure> {
        let mut places = Vec::new();
        let mut jobs = Vec::new();
        for (place, line) in lines.iter().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            match Envelope::parse(line) {
                Ok(envelope) => {
                    done.nameless += usize::from(envelope.id.is_none());
                    places.push(before + place + 1);
                    let job = sqjobs::Enqueue::named(&envelope.name.clone(), Value::Null).with(|own| *own = envelope);
                    jobs.push(with(job, &self.options));
                }
                Err(error) => self.refuse(before + place + 1, &error, done)?,
            }
        }
        let answers = self.client.enqueue_many(jobs).await;
        for (line, answer) in places.into_iter().zip(answers) {
            match answer {
                Ok(sent) => {
                    done.sent += 1;
                    if self.json {
                        Output::new().json(&json!({"line": line, "id": sent.id, "message_id": sent.message_id}))?;
                    }
                }
                Err(error) => self.refuse(line, &error, done)?,
            }
        }
        Ok(())
    }

    fn refuse(&self, line: usize, error: &impl std::fmt::Display, done: &mut Done) -> Result<(), Failure> {
        done.refused += 1;
        if self.json {
            Output::new().json(&json!({"line": line, "error": error.to_string()}))?;
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
        "do the same again: what was sent is not run twice".to_owned()
    } else {
        format!("go on from line {from}, for without ids what is sent again runs again")
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
    }

    #[test]
    fn whoever_is_interrupted_is_told_how_to_go_on() {
        let safe = interrupted_at(1500, 500, 0);
        assert!(safe.contains("lines 1 to 1500 were sent") && safe.contains("do the same again"), "{safe}");
        assert!(interrupted_at(1500, 500, 1).contains("go on from line 1501"));
    }
}
