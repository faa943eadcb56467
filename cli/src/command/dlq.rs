//! The dead-letter queues: what is in them and why, and the way back.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::future::{join_all, poll_immediate};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sqjobs::{
    Letter, Record, Redrive,
    envelope::Digest,
    queue::{Outgoing, Queue as _, Source as _, Sqs, Visibility, is_fifo},
    store::{DynamoDb, Store as _, StoreError},
};
use tokio::{signal::ctrl_c, time::sleep};

use super::{feeding::refuse_other_table, lookup, queue};
use crate::{
    args::{Dlq, Letters, ListLetters, Purge, Redrive as RedriveLetters, ShowLetters},
    aws::Aws,
    failure::Failure,
    output::{Output, clean, confirmed, first_line, note, progress},
    sentence::shell,
    time::from_now,
};

/// For how long nobody else sees what is looked at. A redrive that is killed goes on after that.
const HIDDEN: Duration = Duration::from_secs(30);
/// Letters that are taken at a time.
const WAVE: usize = 80;
/// Letters of one receive.
const PAGE: usize = 10;
/// SQS may answer that there is nothing where there is something.
const LOOKS: usize = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// The most letters among which those of one job are looked for.
const SEARCHED: usize = 1000;

pub(super) async fn dlq(aws: &Aws, wanted: Dlq) -> Result<bool, Failure> {
    match wanted {
        Dlq::List(wanted) => list(aws, wanted).await,
        Dlq::Show(wanted) => show(aws, wanted).await,
        Dlq::Redrive(wanted) => redrive(aws, wanted).await,
        Dlq::Purge(wanted) => purge(aws, wanted).await,
    }
}

/// The kind of a letter and its reason, as far as it says them.
pub(super) fn reason(letter: &Letter) -> String {
    match (letter.kind(), letter.reason()) {
        (Some(kind), Some(reason)) => format!("{kind}: {reason}"),
        (Some(kind), None) => kind.into(),
        (None, _) if letter.is_misdirected() => format!("{}: {DIRECTLY}", kind(letter)),
        (None, _) => "moved by SQS after too many receives".into(),
    }
}

/// The reason of a letter that no beater has looked at yet, and that SQS has not moved.
const DIRECTLY: &str = "a producer sent it to the dead-letter queue itself";

/// Returns the kind of a letter, also before a beater has given it one.
fn kind(letter: &Letter) -> &str {
    letter.kind().unwrap_or(if letter.is_misdirected() { "misdirected" } else { "moved_by_sqs" })
}

/// A letter of a job that has no record.
pub(super) fn json(letter: &Letter, queue: &str) -> Value {
    Found { letter: letter.clone(), record: None }.json(queue)
}

/// A letter and the record of its job.
struct Found {
    letter: Letter,
    record: Option<Record>,
}

impl Found {
    fn name(&self) -> &str {
        let named = self.letter.envelope.as_ref().ok().map(|envelope| &*envelope.name);
        named.or_else(|| self.record.as_ref().map(|record| &*record.name)).unwrap_or_default()
    }

    fn kind(&self) -> &str {
        kind(&self.letter)
    }

    fn reason(&self) -> String {
        let failed = || self.record.as_ref()?.error.as_ref().map(|error| error.message.clone());
        let moved = || "SQS moved it after too many receives; a beater adds the reason within a minute".to_owned();
        match self.letter.reason() {
            Some(reason) => reason.to_owned(),
            None if self.letter.is_misdirected() => DIRECTLY.to_owned(),
            None => failed().unwrap_or_else(moved),
        }
    }

    fn tags(&self) -> &[String] {
        let own = self.letter.envelope.as_ref().ok().map(|envelope| &envelope.tags[..]);
        own.or_else(|| self.record.as_ref().map(|record| &record.tags[..])).unwrap_or_default()
    }

    fn json(&self, queue: &str) -> Value {
        json!({
            "queue": queue,
            "message_id": self.letter.message.id,
            "id": self.letter.id,
            "name": self.name(),
            "kind": self.kind(),
            "reason": self.reason(),
            "tags": self.tags(),
            "sent_at": self.letter.message.sent_at,
            "body": self.letter.message.body,
            "record": self.record,
        })
    }
}

