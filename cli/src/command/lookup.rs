//! Finds facts about a job without a record: its dead letter, or the queues in which its message may wait.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::Value;
use sqjobs::{Letter, Record, lifecycle::is_unclaimed, store::DynamoDb};

use super::{
    dlq::{
        letter::reason,
        walk::{Pair, Walk},
    },
    mapping::{self, Feed},
    queue::{self, Status},
};
use crate::{
    aws::Aws,
    failure::Failure,
    sentence::{Missing, after_options},
    shell::shell,
    time::from_now,
};

/// Maximum number of dead-letter queues to search.
const QUEUES: usize = 20;
/// Maximum number of queues to describe.
const DESCRIBED: usize = 5;
const LATE: &str = "The counts of SQS may be a minute late.";
/// Age up to which a parked message is still reported. SQS delivers a parked message again within five minutes.
pub(super) const PARKED: SignedDuration = SignedDuration::from_mins(10);

/// A dead letter, and its queues.
pub(super) struct FoundLetter {
    /// The queue whose dead letter it is, without the prefix.
    pub(super) queue: String,
    pub(super) letter: Letter,
    /// The queue with the name of its job, if that is another queue.
    belongs_to: Option<String>,
}

impl FoundLetter {
    async fn new(aws: &Aws, queue: &str, letter: Letter) -> Self {
        let belongs_to = belongs_to(aws, queue, &letter).await;
        Self { queue: queue.to_owned(), letter, belongs_to }
    }
}

/// Returns the queue, without the prefix, of a message that a producer has sent to the dead-letter queue of another queue. It is the
/// queue with the name of the message's job.
pub(super) async fn belongs_to(aws: &Aws, queue: &str, letter: &Letter) -> Option<String> {
    let name = letter.envelope.as_ref().ok().map(|envelope| envelope.name.clone())?;
    if !letter.is_misdirected() || name == queue {
        return None;
    }
    // Without the permission to read the queue, the result is unknown.
    queue::url(aws, &aws.queue(&name)).await.ok().flatten().map(|_| name)
}

/// Returns the options with which the job of a dead letter waits for the same jobs again.
pub(super) fn after(letter: &Letter) -> String {
    letter.envelope.as_ref().map(|own| after_options(&own.depends_on, own.when, own.otherwise)).unwrap_or_default()
}

/// Describes the right queue of a message that is in the dead-letter queue of another one. `queue` and `id` are quoted for a shell, and
/// `after` are the options for its dependencies.
pub(super) fn misplaced(prefix: &str, queue: &str, own: &str, id: &str, after: &str) -> String {
    let name = shell(own);
    format!(
        "Its job belongs to queue {prefix}{own}. A redrive would send the message to queue {prefix}{queue}, whose function may not have \
         the job. Enqueue the job again: `sqjobs enqueue {name} ARGS --id {id}{after}`. Then delete the dead letter: `sqjobs dlq purge {queue} \
         --id {id}`."
    )
}

/// Facts about a job without a record.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) dead_letter: Option<FoundLetter>,
    /// Sentences about parked messages, with what to do. They name the cause, so they come first.
    pub(super) parked: Vec<String>,
    /// Sentences about the dead-letter queues that were searched.
    searched_notes: Vec<String>,
    /// Sentences about the queues in which its message may wait.
    waiting: Vec<String>,
    /// Sentences about queues that were not searched.
    left_out: Vec<String>,
}

/// Looks for a job in one queue, given by its full name, or in all queues of this environment. Ignores dead letters older than `since`.
pub(super) async fn search_queues(aws: &Aws, id: &str, queue: Option<&str>, since: Option<Timestamp>) -> Result<Facts, Failure> {
    let mut facts = Facts::default();
    let statuses = if let Some(queue) = queue {
        vec![queue::status(aws, queue::pair(aws, queue).await?)]
    } else {
        let all = queue::all(aws).await?;
        facts.left_out = all.left_out.notes();
        all.statuses(aws)
    };
    if statuses.is_empty() {
        let which = if aws.place.prefix.is_empty() { String::new() } else { format!(" whose name starts with {}", aws.place.prefix) };
        facts.searched_notes.push(format!("There is no queue with a dead-letter queue{which}; check --prefix and --region."));
        return Ok(facts);
    }
    let (searched, notes) = plan(&statuses, queue.is_some(), &aws.place.prefix, id);
    for status in searched {
        match search(aws, &status.name, id, since).await {
            Ok(Search { newest: Some(letter), .. }) => {
                facts.dead_letter = Some(FoundLetter::new(aws, &status.name, letter).await);
                return Ok(facts);
            }
            Ok(search) => facts.searched_notes.push(search.sentence()),
            Err(error) => facts.searched_notes.push(format!(
                "The dead letters of {} cannot be read: {}.",
                aws.queue(&status.name),
                error.into_message()
            )),
        }
    }
    facts.searched_notes.extend(notes);
    (facts.parked, facts.waiting) = waiting(aws, id, &statuses, queue.is_some()).await?;
    Ok(facts)
}

