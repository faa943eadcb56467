//! Eager mode: reads messages from standard input, runs them in process, and prints their final records.

use std::{
    collections::{BTreeMap, HashSet},
    io::{self, BufRead, IsTerminal, Write},
    process,
};

use tokio::{runtime::Handle, sync::mpsc};

use super::{
    engine::{Engine, Jobs},
    local::Local,
    thread,
};
use crate::{
    Clock, Error, Record, State, config,
    envelope::{Digest, Envelope},
    queue::{Outgoing, Queue, is_fifo},
    telemetry,
};

/// Number of messages in a batch.
const CHUNK: usize = 10;

/// The exit statuses.
const FAILED: i32 = 1;
const REJECTED: i32 = 2;

type Line = io::Result<Vec<u8>>;

pub(crate) async fn serve(jobs: Jobs) -> Result<(), Error> {
    telemetry::eager();
    let local = Local::new(Clock::system());
    let engine = local.engine(jobs.clone(), Handle::current(), config::max_concurrency()?);
    // The output consists of records.
    let engine = Engine { records_always: true, ..engine };
    let mut input = Input {
        jobs,
        local,
        engine,
        lines: 0,
        senders: BTreeMap::new(),
        ids: BTreeMap::new(),
        order: Vec::new(),
        printed: HashSet::new(),
        status: 0,
    };
    input.greet();
    let status = thread::run(async move || {
        let mut lines = read_lines();
        let mut chunk = Vec::new();
        while lines.recv_many(&mut chunk, CHUNK).await > 0 {
            input.take(chunk.drain(..)).await?;
        }
        Ok::<_, Error>(input.status)
    });
    // Returning would wait for a body that blocks its thread.
    process::exit(status.await??)
}

/// Reads standard input on a separate thread, since a read cannot be interrupted.
fn read_lines() -> mpsc::Receiver<Line> {
    let (sender, lines) = mpsc::channel(CHUNK);
    std::thread::spawn(move || {
        for line in io::stdin().lock().split(b'\n') {
            let is_last = line.is_err(); // a failed read is not repeated
            if sender.blocking_send(line).is_err() || is_last {
                break;
            }
        }
    });
    lines
}

struct Input {
    jobs: Jobs,
    local: Local,
    engine: Engine,
    lines: usize,
    /// The line of each message.
    senders: BTreeMap<String, usize>,
    /// The ids that producers set, with the digest of the arguments and the line.
    ids: BTreeMap<String, (Digest, usize)>,
    /// The ids of jobs in the order of the input.
    order: Vec<String>,
    printed: HashSet<String>,
    status: i32,
}

impl Input {
    fn greet(&self) {
        if io::stdin().is_terminal() {
            let name = self.jobs.to_string();
            eprintln!(
                "reading messages from standard input, one JSON object a line, such as {{\"name\": {name:?}, \"args\": ...}}; Ctrl-D ends"
            );
        }
    }

    async fn take(&mut self, lines: impl Iterator<Item = Line>) -> Result<(), Error> {
        for line in lines {
            self.lines += 1;
            match line.map(String::from_utf8) {
                Ok(Ok(text)) if text.trim().is_empty() => {}
                Ok(Ok(text)) => self.enqueue(text.trim()).await,
                Ok(Err(_)) => self.reject(self.lines, "the line is not UTF-8"),
                Err(error) => self.reject(self.lines, &error.to_string()),
            }
        }
        let rejected = self.local.run_all(&self.engine).await?;
        let mut rejected: Vec<_> = rejected.iter().map(|(message, reason)| (self.senders.get(message).copied(), reason)).collect();
        rejected.sort_unstable();
        for (line, reason) in rejected {
            self.reject(line.unwrap_or_default(), reason);
        }
        self.print().map_err(|error| Error::process("cannot write to standard output", error))
    }

    async fn enqueue(&mut self, text: &str) {
        let envelope = Envelope::parse(text).ok();
        if let Some((id, digest)) = envelope.as_ref().and_then(|envelope| Some((envelope.id.clone()?, envelope.digest()))) {
            let (first, line) = *self.ids.entry(id.clone()).or_insert((digest, self.lines));
            if first != digest {
                self.reject(
                    self.lines,
                    &format!("id {id} is already used in line {line} with other arguments; only the first job with each id runs"),
                );
            } else if line != self.lines {
                let id = telemetry::harmless(&id);
                eprintln!("line {}: id {id} is already used in line {line}; a duplicate does not run", self.lines);
            }
        }
        let known = envelope.as_ref().and_then(|envelope| self.jobs.get(&envelope.name));
        let Some(queue) = known.or_else(|| self.jobs.all().next()).map(|job| job.queue()) else {
            return self.reject(self.lines, "this worker has no jobs; add one by `Worker::job`");
        };
        let message = Outgoing { group: is_fifo(queue).then(|| "eager".into()), ..Outgoing::new(text) };
        match self.local.queue.send(queue, &[message]).await.pop() {
            Some(Ok(message_id)) => {
                self.order.push(envelope.and_then(|envelope| envelope.id).unwrap_or_else(|| message_id.clone()));
                self.senders.insert(message_id, self.lines);
            }
            Some(Err(error)) => self.reject(self.lines, &error.to_string()),
            None => {}
        }
    }

    fn reject(&mut self, line: usize, reason: &str) {
        eprintln!("line {line}: {}", telemetry::harmless(reason));
        self.status = REJECTED;
    }

    /// Prints the records of ended jobs in the order of the input.
    fn print(&mut self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for id in std::mem::take(&mut self.order) {
            let Some(record) = self.local.store.get(&id) else { continue };
            if self.printed.insert(id) {
                self.status = self.status.max(status(&record));
                writeln!(out, "{}", telemetry::harmless(&serde_json::to_string(&record)?))?;
            }
        }
        out.flush()
    }
}

fn status(record: &Record) -> i32 {
    if record.state == State::Failed { FAILED } else { 0 }
}