impl Letters {
    /// Whether a letter is meant.
    fn mean(&self, found: &Found, now: Timestamp) -> bool {
        let age = found.letter.message.sent_at.map(|at| now.duration_since(at)).unwrap_or_default();
        let is = |wanted: &Option<String>, own: &str| wanted.as_ref().is_none_or(|wanted| wanted == own);
        let limit = |limit: Duration| SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
        self.id.as_ref().is_none_or(|id| found.letter.has_id(id))
            && is(&self.name, found.name())
            && is(&self.kind, found.kind())
            && self.tag.as_ref().is_none_or(|tag| found.tags().contains(tag))
            && self.older_than.is_none_or(|least| age >= limit(least))
            && self.newer_than.is_none_or(|most| age < limit(most))
    }
}

/// A queue and its dead-letter queue, by their whole names.
pub(super) struct Pair {
    queue: String,
    /// The ARN of the queue.
    arn: String,
    pub(super) dlq: String,
    /// So many letters there are, as SQS reckons.
    total: u64,
}

impl Pair {
    /// Who names the dead-letter queue means its queue.
    pub(super) async fn find(aws: &Aws, name: &str) -> Result<Self, Failure> {
        let source = queue::source_name(name).unwrap_or_else(|| name.to_owned());
        let (queue, dlq) = queue::pair(aws, &aws.queue(&source)).await?;
        Ok(Self { queue: queue.name, arn: queue.arn, dlq: dlq.name, total: dlq.depth.all() })
    }
}

/// A walk through a dead-letter queue, each letter once.
pub(super) struct Walk<'a> {
    queue: Sqs,
    store: DynamoDb,
    pair: &'a Pair,
    seen: HashSet<String>,
    /// What others do not see now: the receipts and since when, by the ids of messages.
    held: HashMap<String, (String, Instant)>,
    /// Letters whose records cannot be read.
    unreadable: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(aws: &Aws, pair: &'a Pair) -> Self {
        let store = DynamoDb::new(aws.dynamodb(), aws.place.table());
        Self { queue: Sqs::new(aws.sqs()), store, pair, seen: HashSet::new(), held: HashMap::new(), unreadable: 0 }
    }

    /// The next letters with their records, about `many`; none at the end.
    async fn next(&mut self, many: usize) -> Result<Vec<Found>, Failure> {
        loop {
            let letters = self.letters(many).await?;
            let is_end = letters.is_empty();
            let found = self.join(letters).await?;
            // A letter whose record cannot be read is none that was found.
            if is_end || !found.is_empty() {
                return Ok(found);
            }
        }
    }

    /// The dead letters of one job, among the first ones; stops where those that were found are enough.
    pub(super) async fn of(&mut self, id: &str, enough: impl Fn(&[Letter]) -> bool) -> Result<Vec<Letter>, Failure> {
        let mut own = Vec::new();
        while self.seen.len() < SEARCHED && !enough(&own) {
            let letters = self.letters(WAVE).await?;
            if letters.is_empty() {
                break;
            }
            own.extend(letters.into_iter().filter(|letter| letter.has_id(id)));
        }
        Ok(own)
    }

    /// The next letters, about `many`; none at the end.
    async fn letters(&mut self, many: usize) -> Result<Vec<Letter>, Failure> {
        for look in 0..LOOKS {
            if look > 0 {
                sleep(BETWEEN_LOOKS).await;
            }
            // SQS asks some of its servers alone: who asks more often misses less.
            let many = if look > 0 { WAVE } else { many };
            let receive = |_| self.queue.receive(&self.pair.dlq, many.min(PAGE), HIDDEN);
            let received: Result<Vec<_>, _> = join_all((0..many.div_ceil(PAGE)).map(receive)).await.into_iter().collect();
            let received = received.map_err(|error| Failure::because(&format!("cannot read {}", self.pair.dlq), error))?;
            let mut letters = Vec::new();
            for message in received.into_iter().flatten() {
                self.held.insert(message.id.clone(), (message.receipt.clone(), Instant::now()));
                if self.seen.insert(message.id.clone()) {
                    letters.push(Letter::open(message));
                }
            }
            if !letters.is_empty() {
                letters.sort_by_key(|letter| letter.message.sent_at);
                return Ok(letters);
            }
        }
        Ok(Vec::new())
    }

    /// Adds the records. A letter whose record cannot be read is told of, and left.
    async fn join(&mut self, letters: Vec<Letter>) -> Result<Vec<Found>, Failure> {
        let ids: Vec<_> = letters.iter().map(|letter| letter.id.clone()).collect();
        let mut found = Vec::new();
        for (letter, record) in letters.into_iter().zip(self.store.read(&ids).await) {
            match record {
                Ok(record) => found.push(Found { letter, record }),
                Err(error @ StoreError::Unreadable { .. }) => {
                    self.unreadable += 1;
                    anstream::eprintln!("{}", clean(&error.to_string()));
                }
                Err(error) => return Err(Failure::because("cannot read the record of a dead letter", error)),
            }
        }
        Ok(found)
    }

    /// Deletes letters; returns how many SQS did not delete. Others see those again at the [`end`](Self::end).
    pub(super) async fn delete(&mut self, letters: &[&Letter]) -> u64 {
        let held: Vec<_> = letters.iter().filter_map(|letter| self.held.remove_entry(&letter.message.id)).collect();
        let receipts: Vec<_> = held.iter().map(|(_, (receipt, _))| receipt.clone()).collect();
        let mut left = 0;
        for (letter, answer) in held.into_iter().zip(self.queue.delete(&self.pair.dlq, &receipts).await) {
            if let Err(error) = answer {
                anstream::eprintln!("a dead letter was not deleted: {error}; run the command again, which does no harm");
                self.held.extend([letter]);
                left += 1;
            }
        }
        left
    }

    /// Lets others see what is left.
    pub(super) async fn end(self) {
        let held = self.held.into_values().filter(|(_, since)| since.elapsed() < HIDDEN);
        let changes: Vec<_> = held.map(|(receipt, _)| Visibility { receipt, timeout: Duration::ZERO }).collect();
        self.queue.set_visibility(&self.pair.dlq, &changes).await;
    }

    /// The number of dead letters that were seen.
    pub(super) fn seen(&self) -> usize {
        self.seen.len()
    }

    /// The number of dead letters that were not seen.
    pub(super) fn out_of_sight(&self) -> u64 {
        self.pair.total.saturating_sub(self.seen.len() as u64)
    }
}