/// Returns the queues whose dead letters are to be searched, those with the fewest first, and notes about the other queues.
fn plan<'a>(statuses: &'a [Status], is_own: bool, prefix: &str, id: &str) -> (Vec<&'a Status>, Vec<String>) {
    // The counts of SQS may be late, so the job's own queue is always searched.
    let (mut full, empty): (Vec<_>, Vec<_>) = statuses.iter().partition(|status| is_own || status.dead > 0);
    full.sort_by_key(|status| status.dead);
    let left = full.split_off(full.len().min(QUEUES));
    let mut notes = Vec::new();
    if let [first, ..] = &left[..] {
        let names: Vec<_> = left.iter().map(|status| format!("{prefix}{}", status.name)).collect();
        let (names, first, id) = (names.join(", "), shell(&first.name), shell(id));
        notes.push(format!(
            "Not searched: the dead letters of {names}. To search those of the first queue: `sqjobs dlq show {first} {id}`."
        ));
    }
    if !empty.is_empty() {
        let which = if full.is_empty() { "any queue" } else { "the other queues" };
        notes.push(format!("SQS counts no dead letters of {which}."));
    }
    (full, notes)
}

/// Returns what a redrive of a failed job lacks: its dead letter, or the time to run it. If the dead-letter queue cannot be read to its
/// end, nothing is missing.
pub(super) async fn missing_for_redrive(aws: &Aws, record: &Record, now: Timestamp) -> Missing {
    let Ok(pair) = Pair::find(aws, aws.short(&record.queue)).await else { return Missing::Nothing };
    let is_copy = |letter: &Letter| !is_other(letter, record);
    let mut walk = Walk::new(aws, &pair);
    let found = walk.of_job(&record.id, |letters| letters.iter().any(is_copy)).await;
    let unseen = walk.unseen();
    walk.end().await;
    let Ok(letters) = found else { return Missing::Nothing };
    let expires_at = |letter: &Letter| letter.envelope.as_ref().ok()?.expires_at;
    match letters.iter().find(|letter| is_copy(letter)) {
        Some(copy) if expires_at(copy).is_some_and(|at| at <= now) => Missing::Time,
        Some(copy) if connects(copy, Some(record)) => Missing::Retry,
        None if unseen == 0 => Missing::DeadLetter,
        _ => Missing::Nothing,
    }
}

/// Returns `true` if the rejected message connects its job to other jobs of which the record of the job, if any, knows nothing.
pub(super) fn connects(letter: &Letter, record: Option<&Record>) -> bool {
    if record.is_some_and(|record| record.generation > 0 || !is_unclaimed(record)) {
        return false;
    }
    // The message as a whole may be unreadable.
    let body: Value = serde_json::from_str(&letter.message.body).unwrap_or_default();
    let is_recorded = record.is_some_and(|record| record.dependencies.is_some());
    letter.kind() == Some("rejected") && (!body["jobs"].is_null() || !body["depends_on"].is_null() && !is_recorded)
}

/// Describes a dead letter that has the id of a recorded job but is not the copy that the job left when it failed.
pub(super) async fn other_dead_letter(aws: &Aws, record: &Record, now: Timestamp) -> Option<String> {
    match find_other(aws, record).await {
        Ok(found) => found.map(|(queue, letter)| describe_other(&aws.place.prefix, &queue, &letter, &record.id, now)),
        Err(error) => Some(format!("It is unknown whether another message with this id is a dead letter: {}.", error.into_message())),
    }
}

