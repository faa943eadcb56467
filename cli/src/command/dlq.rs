//! The dead-letter queues: what is in them and why, and the way back.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::future::{join_all, poll_immediate};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sqjobs::{
    Letter, Record, Redrive,
    queue::{Queue as _, Source as _, Sqs, Visibility},
    setup::dlq_name,
    store::{DynamoDb, Store as _, StoreError},
};
use tokio::{signal::ctrl_c, time::sleep};

use super::queue;
use crate::{
    args::{Dlq, Letters, ListLetters, Purge, Redrive as RedriveLetters, ShowLetters},
    aws::Aws,
    failure::Failure,
    output::{Output, clean, confirmed, first_line, progress},
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

pub(super) async fn dlq(aws: &Aws, wanted: Dlq) -> Result<bool, Failure> {
    match wanted {
        Dlq::List(wanted) => list(aws, wanted).await,
        Dlq::Show(wanted) => show(aws, wanted).await,
        Dlq::Redrive(wanted) => redrive(aws, wanted).await,
        Dlq::Purge(wanted) => purge(aws, wanted).await,
    }
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
        self.letter.kind().unwrap_or("moved_by_sqs")
    }

    fn reason(&self) -> String {
        let failed = || self.record.as_ref()?.error.as_ref().map(|error| error.message.clone());
        let moved = || "SQS has moved it, since it was received too often; a beater tells more within a minute".to_owned();
        self.letter.reason().map(str::to_owned).or_else(failed).unwrap_or_else(moved)
    }

    fn tags(&self) -> &[String] {
        let own = self.letter.envelope.as_ref().ok().map(|envelope| &envelope.tags[..]);
        own.or_else(|| self.record.as_ref().map(|record| &record.tags[..])).unwrap_or_default()
    }

    fn json(&self, dlq: &str) -> Value {
        json!({
            "dlq": dlq,
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
        is(&self.id, &found.letter.id)
            && is(&self.name, found.name())
            && is(&self.kind, found.kind())
            && self.tag.as_ref().is_none_or(|tag| found.tags().contains(tag))
            && self.older_than.is_none_or(|least| age >= limit(least))
            && self.newer_than.is_none_or(|most| age < limit(most))
    }
}

/// A walk through a dead-letter queue, each letter once.
struct Walk {
    queue: Sqs,
    store: DynamoDb,
    dlq: String,
    seen: HashSet<String>,
    /// What others do not see now: the receipts, by the ids of messages.
    held: HashMap<String, String>,
}

impl Walk {
    /// Through the dead-letter queue of that queue.
    fn new(aws: &Aws, queue: &str) -> Self {
        let store = DynamoDb::new(aws.dynamodb(), &aws.place.table);
        Self { queue: Sqs::new(aws.sqs()), store, dlq: dlq_name(queue), seen: HashSet::new(), held: HashMap::new() }
    }

    /// The next letters, about `many`; none at the end.
    async fn next(&mut self, many: usize) -> Result<Vec<Found>, Failure> {
        for look in 0..LOOKS {
            if look > 0 {
                sleep(BETWEEN_LOOKS).await;
            }
            let receive = |_| self.queue.receive(&self.dlq, many.min(PAGE), HIDDEN);
            let received: Result<Vec<_>, _> = join_all((0..many.div_ceil(PAGE)).map(receive)).await.into_iter().collect();
            let mut letters = Vec::new();
            for message in received.map_err(|error| Failure::because(&format!("cannot read {}", self.dlq), error))?.into_iter().flatten() {
                self.held.insert(message.id.clone(), message.receipt.clone());
                if self.seen.insert(message.id.clone()) {
                    letters.push(Letter::open(message));
                }
            }
            if !letters.is_empty() {
                return self.join(letters).await;
            }
        }
        Ok(Vec::new())
    }

    /// Adds the records. A letter whose record cannot be read is told of, and left.
    async fn join(&self, letters: Vec<Letter>) -> Result<Vec<Found>, Failure> {
        let ids: Vec<_> = letters.iter().map(|letter| letter.id.clone()).collect();
        let mut found = Vec::new();
        for (letter, record) in letters.into_iter().zip(self.store.read(&ids).await) {
            match record {
                Ok(record) => found.push(Found { letter, record }),
                Err(error @ StoreError::Unreadable { .. }) => anstream::eprintln!("{}", clean(&error.to_string())),
                Err(error) => return Err(Failure::from(sqjobs::Error::from(error))),
            }
        }
        Ok(found)
    }

    /// Deletes letters; gives back how many could not be.
    async fn delete(&mut self, letters: &[&Letter]) -> usize {
        let receipts: Vec<_> = letters.iter().filter_map(|letter| self.held.remove(&letter.message.id)).collect();
        let errors = self.queue.delete(&self.dlq, &receipts).await.into_iter().filter_map(Result::err);
        errors.inspect(|error| anstream::eprintln!("a letter is still there: {error}; redriving it again does no harm")).count()
    }

    /// Lets others see what is left.
    async fn end(self) {
        let changes: Vec<_> = self.held.into_values().map(|receipt| Visibility { receipt, timeout: Duration::ZERO }).collect();
        self.queue.set_visibility(&self.dlq, &changes).await;
    }

    /// What was not seen, of so many.
    fn out_of_sight(&self, total: u64) -> u64 {
        total.saturating_sub(self.seen.len() as u64)
    }
}

async fn list(aws: &Aws, wanted: ListLetters) -> Result<bool, Failure> {
    let queues = match wanted.queue {
        Some(queue) => vec![aws.queue(&queue)],
        None => queue::with_letters(aws).await?,
    };
    let (now, mut output, mut rows) = (aws.clock.now(), Output::new(), Vec::new());
    for queue in queues {
        let total = queue::letters(aws, &queue).await?;
        let mut walk = Walk::new(aws, &queue);
        while rows.len() < wanted.limit {
            let found = walk.next(WAVE.min(wanted.limit - rows.len())).await?;
            if found.is_empty() {
                break;
            }
            rows.extend(found.into_iter().filter(|found| wanted.letters.mean(found, now)).map(|found| (walk.dlq.clone(), found)));
        }
        tell_hidden(&walk, if rows.len() < wanted.limit { total } else { 0 });
        walk.end().await;
    }
    rows.truncate(wanted.limit);
    if wanted.json {
        rows.iter().try_for_each(|(dlq, found)| output.json(&found.json(dlq)))?;
    } else if rows.is_empty() {
        anstream::eprintln!("none");
    } else {
        let rows = rows.iter().map(|(dlq, found)| {
            let since = found.letter.message.sent_at.map(|at| from_now(at, now)).unwrap_or_default();
            let state = found.record.as_ref().map_or("no record", |record| record.state.as_str());
            let [id, name, kind] = [&found.letter.id, found.name(), found.kind()].map(str::to_owned);
            [dlq.clone(), id, name, kind, since, state.into(), first_line(&found.reason())]
        });
        output.table(["dlq", "id", "name", "kind", "since", "state", "reason"], rows)?;
    }
    Ok(true)
}

async fn show(aws: &Aws, wanted: ShowLetters) -> Result<bool, Failure> {
    let (now, mut output) = (aws.clock.now(), Output::new());
    let mut missing: HashSet<_> = wanted.ids.iter().collect();
    let mut walk = Walk::new(aws, &aws.queue(&wanted.queue));
    let mut shown = Vec::new();
    loop {
        let found = walk.next(WAVE).await?;
        if found.is_empty() {
            break;
        }
        shown.extend(found.into_iter().filter(|Found { letter, .. }| {
            let names = |id: &String| [&letter.id, &letter.message.id].contains(&id);
            missing.retain(|id| !names(id));
            wanted.ids.iter().any(names)
        }));
    }
    for found in &shown {
        if wanted.json {
            output.json(&found.json(&walk.dlq))?;
            continue;
        }
        output.letter(&found.letter, [found.name(), found.kind(), &found.reason()], now)?;
        if let Some(record) = &found.record {
            output.job(record, now)?;
        }
    }
    walk.end().await;
    for id in &missing {
        anstream::eprintln!("there is no letter of {} in sight", clean(id));
    }
    Ok(missing.is_empty())
}

/// What is done with letters.
#[derive(Clone, Copy)]
enum Deed {
    /// Nothing: they are counted.
    Count,
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
    purged: u64,
    /// Not done, though it was meant.
    failed: u64,
    /// Not meant.
    left: u64,
    out_of_sight: u64,
    interrupted: bool,
}

impl Done {
    fn fail(&mut self, letter: &Letter, why: &str) {
        self.failed += 1;
        anstream::eprintln!("{}: {}", clean(&letter.id), clean(why));
    }

    fn json(&self) -> Value {
        let Self { meant, redriven, dropped, purged, failed, left, out_of_sight, interrupted } = self;
        let meant: Vec<_> = meant.iter().map(|((kind, name), count)| json!({"kind": kind, "name": name, "count": count})).collect();
        json!({
            "meant": meant, "redriven": redriven, "dropped": dropped, "purged": purged, "failed": failed, "left": left,
            "out_of_sight": out_of_sight, "interrupted": interrupted,
        })
    }

    fn sentence(&self) -> String {
        let parts = [
            (self.redriven, "redriven"),
            (self.dropped, "dropped, since their jobs have gone on or ended without them"),
            (self.purged, "purged"),
            (self.failed, "failed"),
            (self.left, "left alone"),
        ];
        let parts: Vec<_> = parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        if parts.is_empty() { "none".into() } else { parts.join(", ") }
    }
}

/// One way through a dead-letter queue.
struct Run<'a> {
    aws: &'a Aws,
    queue: String,
    letters: &'a Letters,
    deed: Deed,
    /// The most a second.
    rate: Option<u32>,
}

impl Run<'_> {
    async fn run(&self) -> Result<Done, Failure> {
        let (now, started, mut done) = (self.aws.clock.now(), Instant::now(), Done::default());
        let total = queue::letters(self.aws, &self.queue).await?;
        let mut walk = Walk::new(self.aws, &self.queue);
        let bar = progress(Some(total), "letters");
        let mut interrupt = pin!(ctrl_c());
        let many = self.rate.map_or(WAVE, |rate| WAVE.min(rate as usize));
        let mut acted = 0;
        loop {
            if poll_immediate(&mut interrupt).await.is_some() {
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
            acted += meant.len() as u64;
            for found in &meant {
                *done.meant.entry((found.kind().to_owned(), found.name().to_owned())).or_default() += 1;
            }
            match self.deed {
                Deed::Count => done.dropped += meant.iter().filter(|found| found.next(&self.queue) == Redrive::Drop).count() as u64,
                Deed::Redrive => self.redrive(&mut walk, &meant, &mut done).await,
                Deed::Purge => {
                    let left = walk.delete(&meant.iter().map(|found| &found.letter).collect::<Vec<_>>()).await;
                    done.purged += (meant.len() - left) as u64;
                    done.failed += left as u64;
                }
            }
            if let Some(rate) = self.rate {
                sleep((Duration::from_secs(acted) / rate).saturating_sub(started.elapsed())).await;
            }
        }
        bar.finish_and_clear();
        if !done.interrupted {
            done.out_of_sight = walk.out_of_sight(total);
        }
        walk.end().await;
        Ok(done)
    }

    /// First sent, then deleted: who is killed in between sends again, and the job's record knows the second for a duplicate.
    async fn redrive(&self, walk: &mut Walk, meant: &[Found], done: &mut Done) {
        let (mut backs, mut sent, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for found in meant {
            match found.next(&self.queue) {
                Redrive::Send(back) => {
                    backs.push(back);
                    sent.push(&found.letter);
                }
                Redrive::Drop => ended.push(&found.letter),
                Redrive::Stuck => done.fail(&found.letter, "its body leaves no room for its id; enqueue it again"),
            }
        }
        let answers = walk.queue.send(&self.queue, &backs).await;
        let mut gone = Vec::new();
        for (letter, answer) in sent.into_iter().zip(answers) {
            match answer {
                Ok(_) => gone.push(letter),
                Err(error) => done.fail(letter, &error.to_string()),
            }
        }
        done.redriven += gone.len() as u64;
        done.dropped += ended.len() as u64;
        gone.extend(ended);
        walk.delete(&gone).await;
    }
}

impl Found {
    fn next(&self, queue: &str) -> Redrive {
        self.letter.redrive(self.record.as_ref(), queue)
    }
}

async fn redrive(aws: &Aws, wanted: RedriveLetters) -> Result<bool, Failure> {
    let run = |deed| Run { aws, queue: aws.queue(&wanted.queue), letters: &wanted.letters, deed, rate: wanted.rate };
    act(run, Deed::Redrive, "redriven", [wanted.dry_run, wanted.yes, wanted.json]).await
}

async fn purge(aws: &Aws, wanted: Purge) -> Result<bool, Failure> {
    let run = |deed| Run { aws, queue: aws.queue(&wanted.queue), letters: &wanted.letters, deed, rate: None };
    act(run, Deed::Purge, "purged, and their arguments forgotten", [wanted.dry_run, wanted.yes, wanted.json]).await
}

/// Counts, shows, asks and acts.
async fn act<'a>(run: impl Fn(Deed) -> Run<'a>, deed: Deed, what: &str, [dry_run, yes, json]: [bool; 3]) -> Result<bool, Failure> {
    if dry_run || !yes {
        let counted = Run { rate: None, ..run(Deed::Count) }.run().await?;
        if dry_run && json {
            Output::new().json(&counted.json())?;
            return Ok(true);
        }
        let meant: u64 = counted.meant.values().sum();
        for ((kind, name), count) in &counted.meant {
            anstream::eprintln!("{count:>8}  {}  {}", clean(kind), clean(name));
        }
        if meant == 0 {
            anstream::eprintln!("none");
            return Ok(true);
        }
        let dropped = match (deed, counted.dropped) {
            (Deed::Redrive, 1..) => format!("; {} of them dropped, since their jobs have gone on or ended without them", counted.dropped),
            _ => String::new(),
        };
        if dry_run {
            Output::new().line(format!("{meant} would be {what}{dropped}"))?;
            return Ok(true);
        }
        if !confirmed(&format!("{meant} to be {what}{dropped}. Go on?"), false)? {
            return Ok(false);
        }
    }
    let done = run(deed).run().await?;
    let mut output = Output::new();
    if json {
        output.json(&done.json())?;
    } else {
        output.line(done.sentence())?;
        if done.out_of_sight > 0 {
            anstream::eprintln!("{}", hidden(done.out_of_sight));
        }
        if done.interrupted {
            anstream::eprintln!("interrupted; do the same again to go on");
        }
    }
    Ok(done.failed == 0 && !done.interrupted)
}

fn tell_hidden(walk: &Walk, total: u64) {
    let count = walk.out_of_sight(total);
    if count > 0 {
        anstream::eprintln!("{}", hidden(count));
    }
}

fn hidden(count: u64) -> String {
    format!(
        "{count} more are out of sight: someone looks at them, or they are behind others of their group; look again in {} s",
        HIDDEN.as_secs()
    )
}