/// That there are more letters.
fn hidden(count: u64, dlq: &str) -> String {
    if is_fifo(dlq) {
        format!("SQS shows the first ten of each group: about {count} more follow once these are gone")
    } else {
        format!("about {count} more are hidden for now; run the command again in {} s", HIDDEN.as_secs())
    }
}

async fn list(aws: &Aws, wanted: ListLetters) -> Result<bool, Failure> {
    let queues = if let Some(queue) = wanted.queue {
        vec![queue]
    } else {
        let all = queue::all(aws).await?;
        note(&all.left_out.notes());
        if all.pairs.is_empty() && !wanted.json {
            anstream::eprintln!("{}", queue::none(aws).await);
            return Ok(true);
        }
        all.statuses(aws).into_iter().filter(|queue| queue.dead > 0).map(|queue| queue.name).collect()
    };
    let (now, mut output, mut rows) = (aws.clock.now(), Output::new(), Vec::new());
    for queue in queues {
        let pair = Pair::find(aws, &queue).await?;
        let mut walk = Walk::new(aws, &pair);
        while rows.len() < wanted.limit {
            let found = walk.next(WAVE).await?;
            if found.is_empty() {
                break;
            }
            let meant = found.into_iter().filter(|found| wanted.letters.mean(found, now));
            rows.extend(meant.map(|found| (aws.short(&pair.queue).to_owned(), found)));
        }
        if rows.len() < wanted.limit && walk.out_of_sight() > 0 {
            anstream::eprintln!("{}", hidden(walk.out_of_sight(), &pair.dlq));
        }
        walk.end().await;
    }
    if rows.len() >= wanted.limit {
        anstream::eprintln!("only the first {} are shown; --limit shows more", wanted.limit);
    }
    rows.truncate(wanted.limit);
    if wanted.json {
        rows.iter().try_for_each(|(queue, found)| output.json(&found.json(queue)))?;
    } else if rows.is_empty() {
        anstream::eprintln!("none");
    } else {
        let rows = rows.iter().map(|(queue, found)| {
            let since = found.letter.message.sent_at.map(|at| from_now(at, now)).unwrap_or_default();
            let state = found.record.as_ref().map_or("no record", |record| record.state.as_str());
            let [id, name, kind] = [&found.letter.id, found.name(), found.kind()].map(str::to_owned);
            [queue.clone(), id, name, kind, since, state.into(), first_line(&found.reason())]
        });
        output.table(["queue", "id", "name", "kind", "since", "state", "reason"], rows)?;
    }
    Ok(true)
}