async fn find_other(aws: &Aws, record: &Record) -> Result<Option<(String, Letter)>, Failure> {
    let statuses = queue::all(aws).await?.statuses(aws);
    let (searched, _) = plan(&statuses, false, &aws.place.prefix, &record.id);
    for status in searched {
        let pair = Pair::find(aws, &status.name).await?;
        let mut walk = Walk::new(aws, &pair);
        let found = walk.of_job(&record.id, |letters| letters.iter().any(|letter| is_other(letter, record))).await;
        walk.end().await;
        if let Some(letter) = found?.into_iter().find(|letter| is_other(letter, record)) {
            return Ok(Some((status.name.clone(), letter)));
        }
    }
    Ok(None)
}

/// Returns `true` if no attempt of the job has left this dead letter, because its kind shows that the message was not the job's.
fn is_other(letter: &Letter, record: &Record) -> bool {
    let kind = letter.kind();
    let is_own = record.error.as_ref().is_some_and(|error| Some(&*error.kind) == kind);
    let is_refused = kind.is_some_and(|kind| matches!(kind, "id_in_use" | "rejected") || kind.starts_with("reserved_"));
    !is_own && (is_refused || letter.is_misdirected())
}

fn describe_other(prefix: &str, queue: &str, letter: &Letter, id: &str, now: Timestamp) -> String {
    let (full_name, queue, id) = (format!("{prefix}{queue}"), shell(queue), shell(id));
    format!(
        "Another message with this id is a dead letter of queue {full_name}, and does not run.{} Reason: {}. To see its arguments: \
         `sqjobs dlq show {queue} {id}`. To run its arguments, enqueue them with another id. To delete the dead letters with this id: \
         `sqjobs dlq purge {queue} --id {id}`.",
        sent(letter, now),
        reason(letter)
    )
}

/// The outcome of a search through one dead-letter queue.
struct Search {
    dlq: String,
    /// The newest dead letter of the job.
    newest: Option<Letter>,
    /// A dead letter of the job that is older than requested.
    older: Option<Letter>,
    seen: usize,
    unseen: u64,
}

impl Search {
    fn sentence(&self) -> String {
        let Self { dlq, older, seen, unseen, .. } = self;
        let rest = match unseen {
            0 => String::new(),
            count => format!("; about {count} more were not searched"),
        };
        match older {
            None => format!("{dlq} has no dead letter with this id ({seen} searched{rest})."),
            Some(letter) => format!("{dlq} has only an older dead letter with this id ({}).", reason(letter)),
        }
    }
}

async fn search(aws: &Aws, queue: &str, id: &str, since: Option<Timestamp>) -> Result<Search, Failure> {
    let pair = Pair::find(aws, queue).await?;
    let mut walk = Walk::new(aws, &pair);
    let found = walk.of_job(id, |letters| letters.iter().any(|letter| letter.message.sent_at >= since)).await;
    let (seen, unseen) = (walk.seen(), walk.unseen());
    walk.end().await;
    let (new, old): (Vec<_>, Vec<_>) = found?.into_iter().partition(|letter| letter.message.sent_at >= since);
    let newest = |letters: Vec<Letter>| letters.into_iter().max_by_key(|letter| letter.message.sent_at);
    Ok(Search { dlq: pair.dlq.clone(), newest: newest(new), older: newest(old), seen, unseen })
}

