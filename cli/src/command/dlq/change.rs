//! Redrives and purges dead letters: counts them, asks, and acts.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::future::poll_immediate;
use jiff::Timestamp;
use serde_json::{Value, json};
use sqjobs::{Letter, queue::Queue as _};
use tokio::{signal::ctrl_c, time::sleep};

use super::{
    args::{Choices, Filter, Purge, Redrive},
    letter::DeadLetter,
    redrive::{DROPPED, KEPT, NOT_PURGED, Sent, Step},
    walk::{HIDDEN, Pair, WAVE, Walk, more},
};
use crate::{
    aws::Aws,
    command::{feeding::refuse_other_table, queue, table::check_options},
    failure::Failure,
    output::{Output, clean, confirmed, progress},
    shell::shell,
};

/// Time between two looks at a queue whose dead letters are hidden.
const BETWEEN_WAITS: Duration = Duration::from_secs(1);

/// Action of a command on dead letters.
#[derive(Clone, Copy, PartialEq)]
enum Action {
    Redrive,
    Purge,
}

impl Action {
    /// Returns why it keeps matching dead letters.
    fn kept(self) -> &'static str {
        match self {
            Self::Redrive => KEPT,
            Self::Purge => NOT_PURGED,
        }
    }
}

/// Mode of a pass.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Count,
    Change,
}

/// The outcome of a pass.
#[derive(Default)]
struct Counts {
    /// The number of matching dead letters, by kind and name.
    matching: BTreeMap<(String, String), u64>,
    redriven: u64,
    dropped: u64,
    /// Neither redriven nor purged: their arguments would not run, or their job belongs to another queue.
    kept: u64,
    purged: u64,
    /// Matching, but the action failed.
    failed: u64,
    /// Not matching.
    others: u64,
    /// The kinds of those that do not match.
    other_kinds: BTreeSet<String>,
    /// Dead letters of jobs that this pass redrove before. They are counted as redriven only.
    returned: u64,
    unseen: u64,
    interrupted: bool,
}

impl Counts {
    fn fail(&mut self, letter: &Letter, why: &str) {
        self.failed += 1;
        note!("{}: {}", clean(&letter.id), clean(why));
    }

    fn keep(&mut self, letter: &Letter, why: &str) {
        self.kept += 1;
        note!("{}: {}", clean(&letter.id), clean(why));
    }

    fn json(&self) -> Value {
        let Self { matching, redriven, dropped, kept, purged, failed, others, other_kinds: _, returned: _, unseen, interrupted } = self;
        let matching: Vec<_> = matching.iter().map(|((kind, name), count)| json!({"kind": kind, "name": name, "count": count})).collect();
        json!({
            "meant": matching, "redriven": redriven, "dropped": dropped, "kept": kept, "purged": purged, "failed": failed, "left": others,
            "out_of_sight": unseen, "interrupted": interrupted,
        })
    }

    fn sentence(&self, action: Action) -> String {
        let (dropped, kept) = (format!("dropped ({DROPPED})"), format!("kept ({})", action.kept()));
        let parts = [
            (self.redriven, "redriven"),
            (self.dropped, &*dropped),
            (self.kept, &*kept),
            (self.purged, "purged"),
            (self.failed, "failed"),
            (self.others, "not selected"),
        ];
        let parts: Vec<_> = parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        if parts.is_empty() { "none".into() } else { parts.join(", ") }
    }

    /// Returns the plan, such as "1 to be redriven, 2 to be dropped (...)".
    fn forecast(&self, action: Action, verb: &str) -> String {
        let (count, what) = match action {
            Action::Redrive => (self.redriven, "redriven"),
            Action::Purge => (self.purged, "purged (the arguments of the jobs are deleted too)"),
        };
        let others = [(self.dropped, "dropped", DROPPED), (self.kept, "kept", action.kept())].into_iter().filter(|(count, ..)| *count > 0);
        let others = others.map(|(count, what, why)| format!(", {count} {verb} {what} ({why})"));
        format!("{count} {verb} {what}{}", others.collect::<String>())
    }
}