/// Says how dead letters of a queue are sent back to it. SQS itself knows no source of those that the library has sent:
/// `StartMessageMoveTask` in its API reference.
pub(super) fn ways_back(queue: &str, arn: &str) -> String {
    format!(
        "`sqjobs dlq redrive {}` sends dead letters back, and `sqjobs dlq list {}` shows them; the console and `aws sqs start-message-move-task` do it \
         only with the custom destination {arn}",
        shell(queue),
        shell(queue)
    )
}

async fn show(aws: &Aws, wanted: ShowLetters) -> Result<bool, Failure> {
    let (now, mut output, pair) = (aws.clock.now(), Output::new(), Pair::find(aws, &wanted.queue).await?);
    let mut missing: HashSet<_> = wanted.ids.iter().collect();
    let mut walk = Walk::new(aws, &pair);
    let mut shown = Vec::new();
    while !missing.is_empty() {
        let found = walk.next(WAVE).await?;
        if found.is_empty() {
            break;
        }
        shown.extend(found.into_iter().filter(|Found { letter, .. }| {
            let names = |id: &String| letter.has_id(id) || letter.message.id == *id;
            missing.retain(|id| !names(id));
            wanted.ids.iter().any(names)
        }));
    }
    for found in &shown {
        if wanted.json {
            output.json(&found.json(aws.short(&pair.queue)))?;
            continue;
        }
        output.letter(&found.letter, [found.name(), found.kind(), &found.reason()], now)?;
        if let Some(record) = &found.record {
            output.job(record, now)?;
        }
        let queue = aws.short(&pair.queue);
        if let Some(own) = lookup::belongs_to(aws, queue, &found.letter).await {
            let said = lookup::elsewhere(&aws.place.prefix, &shell(queue), &own, &shell(&found.letter.id));
            anstream::eprintln!("{}", clean(&aws.place.with_options(&said)));
        }
    }
    if !wanted.json && !shown.is_empty() {
        anstream::eprintln!("{}", clean(&aws.place.with_options(&ways_back(aws.short(&pair.queue), &pair.arn))));
    }
    for id in &missing {
        anstream::eprintln!("there is no dead letter of {} in sight", clean(id));
    }
    if !missing.is_empty() && walk.out_of_sight() > 0 {
        anstream::eprintln!("{}", hidden(walk.out_of_sight(), &pair.dlq));
    }
    walk.end().await;
    Ok(missing.is_empty())
}

/// What is done with letters.
#[derive(Clone, Copy, PartialEq)]
enum Deed {
    Redrive,
    Purge,
}

/// What was done.
#[derive(Default)]
struct Done {
    /// How many are meant, by kind and name.
    meant: BTreeMap<(String, String), u64>,
    redriven: u64,
    dropped: u64,
    /// Not redriven, because their arguments would not run.
    kept: u64,
    purged: u64,
    /// Not done, though it was meant.
    failed: u64,
    /// Not meant.
    left: u64,
    /// Dead letters of jobs that were redriven before. They are counted as redriven alone.
    returned: u64,
    out_of_sight: u64,
    interrupted: bool,
}

/// Why dead letters are deleted that are not redriven.
const DROPPED: &str = "their jobs have gone on or ended without them";
/// Why dead letters are neither redriven nor deleted.
const KEPT: &str = "another job of their id has other arguments, or they have no room for their id";
const OTHER_ARGUMENTS: &str =
    "another job of its id has other arguments, and this message would be discarded; enqueue its arguments under another id";
const STUCK: &str = "its message is too large to carry its id; enqueue the job again";

/// The jobs to which letters were redriven, by id.
type Sent = HashMap<String, Option<Job>>;
/// The name of a job, and its arguments.
type Job = (String, Digest);

