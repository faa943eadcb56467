//! Eager mode: reads messages from standard input, runs them in process, and prints their final records.

use std::{
    collections::{BTreeMap, HashSet},
    io::{self, BufRead, IsTerminal, Write},
    process,
};

use tokio::{runtime::Handle, sync::mpsc};

use super::{
    engine::{Engine, Jobs, Rejection},
    local::Local,
    thread,
};
use crate::{
    Clock, Error, Record, State, config,
    envelope::{Digest, Envelope, LINK},
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
        input.end()?;
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
    /// The ids of jobs whose records are not printed yet, in the order of the input.
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
        let mut rejected: Vec<_> = rejected.iter().map(|rejected| (self.senders.get(&rejected.message_id).copied(), rejected)).collect();
        rejected.sort_by_key(|(line, _)| *line);
        for (line, Rejection { id, reason, .. }) in rejected {
            match line {
                Some(line) => self.reject(line, reason),
                // A job that another one has enqueued.
                None => self.report(&format!("job {id}: {reason}"), REJECTED),
            }
        }
        let order = std::mem::take(&mut self.order);
        // A blocked job may wait for a job of a later line.
        let is_blocked = |id: &String| self.local.store.get(id).is_some_and(|record| record.state == State::Blocked);
        let (blocked, ended) = order.into_iter().partition(is_blocked);
        self.order = blocked;
        self.print(ended)
    }

    /// Prints the jobs that are still blocked, and the reason.
    fn end(&mut self) -> Result<(), Error> {
        let order = std::mem::take(&mut self.order);
        self.print(order)?;
        for record in self.local.store.records().into_iter().filter(|record| record.state == State::Blocked && !record.name.is_empty()) {
            // A job that waits for many others waits for nodes, which have no names that a user knows.
            let named: Vec<_> = record.blocked_on.iter().filter(|id| !id.contains(LINK)).map(|id| format!("{id:?}")).collect();
            let named = if named.is_empty() { "many jobs".into() } else { named.join(", ") };
            self.report(&format!("job {} stays blocked: it waits for {named}", record.id), FAILED);
        }
        Ok(())
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
        self.report(&format!("line {line}: {reason}"), REJECTED);
    }

    fn report(&mut self, flaw: &str, status: i32) {
        eprintln!("{}", telemetry::harmless(flaw));
        self.status = self.status.max(status);
    }

    /// Prints the records of jobs in the order of the input.
    fn print(&mut self, order: Vec<String>) -> Result<(), Error> {
        let print = || {
            let mut out = io::stdout().lock();
            for id in order {
                let Some(record) = self.local.store.get(&id) else { continue };
                if self.printed.insert(id) {
                    self.status = self.status.max(status(&record));
                    writeln!(out, "{}", telemetry::harmless(&serde_json::to_string(&record)?))?;
                }
            }
            out.flush()
        };
        print().map_err(|error| Error::process("cannot write to standard output", error))
    }
}

fn status(record: &Record) -> i32 {
    if record.state == State::Failed { FAILED } else { 0 }
}