/// One pass through a dead-letter queue.
struct Pass<'a> {
    aws: &'a Aws,
    pair: &'a Pair,
    filter: &'a Filter,
    action: Action,
    mode: Mode,
    /// Maximum number of dead letters per second.
    rate: Option<u32>,
}

impl Pass<'_> {
    /// Runs the pass. Returns the counts also if an error ends it.
    async fn run(&self) -> (Counts, Result<(), Failure>) {
        let (mut walk, mut counts) = (Walk::new(self.aws, self.pair), Counts::default());
        let ended = self.go(&mut walk, &mut counts).await;
        counts.unseen = if counts.interrupted { 0 } else { walk.unseen() };
        walk.end().await;
        (counts, ended)
    }

    async fn go(&self, walk: &mut Walk<'_>, counts: &mut Counts) -> Result<(), Failure> {
        let (now, started) = (self.aws.clock.now(), Instant::now());
        let bar = progress(Some(self.pair.total), "dead letters");
        let mut interrupt = pin!(ctrl_c());
        let many = self.rate.map_or(WAVE, |rate| WAVE.min(rate as usize));
        let (mut acted, mut sent) = (0, Sent::default());
        loop {
            // A count changes nothing, so Ctrl-C ends it at once.
            if self.mode == Mode::Change && poll_immediate(&mut interrupt).await.is_some() {
                counts.interrupted = true;
                break;
            }
            let found = walk.next(many).await?;
            if found.is_empty() {
                // Another reader, such as a view of the page, makes them visible again.
                if counts.matching.is_empty() && started.elapsed() < HIDDEN && walk.hides_more() {
                    sleep(BETWEEN_WAITS).await;
                    continue;
                }
                break;
            }
            bar.inc(found.len() as u64);
            let (matching, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|dead| self.filter.selects(dead, now));
            counts.others += others.len() as u64;
            counts.other_kinds.extend(others.iter().map(|dead| dead.kind().to_owned()));
            // A message that was redriven and has failed again was counted before.
            let has_returned = |dead: &DeadLetter| self.mode == Mode::Change && sent.has_returned(&dead.letter);
            let (returned, matching): (Vec<_>, Vec<_>) = matching.into_iter().partition(has_returned);
            counts.returned += returned.len() as u64;
            acted += matching.len() as u64;
            for dead in &matching {
                *counts.matching.entry((dead.kind().to_owned(), dead.name().to_owned())).or_default() += 1;
            }
            match (self.action, self.mode) {
                (Action::Redrive, Mode::Count) => self.count(&matching, &mut sent, counts, now),
                (Action::Redrive, Mode::Change) => self.redrive(walk, &matching, &mut sent, counts, now).await,
                (Action::Purge, Mode::Count) => counts.purged += self.purged(&matching, counts).len() as u64,
                (Action::Purge, Mode::Change) => {
                    let purged = self.purged(&matching, counts);
                    let undeleted = walk.delete(&purged).await;
                    counts.purged += purged.len() as u64 - undeleted;
                    counts.failed += undeleted;
                }
            }
            if let Some(rate) = self.rate {
                sleep((Duration::from_secs(acted) / rate).saturating_sub(started.elapsed())).await;
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Returns the dead letters that a purge deletes.
    fn purged<'b>(&self, matching: &'b [DeadLetter], counts: &mut Counts) -> Vec<&'b Letter> {
        let mut purged = Vec::new();
        for dead in matching {
            match dead.of_other_queue(&self.pair.queue) {
                Some(why) => counts.keep(&dead.letter, &why),
                None => purged.push(&dead.letter),
            }
        }
        purged
    }

    /// Counts the steps of a redrive.
    fn count(&self, matching: &[DeadLetter], sent: &mut Sent, counts: &mut Counts, now: Timestamp) {
        for dead in matching {
            match sent.step(dead, &self.pair.queue, now) {
                Step::Send(_) => counts.redriven += 1,
                Step::Drop => counts.dropped += 1,
                Step::Keep(why) => counts.keep(&dead.letter, &why),
            }
        }
    }

    /// Sends dead letters, then deletes them. A redrive that is killed in between sends them again, and the job's record shows the second
    /// message to be a duplicate.
    async fn redrive(&self, walk: &mut Walk<'_>, matching: &[DeadLetter], sent: &mut Sent, counts: &mut Counts, now: Timestamp) {
        let (mut sending, mut dropped): (BTreeMap<_, (Vec<_>, Vec<_>)>, _) = (BTreeMap::new(), Vec::new());
        for dead in matching {
            match sent.step(dead, &self.pair.queue, now) {
                Step::Send(message) => {
                    let (messages, letters) = sending.entry(self.pair.queue_of(dead)).or_default();
                    messages.push(message);
                    letters.push(&dead.letter);
                }
                Step::Drop => dropped.push(&dead.letter),
                Step::Keep(why) => counts.keep(&dead.letter, &why),
            }
        }
        let (mut redriven, mut unsent) = (Vec::new(), HashSet::new());
        for (queue, (messages, letters)) in sending {
            for (letter, answer) in letters.into_iter().zip(walk.queue.send(queue, &messages).await) {
                match answer {
                    Ok(_) => redriven.push(letter),
                    Err(error) => {
                        sent.remove(&letter.id);
                        unsent.insert(&letter.id);
                        counts.fail(letter, &error.to_string());
                    }
                }
            }
        }
        let (undecided, dropped): (Vec<_>, Vec<_>) = dropped.into_iter().partition(|letter| unsent.contains(&letter.id));
        for letter in undecided {
            counts.fail(letter, "not deleted, because the other dead letter of this job could not be sent");
        }
        for (letters, count) in [(&redriven, &mut counts.redriven), (&dropped, &mut counts.dropped)] {
            let undeleted = walk.delete(letters).await;
            *count += letters.len() as u64 - undeleted;
            counts.failed += undeleted;
        }
    }
}