/// Returns what a letter asks for. None: it cannot be read.
fn job_of(letter: &Letter) -> Option<Job> {
    letter.envelope.as_ref().ok().map(|envelope| (envelope.name.clone(), envelope.digest()))
}

/// What a redrive does with a letter.
enum Next {
    Send(Outgoing),
    Drop,
    /// Leaves it, and says why.
    Keep(&'static str),
}

impl Done {
    fn fail(&mut self, letter: &Letter, why: &str) {
        self.failed += 1;
        anstream::eprintln!("{}: {}", clean(&letter.id), clean(why));
    }

    fn keep(&mut self, letter: &Letter, why: &str) {
        self.kept += 1;
        anstream::eprintln!("{}: {}", clean(&letter.id), clean(why));
    }

    fn json(&self) -> Value {
        let Self { meant, redriven, dropped, kept, purged, failed, left, returned: _, out_of_sight, interrupted } = self;
        let meant: Vec<_> = meant.iter().map(|((kind, name), count)| json!({"kind": kind, "name": name, "count": count})).collect();
        json!({
            "meant": meant, "redriven": redriven, "dropped": dropped, "kept": kept, "purged": purged, "failed": failed, "left": left,
            "out_of_sight": out_of_sight, "interrupted": interrupted,
        })
    }

    fn sentence(&self) -> String {
        let (dropped, kept) = (format!("dropped: {DROPPED}"), format!("kept: {KEPT}"));
        let parts = [
            (self.redriven, "redriven"),
            (self.dropped, &*dropped),
            (self.kept, &*kept),
            (self.purged, "purged"),
            (self.failed, "failed"),
            (self.left, "left alone"),
        ];
        let parts: Vec<_> = parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        if parts.is_empty() { "none".into() } else { parts.join(", ") }
    }

    /// Says what is to be done, such as "1 to be redriven; 2 to be dropped: ...".
    fn forecast(&self, deed: Deed, verb: &str) -> String {
        let (count, what) = match deed {
            Deed::Redrive => (self.redriven, "redriven"),
            Deed::Purge => (self.purged, "purged, and their arguments forgotten"),
        };
        let others = [(self.dropped, "dropped", DROPPED), (self.kept, "kept", KEPT)].into_iter().filter(|(count, ..)| *count > 0);
        let others = others.map(|(count, what, why)| format!("; {count} {verb} {what}: {why}"));
        format!("{count} {verb} {what}{}", others.collect::<String>())
    }
}

/// One way through a dead-letter queue.
struct Run<'a> {
    aws: &'a Aws,
    pair: &'a Pair,
    letters: &'a Letters,
    deed: Deed,
    /// Whether the letters are only counted.
    is_dry: bool,
    /// The most a second.
    rate: Option<u32>,
}