/// Describes parked messages, and the queues that hold messages: always the job's own.
async fn waiting(aws: &Aws, id: &str, statuses: &[Status], is_own: bool) -> Result<(Vec<String>, Vec<String>), Failure> {
    let statuses: Vec<_> = statuses.iter().filter(|status| is_own || status.depth.all() > 0).cloned().collect();
    if statuses.is_empty() {
        return Ok((Vec::new(), vec!["SQS counts no messages in any queue.".into(), LATE.into()]));
    }
    let feeds = mapping::feeds(aws, &statuses).await.unwrap_or_default();
    let now = aws.clock.now();
    let today = now.to_zoned(TimeZone::UTC).date();
    let tallies = DynamoDb::new(aws.dynamodb(), aws.place.table()).stats(today).await.unwrap_or_default();
    let (mut parked, mut remedies, mut lines) = (Vec::new(), BTreeSet::new(), Vec::new());
    for (place, status) in statuses.iter().take(DESCRIBED).enumerate() {
        let depth = &status.depth;
        let fed = feeds.get(place).map(|feed| describe_feed(feed, &status.name)).unwrap_or_default();
        lines.push(format!(
            "Queue {}: {} waiting, {} in flight, {} delayed{fed}.",
            aws.queue(&status.name),
            depth.waiting,
            depth.in_flight,
            depth.delayed
        ));
        if let Some(Feed { function: Some(function), .. }) = feeds.get(place).filter(|_| depth.in_flight > 0) {
            lines.push(format!(
                "If its messages stay in flight, read the log of the function, because the function may fail at its start: log group \
                 /aws/lambda/{function}."
            ));
        }
        let Some(tally) = tallies.get(&aws.queue(&status.name)) else { continue };
        for (kind, at) in tally.parked_at.iter().filter(|(_, at)| now.duration_since(**at) < PARKED) {
            let whose = match tally.saw(kind, id) {
                Some(true) => "the message of this job",
                Some(false) => continue,
                None => "several messages, perhaps the one of this job",
            };
            let (why, remedy) = if kind == "contract" {
                (
                    "the message needs a version or a feature that the function lacks",
                    "Check the fields `v` and `needs` of the message, or deploy the function with a newer version of sqjobs.",
                )
            } else {
                ("the function does not have the job", "Check the job's name and queue, or deploy a function that has the job.")
            };
            let (at, queue) = (from_now(*at, now), aws.queue(&status.name));
            parked.push(format!("The function of queue {queue} parked {whose}. The reason: {why}. The last message was parked {at}."));
            remedies.insert(remedy);
        }
    }
    if !remedies.is_empty() {
        let remedies = remedies.into_iter().collect::<Vec<_>>().join(" ");
        parked.push(format!("{remedies} A parked message waits for one day, then becomes a dead letter."));
    }
    if let Some(more) = statuses.len().checked_sub(DESCRIBED).filter(|more| *more > 0) {
        lines.push(format!("{more} more queues hold messages: `sqjobs queue list` shows them."));
    }
    lines.push(LATE.into());
    Ok((parked, lines))
}

fn describe_feed(feed: &Feed, queue: &str) -> String {
    let queue = shell(queue);
    match (&feed.function, feed.mapping.as_deref()) {
        (None, _) => format!("; no function reads it (connect one with `sqjobs queue create {queue} --function FUNCTION`)"),
        (Some(function), Some("Enabled")) => format!("; function {function} reads it"),
        (Some(function), Some("Disabled")) => format!("; function {function} is paused (`sqjobs queue resume {queue}` resumes it)"),
        (Some(function), state) => {
            format!("; function {function} reads it, and the state of its event source mapping is {}", state.unwrap_or("unknown"))
        }
    }
}

impl Facts {
    /// Describes the facts in sentences.
    pub(super) fn sentences(&self, id: &str, prefix: &str, now: Timestamp) -> Vec<String> {
        match &self.dead_letter {
            Some(letter) => describe_dead_letter(prefix, letter, id, "ARGS", now),
            None => self.parked.iter().chain(&self.searched_notes).chain(&self.waiting).chain(&self.left_out).cloned().collect(),
        }
    }
}

/// Returns a sentence about the time at which a message was sent.
fn sent(letter: &Letter, now: Timestamp) -> String {
    letter.message.sent_at.map(|at| format!(" It was sent {}.", from_now(at, now))).unwrap_or_default()
}