pub(super) async fn redrive(aws: &Aws, wanted: Redrive) -> Result<bool, Failure> {
    let pair = pair(aws, &wanted.queue).await?;
    let pass = Pass { aws, pair: &pair, filter: &wanted.filter, action: Action::Redrive, mode: Mode::Change, rate: wanted.rate };
    act(&pass, wanted.choices).await
}

pub(super) async fn purge(aws: &Aws, wanted: Purge) -> Result<bool, Failure> {
    let pair = pair(aws, &wanted.queue).await?;
    let pass = Pass { aws, pair: &pair, filter: &wanted.filter, action: Action::Purge, mode: Mode::Change, rate: None };
    act(&pass, wanted.choices).await
}

/// Finds a queue of this environment and its dead-letter queue.
async fn pair(aws: &Aws, name: &str) -> Result<Pair, Failure> {
    check_options(aws).await?;
    queue::refuse_others(aws, [name]).await?;
    let pair = Pair::find(aws, name).await?;
    refuse_other_table(aws, &pair.queue, &pair.arn).await?;
    Ok(pair)
}

/// Returns true for a kind of dead letter that is refused again, unless its function or the record of its id has changed.
fn is_refused(kind: &str) -> bool {
    matches!(kind, "rejected" | "id_in_use") || kind.starts_with("reserved_")
}