impl Run<'_> {
    /// Goes through; an error ends the way, and what was done before it is told all the same.
    async fn run(&self) -> (Done, Result<(), Failure>) {
        let (mut walk, mut done) = (Walk::new(self.aws, self.pair), Done::default());
        let ended = self.go(&mut walk, &mut done).await;
        done.failed += walk.unreadable;
        done.out_of_sight = if done.interrupted { 0 } else { walk.out_of_sight() };
        walk.end().await;
        (done, ended)
    }

    async fn go(&self, walk: &mut Walk<'_>, done: &mut Done) -> Result<(), Failure> {
        let (now, started) = (self.aws.clock.now(), Instant::now());
        let bar = progress(Some(self.pair.total), "letters");
        let mut interrupt = pin!(ctrl_c());
        let many = self.rate.map_or(WAVE, |rate| WAVE.min(rate as usize));
        let (mut acted, mut sent) = (0, Sent::new());
        loop {
            // A count may be ended as any program.
            if !self.is_dry && poll_immediate(&mut interrupt).await.is_some() {
                done.interrupted = true;
                break;
            }
            let found = walk.next(many).await?;
            if found.is_empty() {
                break;
            }
            bar.inc(found.len() as u64);
            let (meant, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| self.letters.mean(found, now));
            done.left += others.len() as u64;
            // A message that was redriven and has failed again was counted before.
            let is_back = |found: &Found| !self.is_dry && sent.get(&found.letter.id) == Some(&job_of(&found.letter));
            let (back, meant): (Vec<_>, Vec<_>) = meant.into_iter().partition(is_back);
            done.returned += back.len() as u64;
            acted += meant.len() as u64;
            for found in &meant {
                *done.meant.entry((found.kind().to_owned(), found.name().to_owned())).or_default() += 1;
            }
            match (self.deed, self.is_dry) {
                (Deed::Redrive, true) => self.count(&meant, &mut sent, done),
                (Deed::Redrive, false) => self.redrive(walk, &meant, &mut sent, done).await,
                (Deed::Purge, true) => done.purged += meant.len() as u64,
                (Deed::Purge, false) => {
                    let left = walk.delete(&meant.iter().map(|found| &found.letter).collect::<Vec<_>>()).await;
                    done.purged += meant.len() as u64 - left;
                    done.failed += left;
                }
            }
            if let Some(rate) = self.rate {
                sleep((Duration::from_secs(acted) / rate).saturating_sub(started.elapsed())).await;
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Decides what a redrive does with a letter. The first letter of an id is sent: a later one would be discarded.
    fn next(&self, found: &Found, sent: &mut Sent) -> Next {
        let (letter, job) = (&found.letter, job_of(&found.letter));
        let next = match letter.redrive(found.record.as_ref(), &self.pair.queue) {
            Redrive::Send(back) => match sent.get(&letter.id) {
                None => Next::Send(back),
                Some(first) if *first == job => Next::Drop,
                Some(_) => Next::Keep(OTHER_ARGUMENTS),
            },
            Redrive::Drop => Next::Drop,
            Redrive::OtherArguments => Next::Keep(OTHER_ARGUMENTS),
            Redrive::Stuck => Next::Keep(STUCK),
        };
        if let Next::Send(_) = next {
            sent.insert(letter.id.clone(), job);
        }
        next
    }

    /// Counts what a redrive would do.
    fn count(&self, meant: &[Found], sent: &mut Sent, done: &mut Done) {
        for found in meant {
            match self.next(found, sent) {
                Next::Send(_) => done.redriven += 1,
                Next::Drop => done.dropped += 1,
                Next::Keep(_) => done.kept += 1,
            }
        }
    }

    /// First sent, then deleted: who is killed in between sends again, and the job's record knows the second for a
    /// duplicate. Adds those that were sent to `sent`.
    async fn redrive(&self, walk: &mut Walk<'_>, meant: &[Found], sent: &mut Sent, done: &mut Done) {
        let (mut backs, mut going, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for found in meant {
            match self.next(found, sent) {
                Next::Send(back) => {
                    backs.push(back);
                    going.push(&found.letter);
                }
                Next::Drop => ended.push(&found.letter),
                Next::Keep(why) => done.keep(&found.letter, why),
            }
        }
        let answers = walk.queue.send(&self.pair.queue, &backs).await;
        let (mut gone, mut unsent) = (Vec::new(), HashSet::new());
        for (letter, answer) in going.into_iter().zip(answers) {
            match answer {
                Ok(_) => gone.push(letter),
                Err(error) => {
                    sent.remove(&letter.id);
                    unsent.insert(&letter.id);
                    done.fail(letter, &error.to_string());
                }
            }
        }
        let (left, ended): (Vec<_>, Vec<_>) = ended.into_iter().partition(|letter| unsent.contains(&letter.id));
        for letter in left {
            done.fail(letter, "another dead letter of its id was not sent");
        }
        for (letters, count) in [(&gone, &mut done.redriven), (&ended, &mut done.dropped)] {
            let left = walk.delete(letters).await;
            *count += letters.len() as u64 - left;
            done.failed += left;
        }
    }
}

async fn redrive(aws: &Aws, wanted: RedriveLetters) -> Result<bool, Failure> {
    queue::refuse_others(aws, [&*wanted.queue]).await?;
    let pair = Pair::find(aws, &wanted.queue).await?;
    refuse_other_table(aws, &pair.queue, &pair.arn).await?;
    let run = Run { aws, pair: &pair, letters: &wanted.letters, deed: Deed::Redrive, is_dry: false, rate: wanted.rate };
    act(&run, [wanted.dry_run, wanted.yes, wanted.json]).await
}

async fn purge(aws: &Aws, wanted: Purge) -> Result<bool, Failure> {
    queue::refuse_others(aws, [&*wanted.queue]).await?;
    let pair = Pair::find(aws, &wanted.queue).await?;
    refuse_other_table(aws, &pair.queue, &pair.arn).await?;
    let run = Run { aws, pair: &pair, letters: &wanted.letters, deed: Deed::Purge, is_dry: false, rate: None };
    act(&run, [wanted.dry_run, wanted.yes, wanted.json]).await
}

/// Returns true for a dead letter that is refused again, unless its function or the record of its id has changed.
fn is_refused(kind: &str) -> bool {
    matches!(kind, "rejected" | "id_in_use") || kind.starts_with("reserved_")
}

/// Warns of messages that come back at once when they are redriven, and says what to do instead.
fn warn(run: &Run<'_>, done: &Done) {
    let refused = done.meant.iter().filter(|((kind, _), _)| is_refused(kind));
    let count: u64 = refused.clone().map(|(_, count)| count).sum();
    if run.deed == Deed::Purge || count == 0 {
        return;
    }
    let kinds: BTreeSet<_> = refused.map(|((kind, _), _)| &**kind).collect();
    let queue = shell(run.aws.short(&run.pair.queue));
    let id = run.letters.id.as_ref().map(|id| format!(" --id {}", shell(id))).unwrap_or_default();
    let purge: Vec<_> = kinds.iter().map(|kind| format!("`sqjobs dlq purge {queue}{id} --kind {}`", shell(kind))).collect();
    let said = format!(
        "warning: {count} of them come back to the dead-letter queue at once, unless their function was changed since: it refused them as {}. \
         Enqueue each job again, corrected; `sqjobs dlq list {queue}` shows the reasons. Then delete the dead letters: {}",
        kinds.iter().copied().collect::<Vec<_>>().join(", "),
        purge.join(", ")
    );
    anstream::eprintln!("{}", clean(&run.aws.place.with_options(&said)));
}

/// Counts, shows, asks and acts.
async fn act(run: &Run<'_>, [dry_run, yes, json]: [bool; 3]) -> Result<bool, Failure> {
    if dry_run || !yes {
        let (counted, ended) = Run { is_dry: true, rate: None, ..*run }.run().await;
        ended?;
        let meant: u64 = counted.meant.values().sum();
        warn(run, &counted);
        if json && (dry_run || meant == 0) {
            Output::new().json(&counted.json())?;
            return Ok(answer(run, &counted));
        }
        for ((kind, name), count) in &counted.meant {
            anstream::eprintln!("{count:>8}  {}  {}", clean(kind), clean(name));
        }
        if counted.out_of_sight > 0 {
            anstream::eprintln!("{}", hidden(counted.out_of_sight, &run.pair.dlq));
        }
        match meant {
            0 => {
                anstream::eprintln!("none");
                return Ok(answer(run, &counted));
            }
            _ if dry_run => {
                Output::new().line(counted.forecast(run.deed, "would be"))?;
                return Ok(answer(run, &counted));
            }
            _ if !confirmed(&format!("{}. Go on?", counted.forecast(run.deed, "to be")), false)? => return Ok(false),
            _ => {}
        }
    }
    let (done, ended) = run.run().await;
    let mut output = Output::new();
    if yes {
        warn(run, &done);
    }
    if done.returned > 0 {
        let queue = shell(run.aws.short(&run.pair.queue));
        let said = format!("{} dead letters of redriven jobs are there, still or again: `sqjobs dlq list {queue}`", done.returned);
        anstream::eprintln!("{}", run.aws.place.with_options(&said));
    }
    if json {
        output.json(&done.json())?;
    } else {
        output.line(done.sentence())?;
        if done.out_of_sight > 0 {
            anstream::eprintln!("{}", hidden(done.out_of_sight, &run.pair.dlq));
        }
        if done.interrupted {
            anstream::eprintln!("interrupted; run the command again to go on");
        }
    }
    ended?;
    Ok(answer(run, &done))
}

/// Yes, if all was done that was meant, and there was a letter of the job that was named.
fn answer(run: &Run<'_>, done: &Done) -> bool {
    if let Some(id) = run.letters.id.as_ref().filter(|_| done.meant.is_empty()) {
        anstream::eprintln!("there is no dead letter of {} in sight", clean(id));
        return false;
    }
    done.failed == 0 && done.kept == 0 && !done.interrupted
}