/// Describes the dead letter of a job without a record, with advice. `args` are the arguments of the job that replaces it.
pub(super) fn describe_dead_letter(
    prefix: &str,
    FoundLetter { queue, letter, belongs_to }: &FoundLetter,
    id: &str,
    args: &str,
    now: Timestamp,
) -> Vec<String> {
    let name = letter.envelope.as_ref().ok().map(|envelope| &*envelope.name);
    let to = if name == Some(queue) || belongs_to.is_some() { String::new() } else { format!(" --queue {}", shell(queue)) };
    let (full_name, queue, id) = (format!("{prefix}{queue}"), shell(queue), shell(id));
    let after = after(letter);
    let enqueue = format!("`sqjobs enqueue {} {args} --id {id}{to}{after}`", name.map_or("NAME".into(), shell));
    let has_expired = letter.envelope.as_ref().is_ok_and(|own| own.expires_at.is_some_and(|at| at <= now));
    let next = match letter.kind() {
        _ if has_expired => format!(
            "The job has expired, so a redrive would not run it. Enqueue it again: {enqueue}. Then delete the dead letter: `sqjobs dlq \
             purge {queue} --id {id}`."
        ),
        Some(_) if connects(letter, None) => format!(
            "After a redrive, the function would reject the message again. Its message connects the job to other jobs: correct the message, \
             and send it again, for example with `sqjobs enqueue --from FILE`. Then delete the dead letter: `sqjobs dlq purge {queue} --id \
             {id}`."
        ),
        Some("rejected") => format!(
            "After a redrive, the function would reject the message again. Enqueue the job with valid arguments: {enqueue}. Then delete \
             the dead letter: `sqjobs dlq purge {queue} --id {id}`."
        ),
        Some(kind) if kind.starts_with("reserved_") => format!(
            "After a redrive, the function would reject the message again. Enqueue the job without the reserved field: {enqueue}. Then \
             delete the dead letter: `sqjobs dlq purge {queue} --id {id}`."
        ),
        Some("id_in_use") => format!(
            "The id belonged to another job. Enqueue this job with another id, then delete the dead letter: `sqjobs dlq purge {queue} --id {id}`."
        ),
        Some("parked" | "contract") => {
            format!("Deploy a function that has the job, then send the message again: `sqjobs dlq redrive {queue} --id {id}`.")
        }
        _ if letter.is_misdirected() => match belongs_to {
            Some(own) => misplaced(prefix, &queue, own, &id, &after),
            None if to.is_empty() => {
                format!(
                    "To run the job, send the message to its queue: `sqjobs dlq redrive {queue} --id {id}`. Change the producer so that \
                     it sends to queue {full_name}."
                )
            }
            None => format!(
                "If the function of queue {full_name} has the job {}, send the message to that queue: `sqjobs dlq redrive {queue} --id \
                 {id}`. Change the producer so that it sends to the queue of the job's function.",
                name.unwrap_or_default()
            ),
        },
        _ => format!("Correct the cause, then send the message again: `sqjobs dlq redrive {queue} --id {id}`."),
    };
    vec![
        format!("Its message is a dead letter of queue {full_name}.{} Reason: {}.", sent(letter, now), reason(letter)),
        format!("To see the message: `sqjobs dlq show {queue} {id}`."),
        next,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::queue::Depth;

    fn status(name: &str, dead: u64) -> Status {
        Status { name: name.into(), depth: Depth::default(), dead, arn: String::new() }
    }

    #[test]
    fn twenty_dead_letter_queues_are_searched_and_the_others_are_named() {
        let mut statuses: Vec<_> = (1..=22).map(|dead| status(&format!("queue-{dead}"), dead)).collect();
        statuses.reverse();
        statuses.push(status("empty", 0));
        let (searched, notes) = plan(&statuses, false, "live-", "a");
        let searched: Vec<_> = searched.iter().map(|status| status.dead).collect();
        assert_eq!(searched, (1..=20).collect::<Vec<_>>(), "the fewest dead letters first");
        assert_eq!(
            notes[0],
            "Not searched: the dead letters of live-queue-21, live-queue-22. To search those of the first queue: `sqjobs dlq show queue-21 a`."
        );
        assert!(notes[1].starts_with("SQS counts no dead letters of the other queues"), "{notes:?}");
    }

    #[test]
    fn the_queue_of_a_job_is_searched_though_it_counts_no_dead_letter() {
        let statuses = [status("empty", 0)];
        assert_eq!(plan(&statuses, true, "live-", "a").0.len(), 1);
        let (searched, notes) = plan(&statuses, false, "live-", "a");
        assert!(searched.is_empty() && notes[0].contains("of any queue"), "{notes:?}");
    }

    #[test]
    fn a_search_says_how_many_dead_letters_it_did_not_look_at() {
        let search = |unseen| Search { dlq: "a-dlq".into(), newest: None, older: None, seen: 1000, unseen }.sentence();
        assert_eq!(search(0), "a-dlq has no dead letter with this id (1000 searched).");
        assert_eq!(search(7), "a-dlq has no dead letter with this id (1000 searched; about 7 more were not searched).");
    }
}