/// Warns of messages that a redrive sends in vain, and prints the remedy.
fn warn(pass: &Pass<'_>, counts: &Counts) {
    let refused = counts.matching.iter().filter(|((kind, _), _)| is_refused(kind));
    let count: u64 = refused.clone().map(|(_, count)| count).sum();
    if pass.action == Action::Purge || count == 0 {
        return;
    }
    let kinds: BTreeSet<_> = refused.map(|((kind, _), _)| &**kind).collect();
    let queue = shell(pass.aws.short(&pass.pair.queue));
    let id = pass.filter.id.as_ref().map(|id| format!(" --id {}", shell(id))).unwrap_or_default();
    let purge: Vec<_> = kinds.iter().map(|kind| format!("`sqjobs dlq purge {queue}{id} --kind {}`", shell(kind))).collect();
    let message = format!(
        "warning: the function refused {count} of these messages ({}), and will refuse them again unless the function was changed. \
         Correct each job and enqueue it again; `sqjobs dlq list {queue}` shows the reasons. Then delete the dead letters: {}",
        kinds.iter().copied().collect::<Vec<_>>().join(", "),
        purge.join(", ")
    );
    note!("{}", clean(&pass.aws.place.with_options(&message)));
}

/// Counts the dead letters, asks for confirmation, and acts.
async fn act(pass: &Pass<'_>, choices: Choices) -> Result<bool, Failure> {
    let Choices { dry_run, yes, json } = choices;
    if dry_run || !yes {
        let (counted, ended) = Pass { mode: Mode::Count, rate: None, ..*pass }.run().await;
        ended?;
        let matching: u64 = counted.matching.values().sum();
        warn(pass, &counted);
        if json && (dry_run || matching == 0) {
            Output::new().json(&counted.json())?;
            return Ok(answer(pass, &counted));
        }
        for ((kind, name), count) in &counted.matching {
            note!("{count:>8}  {}  {}", clean(kind), clean(name));
        }
        if counted.unseen > 0 {
            note!("{}", more(counted.unseen, &pass.pair.dlq));
        }
        match matching {
            0 => {
                note!("none");
                return Ok(answer(pass, &counted));
            }
            _ if dry_run => {
                Output::new().line(counted.forecast(pass.action, "would be"))?;
                return Ok(answer(pass, &counted));
            }
            _ if !confirmed(&format!("{}. Continue?", counted.forecast(pass.action, "to be")), false)? => return Ok(false),
            _ => {}
        }
    }
    let (counts, ended) = pass.run().await;
    let mut output = Output::new();
    if yes {
        warn(pass, &counts);
    }
    if counts.returned > 0 {
        let queue = shell(pass.aws.short(&pass.pair.queue));
        let message = format!(
            "the dead-letter queue contains {} messages of jobs that were redriven: either the job has failed again, or SQS has not \
             deleted its message yet. `sqjobs dlq list {queue}` shows the messages",
            counts.returned
        );
        note!("{}", pass.aws.place.with_options(&message));
    }
    if json {
        output.json(&counts.json())?;
    } else {
        output.line(counts.sentence(pass.action))?;
        if counts.unseen > 0 {
            note!("{}", more(counts.unseen, &pass.pair.dlq));
        }
        if counts.interrupted {
            note!("interrupted; run the command again to continue");
        }
    }
    ended?;
    Ok(answer(pass, &counts))
}

/// Returns true if the action succeeded for each matching dead letter, and there was one of the given id, kind, name or tag.
fn answer(pass: &Pass<'_>, counts: &Counts) -> bool {
    if let Some(kind) = pass.filter.kind.as_ref().filter(|kind| counts.matching.is_empty() && !counts.other_kinds.contains(*kind)) {
        let kinds: Vec<_> = counts.other_kinds.iter().map(|kind| clean(kind)).collect();
        let existing = if kinds.is_empty() { String::new() } else { format!("; the kinds are {}", kinds.join(", ")) };
        note!("no dead letter of kind {} was found{existing}", clean(kind));
        return false;
    }
    let Filter { id, name, tag, .. } = pass.filter;
    for (wanted, what) in [(id, ""), (name, "a job with the name "), (tag, "a job with the tag ")] {
        if let Some(wanted) = wanted.as_ref().filter(|_| counts.matching.is_empty()) {
            note!("no dead letter of {what}{} was found", clean(wanted));
            return false;
        }
    }
    counts.failed == 0 && counts.kept == 0 && !counts.interrupted
}
