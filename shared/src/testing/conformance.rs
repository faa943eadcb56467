//! The conformance suites for stores, queues and rows of schedules. They run on the AWS adapters and on the in-memory adapters.
//!
//! Each function panics at the first violation.

mod rows;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    Dependencies, Dlq, Failure, Otherwise, Past, Policy, Record, State, When, beater,
    lifecycle::{self, Claim, Decision, Ending, Request},
    names::MORE,
    queue::{self, Message, Outgoing, QueueError, Source, Visibility},
    store::{DynamoDb, Index, Link, Linked, Listing, Store, StoreError, Write, Written},
};

/// Checks a store and its due index, which may lag behind a little. The store may contain other records.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// sqjobs::testing::conformance::store(&sqjobs::store::Memory::new()).await;
/// # }
/// ```
pub async fn store(store: &dyn Index) {
    what_is_due_is_found_in_its_shard_and_in_the_order_of_its_time(store).await;
    a_record_is_inserted_once(store).await;
    every_attribute_comes_back_and_absent_ones_are_removed(store).await;
    a_record_is_replaced_only_as_it_was_seen(store).await;
    writes_of_a_request_succeed_or_fail_alone(store).await;
    reads_answer_in_order(store).await;
    what_cannot_be_stored_is_refused_alone(store).await;
    a_due_record_is_claimed_straight_and_its_mark_then_fails(store).await;
    a_job_is_cancelled_before_it_was_seen_while_it_waits_and_while_it_runs(store).await;
    a_long_snooze_waits_in_the_record(store).await;
    what_is_unfinished_is_seen_by_and_by(store).await;
    what_has_failed_is_in_a_list_until_it_is_taken_up_again(store).await;
    jobs_are_listed_under_what_they_are_told_to_be(store).await;
    a_job_gets_dependents_in_certain_states_and_at_most_twenty(store).await;
    dependencies_are_removed_from_a_blocked_job_only(store).await;
    a_key_gets_holders_while_a_place_is_free(store).await;
    the_oldest_records_of_a_list_come_first(store).await;
    the_tags_of_a_job_change_beside_its_attempt(store).await;
    a_write_leaves_the_links_that_it_does_not_change(store).await;
    a_job_does_not_end_without_its_new_dependents(store).await;
    a_job_that_runs_again_is_due_although_its_end_was_settled_meanwhile(store).await;
}

fn fresh() -> Record {
    Record { id: format!("job-{}", Uuid::new_v4().simple()), name: "job".into(), queue: "queue".into(), ..Record::default() }
}

async fn write(store: &dyn Store, next: Record, seen: Option<&Record>) -> Written {
    let write = Write { next: next.into(), seen: seen.cloned().map(Into::into) };
    write_many(store, vec![write]).await.remove(0).expect("the store answers")
}

async fn write_many(store: &dyn Store, writes: Vec<Write>) -> Vec<Result<Written, StoreError>> {
    let answers = store.write(&writes).await;
    assert_eq!(answers.len(), writes.len(), "one answer for each write");
    answers
}

async fn read(store: &dyn Store, id: &str) -> Option<Record> {
    store.read(&[id.to_owned()]).await.remove(0).expect("the store answers")
}

async fn a_record_is_inserted_once(store: &dyn Store) {
    let first = Record { owner: Some("first".into()), ..fresh() };
    let second = Record { owner: Some("second".into()), ..first.clone() };
    assert_eq!(write(store, first.clone(), None).await, Written::Done);
    assert!(matches!(write(store, second, None).await, Written::Refused(_)), "a second insert is refused");
    assert_eq!(read(store, &first.id).await, Some(first));
}

async fn every_attribute_comes_back_and_absent_ones_are_removed(store: &dyn Store) {
    let full = full();
    write(store, full.clone(), None).await;
    assert_eq!(read(store, &full.id).await, Some(full.clone()));
    let bare = Record { id: full.id.clone(), ..fresh() };
    assert_eq!(write(store, bare.clone(), Some(&full)).await, Written::Done);
    assert_eq!(read(store, &full.id).await, Some(bare.clone()));
    assert_eq!(write(store, full.clone(), Some(&bare)).await, Written::Done);
    assert_eq!(read(store, &full.id).await, Some(full));
}

/// Returns a record with every attribute, and with every kind of JSON value.
fn full() -> Record {
    let at = "2026-11-22T10:20:30.450Z".parse::<Timestamp>().ok();
    let failure = Failure { kind: "error".into(), message: "it \"broke\"\n✗".into(), at };
    let value =
        json!({"text": "", "int": -5, "big": u64::MAX, "half": 0.5, "small": 1e-100, "yes": true, "none": null, "list": [[], {}, "x"]});
    Record {
        state: State::Running,
        attempts: 2,
        max_attempts: 5,
        generation: 7,
        owner: Some("owner".into()),
        lease_until: Some(1_700_000_000_123),
        enqueued_at: at,
        run_at: at,
        started_at: at,
        finished_at: at,
        result: Some(value.clone()),
        error: Some(failure.clone()),
        history: vec![Past { generation: 6, started_at: at, kind: failure.kind, message: failure.message, at }],
        snoozes: 3,
        runs: 4,
        tags: vec!["a".into(), "b".into()],
        meta: [("key".to_owned(), value.clone())].into_iter().collect(),
        parent_id: Some("parent".into()),
        root_id: Some("root".into()),
        progress: Some(json!(0.25)),
        checkpoint: Some(value),
        trace_id: Some("0af7651916cd43dd8448eb211c80319c".into()),
        dlq: Some(Dlq::Pending),
        cancel_requested: true,
        envelope: Some("{}".into()),
        dependencies: Some(Box::new(Dependencies {
            ids: vec!["b".into(), "a".into()],
            when: When::Failed,
            otherwise: Otherwise::Cancel,
            until: at,
            run_at: at,
            met: true,
        })),
        blocked_on: ["a".to_owned(), "b".to_owned()].into(),
        dependents: ["c".to_owned()].into(),
        due: Some("due#3".into()),
        listed: Some("failed#3".into()),
        listed_at: at,
        purge_at: Some(1_800_000_000),
        ..fresh()
    }
}

const LIVE: &[State] = &[State::Queued, State::Running];

fn register<const N: usize>(job: &Record, dependents: [&str; N]) -> Link {
    Link::Register { id: job.id.clone(), dependents: dependents.map(str::to_owned).into(), states: LIVE }
}

fn remove<const N: usize>(job: &Record, dependencies: [&str; N]) -> Link {
    Link::Remove { id: job.id.clone(), dependencies: dependencies.map(str::to_owned).into() }
}

async fn link(store: &dyn Store, link: Link) -> Linked {
    store.link(&[link]).await.remove(0).expect("the store answers")
}

/// A refusal may lack the record.
fn is_refused(answer: &Linked, stored: Option<&Record>) -> bool {
    matches!(answer, Linked::Refused(shown) if shown.is_none() || shown.as_deref() == stored)
}

async fn a_job_gets_dependents_in_certain_states_and_at_most_twenty(store: &dyn Store) {
    let (job, ended) = (fresh(), Record { state: State::Failed, ..fresh() });
    for record in [&job, &ended] {
        write(store, record.clone(), None).await;
    }
    let one = Record { dependents: ["a".to_owned()].into(), ..job.clone() };
    for _ in 0..2 {
        assert_eq!(link(store, register(&job, ["a"])).await, Linked::Done(Box::new(one.clone())), "a repetition has no effect");
    }
    let missing = fresh();
    let answers = store.link(&[register(&missing, ["a"]), register(&ended, ["a"]), register(&job, ["b", "c"])]).await;
    let [unknown, refused, done] = answers.try_into().expect("one answer for each");
    assert_eq!(unknown.expect("an answer"), Linked::Refused(None));
    assert_eq!(read(store, &missing.id).await, None, "no record appears");
    assert!(is_refused(&refused.expect("an answer"), Some(&ended)));
    let three = Record { dependents: ["a", "b", "c"].map(str::to_owned).into(), ..job.clone() };
    assert_eq!(done.expect("an answer"), Linked::Done(Box::new(three.clone())));
    let many: BTreeSet<_> = (0..18).map(|number| format!("d{number}")).collect();
    let too_many = Link::Register { id: job.id.clone(), dependents: many.clone(), states: LIVE };
    assert!(is_refused(&link(store, too_many).await, Some(&three)));
    let rest = Link::Register { id: job.id.clone(), dependents: many.into_iter().skip(1).collect(), states: LIVE };
    assert!(matches!(link(store, rest).await, Linked::Done(full) if full.dependents.len() == 20));
    assert!(is_refused(&link(store, register(&job, ["e"])).await, read(store, &job.id).await.as_ref()));
    assert!(matches!(link(store, register(&job, [MORE])).await, Linked::Done(marked) if marked.dependents.len() == 21));
    assert!(is_refused(&link(store, register(&ended, [MORE])).await, Some(&ended)));
}

async fn dependencies_are_removed_from_a_blocked_job_only(store: &dyn Store) {
    let blocked_on = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
    let blocked = Record { state: State::Blocked, blocked_on: blocked_on(&["a", "b", "c"]), ..fresh() };
    let queued = Record { blocked_on: blocked_on(&["a"]), ..fresh() };
    for record in [&blocked, &queued] {
        write(store, record.clone(), None).await;
    }
    let rest = Record { blocked_on: blocked_on(&["c"]), ..blocked.clone() };
    assert_eq!(link(store, remove(&blocked, ["a", "b", "x"])).await, Linked::Done(Box::new(rest)));
    let free = Record { blocked_on: BTreeSet::new(), ..blocked.clone() };
    for _ in 0..2 {
        assert_eq!(link(store, remove(&blocked, ["c"])).await, Linked::Done(Box::new(free.clone())), "a repetition has no effect");
    }
    assert!(is_refused(&link(store, remove(&queued, ["a"])).await, Some(&queued)));
    assert_eq!(link(store, remove(&fresh(), ["a"])).await, Linked::Refused(None));
}

async fn a_key_gets_holders_while_a_place_is_free(store: &dyn Store) {
    let key = fresh();
    let take = |holder: &str, state, limit, fixed_limit| Link::Take {
        id: key.id.clone(),
        holder: holder.to_owned(),
        state,
        limit,
        fixed_limit,
        purge_at: 1_800_000_000,
    };
    let free = |holder: &str| take(holder, State::Queued, 2, None);
    assert_eq!(link(store, free("a")).await, Linked::Refused(None), "there is no key");
    write(store, key.clone(), None).await;
    let with = |holders: &[&str]| Record {
        holders: holders.iter().map(|holder| (*holder).to_owned()).collect(),
        limit: Some(2),
        purge_at: Some(1_800_000_000),
        ..key.clone()
    };
    assert_eq!(link(store, free("a")).await, Linked::Done(Box::new(with(&["a"]))));
    assert!(is_refused(&link(store, take("b", State::Blocked, 2, None)).await, Some(&with(&["a"]))), "no job waits");
    assert!(is_refused(&link(store, take("b", State::Queued, 1, None)).await, Some(&with(&["a"]))), "it is full");
    assert!(is_refused(&link(store, take("b", State::Queued, 2, Some(2))).await, Some(&with(&["a"]))), "no operator has set a limit");
    assert_eq!(link(store, free("b")).await, Linked::Done(Box::new(with(&["a", "b"]))));
    assert!(is_refused(&link(store, free("c")).await, Some(&with(&["a", "b"]))));
    let give = |holder: &str| Link::Give { id: key.id.clone(), holders: [holder.to_owned()].into() };
    for _ in 0..2 {
        assert_eq!(link(store, give("a")).await, Linked::Done(Box::new(with(&["b"]))), "a repetition has no effect");
    }
    let at = Timestamp::from_second(1_777_777_777).expect("an instant");
    let (id, owner, due) = (key.id.clone(), "token".into(), "due#3".into());
    let mark = Link::Await { id, owner, due, limit: Some(2), at, purge_at: 1_800_000_000 };
    let marked = Record { state: State::Blocked, owner: Some("token".into()), due: Some("due#3".into()), run_at: Some(at), ..with(&["b"]) };
    assert_eq!(link(store, mark).await, Linked::Done(Box::new(marked.clone())));
    assert!(is_refused(&link(store, free("c")).await, Some(&marked)), "a job waits");
    let fixed = Record { fixed_limit: Some(3), ..marked.clone() };
    assert_eq!(write(store, fixed.clone(), Some(&marked)).await, Written::Done);
    let handed = Record { holders: ["b".to_owned(), "c".to_owned()].into(), limit: Some(1), ..fixed };
    assert_eq!(link(store, take("c", State::Blocked, 1, Some(3))).await, Linked::Done(Box::new(handed)));
}

async fn the_oldest_records_of_a_list_come_first(store: &dyn Store) {
    let list = format!("key:{}", fresh().id);
    let at = |second| Timestamp::from_second(second).ok();
    let listed = |second| Record { listed: Some(list.clone()), listed_at: at(second), ..fresh() };
    let records = [listed(3), listed(1), listed(2)];
    for record in &records {
        write(store, record.clone(), None).await;
    }
    let oldest = async |limit| store.oldest(&list, limit).await.expect("the store answers");
    assert_eq!(oldest(10).await, [&records[1].id, &records[2].id, &records[0].id].map(Clone::clone));
    assert_eq!(oldest(1).await, [records[1].id.clone()]);
    write(store, Record { listed: None, listed_at: None, ..records[1].clone() }, Some(&records[1])).await;
    assert_eq!(oldest(1).await, [records[2].id.clone()]);
}

async fn the_tags_of_a_job_change_beside_its_attempt(store: &dyn Store) {
    let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
    let running = Record { state: State::Running, owner: Some("a".into()), generation: 1, lease_until: Some(9), ..fresh() };
    write(store, running.clone(), None).await;
    let change =
        |seen: &[&str], next: &[&str]| Link::Tag { id: running.id.clone(), name: running.name.clone(), seen: tags(seen), tags: tags(next) };
    let tagged = |own: &[&str]| Record { tags: tags(own), ..running.clone() };
    assert_eq!(link(store, change(&[], &["x", "y"])).await, Linked::Done(Box::new(tagged(&["x", "y"]))));
    for stale in [&[][..], &["x"], &["y", "x"], &["x", "y", "z"]] {
        assert!(is_refused(&link(store, change(stale, &["z"])).await, Some(&tagged(&["x", "y"]))), "{stale:?}");
    }
    let other = Link::Tag { id: running.id.clone(), name: "other".into(), seen: tags(&["x", "y"]), tags: tags(&["z"]) };
    assert!(is_refused(&link(store, other).await, Some(&tagged(&["x", "y"]))), "it is another job");
    let missing = Link::Tag { id: fresh().id, name: String::new(), seen: Vec::new(), tags: tags(&["z"]) };
    assert_eq!(link(store, missing.clone()).await, Linked::Refused(None));
    assert_eq!(read(store, missing.id()).await, None, "no record appears");
    // The attempt has read the record before.
    let renewed = Record { lease_until: Some(10), ..running.clone() };
    assert_eq!(write(store, renewed.clone(), Some(&running)).await, Written::Done);
    assert_eq!(read(store, &running.id).await, Some(Record { tags: tags(&["x", "y"]), ..renewed.clone() }));
    assert!(matches!(link(store, change(&["x", "y"], &["y"])).await, Linked::Done(_)));
    let ended = Record { state: State::Succeeded, lease_until: None, ..renewed.clone() };
    assert_eq!(write(store, ended.clone(), Some(&renewed)).await, Written::Done);
    assert_eq!(link(store, change(&["y"], &[])).await, Linked::Done(Box::new(ended)), "a record without tags lacks them");
}

async fn a_write_leaves_the_links_that_it_does_not_change(store: &dyn Store) {
    let seen = fresh();
    write(store, seen.clone(), None).await;
    link(store, register(&seen, ["a"])).await;
    let next = Record { attempts: 1, blocked_on: ["b".to_owned()].into(), ..seen.clone() };
    assert_eq!(write(store, next.clone(), Some(&seen)).await, Written::Done);
    assert_eq!(read(store, &seen.id).await, Some(Record { dependents: ["a".to_owned()].into(), ..next }));
}

async fn a_job_that_runs_again_is_due_although_its_end_was_settled_meanwhile(store: &dyn Store) {
    let at = Timestamp::from_second(1_777_777_777).ok();
    let owed = Record { state: State::Cancelled, due: Some("due#3".into()), run_at: at, ..fresh() };
    write(store, owed.clone(), None).await;
    let settled = Record { due: None, run_at: None, ..owed.clone() };
    assert_eq!(write(store, settled, Some(&owed)).await, Written::Done);
    let again = Record { state: State::Scheduled, owner: Some("again".into()), ..owed.clone() };
    assert_eq!(write(store, again.clone(), Some(&owed)).await, Written::Done);
    assert_eq!(read(store, &owed.id).await, Some(again));
}

async fn a_job_does_not_end_without_its_new_dependents(store: &dyn Store) {
    let seen = fresh();
    write(store, seen.clone(), None).await;
    link(store, register(&seen, ["a"])).await;
    let stored = Record { dependents: ["a".to_owned()].into(), ..seen.clone() };
    let next = Record { state: State::Succeeded, ..seen.clone() };
    assert_eq!(write(store, next.clone(), Some(&seen)).await, Written::Refused(Some(Box::new(stored.clone()))));
    // A write that changes the dependents requires those that were read as well.
    let changed = |ids: &[&str]| Record { dependents: ids.iter().map(|id| (*id).to_owned()).collect(), ..seen.clone() };
    assert_eq!(write(store, changed(&["a", "b"]), Some(&seen)).await, Written::Refused(Some(Box::new(stored.clone()))));
    assert_eq!(write(store, changed(&["a", "b"]), Some(&stored)).await, Written::Done);
    link(store, register(&seen, ["c"])).await;
    let stored = changed(&["a", "b", "c"]);
    for fewer in [&["a", "b"][..], &["a"], &["a", "b", "d"]] {
        let seen = changed(fewer);
        let next = Record { state: State::Succeeded, ..seen.clone() };
        assert_eq!(write(store, next, Some(&seen)).await, Written::Refused(Some(Box::new(stored.clone()))), "{fewer:?}");
    }
    let next = Record { state: State::Succeeded, ..stored.clone() };
    assert_eq!(write(store, next.clone(), Some(&stored)).await, Written::Done);
    assert_eq!(read(store, &seen.id).await, Some(next));
}

async fn a_record_is_replaced_only_as_it_was_seen(store: &dyn Store) {
    let stored = Record { generation: 2, owner: Some("me".into()), lease_until: Some(5), state: State::Running, ..fresh() };
    write(store, stored.clone(), None).await;
    let stale = [
        Record { generation: 1, ..stored.clone() },
        Record { generation: 0, ..stored.clone() },
        Record { owner: Some("other".into()), ..stored.clone() },
        Record { owner: None, ..stored.clone() },
        Record { state: State::Queued, ..stored.clone() },
        Record { lease_until: Some(4), ..stored.clone() },
        Record { lease_until: None, ..stored.clone() },
        Record { dlq: Some(Dlq::Pending), ..stored.clone() },
        Record { cancel_requested: true, ..stored.clone() },
    ];
    let next = Record { attempts: 9, ..stored.clone() };
    for stale in stale {
        let refused = write(store, next.clone(), Some(&stale)).await;
        assert_eq!(refused, Written::Refused(Some(Box::new(stored.clone()))), "{stale:?} is not what is stored");
    }
    assert_eq!(write(store, next.clone(), Some(&stored)).await, Written::Done);
    assert_eq!(read(store, &next.id).await, Some(next));
    assert!(matches!(write(store, fresh(), Some(&stored)).await, Written::Refused(None)), "what is absent was not seen");
}

async fn writes_of_a_request_succeed_or_fail_alone(store: &dyn Store) {
    let records: Vec<_> = (0..60).map(|_| fresh()).collect();
    let (taken, free): (Vec<_>, Vec<_>) = records.iter().cloned().enumerate().partition(|(place, _)| place % 7 == 0);
    let insert = |(_, next): (usize, Record)| Write::insert(next);
    write_many(store, taken.into_iter().map(insert).collect()).await;
    let all = write_many(store, records.into_iter().enumerate().map(insert).collect()).await;
    for (place, answer) in all.into_iter().enumerate() {
        let done = answer.expect("the store answers") == Written::Done;
        assert_eq!(done, place % 7 != 0, "write {place}");
    }
    for (_, record) in free {
        assert_eq!(read(store, &record.id).await, Some(record));
    }
}

async fn reads_answer_in_order(store: &dyn Store) {
    let records: Vec<_> = (0..120).map(|_| fresh()).collect();
    write_many(store, records.iter().step_by(2).map(|next| Write::insert(next.clone())).collect()).await;
    let mut ids: Vec<_> = records.iter().map(|record| record.id.clone()).collect();
    ids.push(ids[0].clone());
    let answers = store.read(&ids).await;
    assert_eq!(answers.len(), ids.len(), "one answer for each id");
    for (place, answer) in answers.into_iter().enumerate() {
        let expected = (place % 2 == 0).then(|| ids[place].clone());
        assert_eq!(answer.expect("the store answers").map(|record| record.id), expected);
    }
}

async fn what_cannot_be_stored_is_refused_alone(store: &dyn Store) {
    let deep = (0..40).fold(Value::Null, |inner, _| json!([inner]));
    for result in [json!("x".repeat(400_000)), deep, json!(1e200), json!(1e-200)] {
        let good = fresh();
        let bad = Record { result: Some(result), ..fresh() };
        let writes = [&bad, &good].map(|next| Write::insert(next.clone()));
        let answers = write_many(store, writes.to_vec()).await;
        assert!(matches!(answers[0], Err(StoreError::Invalid(_))), "refused with a reason");
        assert!(matches!(answers[1], Ok(Written::Done)), "its neighbour is written");
        assert_eq!(read(store, &bad.id).await, None);
    }
}

fn request(record: &Record) -> Request {
    let (id, name, queue) = (record.id.clone(), record.name.clone(), record.queue.clone());
    Request { id, name, queue, body: "as sent".into(), ..Request::default() }
}

fn claim(owner: &str) -> Claim {
    Claim { owner: owner.into(), lease: Duration::from_secs(30) }
}

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().expect("an instant")
}

fn minutes(minutes: i64) -> Timestamp {
    now() + jiff::SignedDuration::from_mins(minutes)
}

async fn a_due_record_is_claimed_straight_and_its_mark_then_fails(store: &dyn Store) {
    let policy = Policy::new();
    let asked = request(&fresh());
    let filed = lifecycle::filed(None, &asked, &policy, "filer", minutes(60));
    assert_eq!(write(store, filed.clone(), None).await, Written::Done);
    let stored = read(store, &asked.id).await.expect("was filed");
    assert_eq!(stored.state, State::Scheduled);
    assert_eq!(stored.envelope.as_deref(), Some("as sent"));
    let early = lifecycle::decide(Some(&stored), &asked, &policy, &claim("a"), minutes(59));
    assert_eq!(early, Decision::Leave(Ending::Early(minutes(60))), "the record's time holds");
    let Decision::Run { next, .. } = lifecycle::decide(Some(&stored), &asked, &policy, &claim("a"), minutes(60)) else {
        panic!("a due record is granted");
    };
    assert_eq!(write(store, *next, Some(&stored)).await, Written::Done);
    let mark = write(store, lifecycle::sent(&stored, Timestamp::UNIX_EPOCH), Some(&stored)).await;
    assert!(matches!(mark, Written::Refused(Some(stored)) if stored.state == State::Running), "the late mark changes nothing");
}

async fn a_job_is_cancelled_before_it_was_seen_while_it_waits_and_while_it_runs(store: &dyn Store) {
    let policy = Policy::new();
    let unseen = request(&fresh());
    let tombstone = lifecycle::cancel(None, &unseen, &policy, now()).expect("not ended");
    assert_eq!(write(store, tombstone, None).await, Written::Done);
    let stored = read(store, &unseen.id).await;
    let decision = lifecycle::decide(stored.as_ref(), &unseen, &policy, &claim("a"), now());
    assert_eq!(decision, Decision::Leave(Ending::Duplicate), "it never runs");

    let waiting = Record { state: State::Retrying, run_at: Some(minutes(5)), attempts: 1, max_attempts: 3, ..fresh() };
    write(store, waiting.clone(), None).await;
    let cancelled = lifecycle::cancel(Some(&waiting), &request(&waiting), &policy, now()).expect("not ended");
    assert_eq!(write(store, cancelled, Some(&waiting)).await, Written::Done);
    assert_eq!(read(store, &waiting.id).await.map(|record| record.state), Some(State::Cancelled));

    let running = Record {
        state: State::Running,
        owner: Some("a".into()),
        generation: 1,
        attempts: 1,
        max_attempts: 3,
        lease_until: Some(9),
        ..fresh()
    };
    write(store, running.clone(), None).await;
    let flagged = lifecycle::cancel(Some(&running), &request(&running), &policy, now()).expect("not ended");
    assert_eq!(write(store, flagged, Some(&running)).await, Written::Done);
    let renewal = lifecycle::renewed(&running, Duration::from_secs(30), now());
    let refused = write(store, renewal, Some(&running)).await;
    assert!(matches!(refused, Written::Refused(Some(stored)) if stored.cancel_requested), "the next write of the attempt sees the flag");
}

async fn a_long_snooze_waits_in_the_record(store: &dyn Store) {
    let policy = Policy::new();
    let asked = request(&fresh());
    let Decision::Run { next: running, .. } = lifecycle::decide(None, &asked, &policy, &claim("a"), now()) else {
        panic!("a new job is granted");
    };
    write(store, (*running).clone(), None).await;
    let day = lifecycle::FollowUp::Snooze(Duration::from_hours(24));
    let outcome = lifecycle::Outcome::Failure(Failure::default(), day);
    let (snoozed, ending) = lifecycle::finish(&running, outcome, &policy, 0.5, now());
    assert_eq!(ending, Ending::Snoozed(minutes(24 * 60)));
    let filed = lifecycle::put_off(snoozed, &asked, &policy, now());
    assert_eq!(write(store, filed, Some(&running)).await, Written::Done);
    let stored = read(store, &asked.id).await;
    let again = lifecycle::decide(stored.as_ref(), &asked, &policy, &claim("b"), minutes(15));
    assert_eq!(again, Decision::Leave(Ending::Early(minutes(24 * 60))));
    let due = lifecycle::decide(stored.as_ref(), &asked, &policy, &claim("b"), minutes(24 * 60));
    assert!(matches!(due, Decision::Run { next, .. } if next.attempts == 1), "the attempt was given back");
}

async fn what_is_due_is_found_in_its_shard_and_in_the_order_of_its_time(store: &dyn Index) {
    let hour = |hour: i64| {
        let asked = Request { id: format!("due-{hour}-{}", Uuid::new_v4().simple()), ..request(&fresh()) };
        Record { due: Some("due#5".into()), ..lifecycle::filed(None, &asked, &Policy::new(), "filer", minutes(60 * hour)) }
    };
    let [late, soon, later, gone] = [3, 1, 4, 2].map(hour);
    let elsewhere = Record { due: Some("due#6".into()), ..hour(1) };
    for record in [&late, &soon, &later, &gone, &elsewhere] {
        write(store, record.clone(), None).await;
    }
    write(store, lifecycle::sent(&gone, Timestamp::UNIX_EPOCH), Some(&gone)).await;
    due_is(store, minutes(60 * 3), 10, &[&soon, &late]).await;
    due_is(store, minutes(60 * 4), 2, &[&soon, &late]).await;
    due_is(store, minutes(60 * 3 - 1), 10, &[&soon]).await;
}

async fn what_is_unfinished_is_seen_by_and_by(store: &dyn Index) {
    let ended = lifecycle::cancel(None, &request(&fresh()), &Policy::new(), now()).expect("not ended");
    let owed = Record { dlq: Some(Dlq::Pending), state: State::Failed, purge_at: Some(4_000_000_000), ..fresh() };
    let waiting: Vec<_> = (0..70).map(|_| Record { state: State::Retrying, run_at: Some(now()), ..fresh() }).collect();
    let plan = lifecycle::plan(&fresh().id, "{}", None, Duration::from_mins(1), "token", now());
    write_many(store, waiting.iter().chain([&ended, &owed, &plan]).cloned().map(Write::insert).collect()).await;
    let mut seen = BTreeMap::new();
    for turn in 7..67 {
        for record in store.unfinished(turn).await.expect("the store answers") {
            let record = record.expect("a record");
            seen.insert(record.id.clone(), record);
        }
    }
    for record in &waiting {
        assert_eq!(seen.get(&record.id), Some(record), "seen whole");
    }
    assert_eq!(seen.get(&owed.id), Some(&owed), "its dead letter is owed");
    assert!(!seen.contains_key(&ended.id), "what has ended is not looked at");
    assert!(!seen.contains_key(&plan.id), "a plan is no job");
}

async fn what_has_failed_is_in_a_list_until_it_is_taken_up_again(store: &dyn Index) {
    let list = format!("failed#{}", Uuid::new_v4().simple());
    let failed = |minute: i64| Record { listed: Some(list.clone()), listed_at: Some(minutes(minute)), state: State::Failed, ..fresh() };
    let [first, second, third] = [1, 2, 3].map(failed);
    for record in [&second, &first, &third] {
        write(store, record.clone(), None).await;
    }
    listed_are(store, &list, 10, &[&third.id, &second.id, &first.id]).await;
    listed_are(store, &list, 2, &[&third.id, &second.id]).await;
    let again = Record { listed: None, listed_at: None, state: State::Queued, ..second.clone() };
    write(store, again, Some(&second)).await;
    listed_are(store, &list, 10, &[&third.id, &first.id]).await;
}

async fn jobs_are_listed_under_what_they_are_told_to_be(store: &dyn Index) {
    let list = format!("tag:{}", Uuid::new_v4().simple());
    let place = |id: String, minute: i64| Listing { list: list.clone(), id, at: minutes(minute), purge_at: 4_000_000_000 };
    // More records than fit in one request, with all kinds of ids.
    let places: Vec<_> = (0..30).map(|minute| place(format!("a:b #{minute} é"), minute)).collect();
    enlist(store, &places).await;
    enlist(store, &[&places[..3], &places[..3]].concat()).await;
    let elsewhere = Listing { list: list.clone() + "x", ..place("other".into(), 1) };
    enlist(store, &[elsewhere]).await;
    let latest_first: Vec<_> = places.iter().rev().map(|place| &*place.id).collect();
    listed_are(store, &list, 100, &latest_first).await;
    listed_are(store, &list, 1, &latest_first[..1]).await;
    listed_are(store, "tag:of nothing", 1, &[]).await;
    for turn in 0..60 {
        let records = store.unfinished(turn).await.expect("the store answers");
        assert!(records.iter().all(Result::is_ok), "a place in a list is no record");
    }
}

async fn enlist(store: &dyn Index, listings: &[Listing]) {
    let answers = store.enlist(listings).await;
    assert!(answers.len() == listings.len() && answers.iter().all(Result::is_ok), "{answers:?}");
}

async fn listed_are(store: &dyn Index, list: &str, limit: usize, expected: &[&str]) {
    for _ in 0..TICKS {
        if store.listed(list, limit).await.expect("the index answers") == expected {
            return;
        }
    }
    assert_eq!(store.listed(list, limit).await.expect("the index answers"), expected);
}

/// Waits until the index returns the expected records, since an index lags behind.
async fn due_is(store: &dyn Index, until: Timestamp, limit: usize, expected: &[&Record]) {
    let expected: Vec<_> = expected.iter().map(|record| record.id.clone()).collect();
    for _ in 0..TICKS {
        if store.due(5, until, limit).await.expect("the index answers") == expected {
            return;
        }
    }
    assert_eq!(store.due(5, until, limit).await.expect("the index answers"), expected);
}

/// Checks the rows of schedules in the DynamoDB table `schedules`, with jobs in the table `jobs`. The due index may lag behind a little.
/// The tables may contain other items.
///
/// # Panics
///
/// At the first violation.
pub async fn schedules(dynamodb: &aws_sdk_dynamodb::Client, schedules: &str, jobs: &str) {
    let store = DynamoDb::new(dynamodb.clone(), jobs);
    rows::rows(&beater::rows::DynamoDb::new(dynamodb.clone(), schedules, jobs), &store).await;
}

/// Checks queues. `standard` and `fifo` are names of empty queues. `tick` lets at most a second pass, by waiting or by advancing
/// a clock.
///
/// # Panics
///
/// At the first violation.
pub async fn queue(queue: &dyn Source, standard: &str, fifo: &str, tick: impl AsyncFn()) {
    a_message_arrives_as_it_was_sent(queue, standard, &tick).await;
    a_received_message_is_invisible_until_its_time(queue, standard, &tick).await;
    a_delayed_message_is_not_seen_before(queue, standard, &tick).await;
    many_messages_are_sent_and_the_wrong_one_is_refused_alone(queue, standard, &tick).await;
    a_group_is_in_order_and_held_by_its_head(queue, fifo, &tick).await;
    a_repeated_deduplication_id_is_swallowed(queue, fifo, &tick).await;
}

/// Maximum number of ticks for each wait.
const TICKS: usize = 300;
const LONG: Duration = Duration::from_mins(10);

async fn send(queue: &dyn Source, name: &str, messages: &[Outgoing]) {
    let answers = queue.send(name, messages).await;
    assert_eq!(answers.len(), messages.len(), "one answer for each message");
    for answer in answers {
        answer.expect("is sent");
    }
}

/// Receives until a message arrives.
async fn receive(queue: &dyn Source, name: &str, visibility: Duration, tick: &impl AsyncFn()) -> Message {
    for _ in 0..TICKS {
        if let Some(message) = queue.receive(name, 1, visibility).await.expect("the queue answers").pop() {
            return message;
        }
        tick().await;
    }
    panic!("no message came on {name}");
}

async fn delete(queue: &dyn Source, name: &str, message: &Message) {
    queue.delete(name, std::slice::from_ref(&message.receipt)).await.remove(0).expect("is deleted");
}

async fn is_empty(queue: &dyn Source, name: &str) -> bool {
    queue.receive(name, 1, LONG).await.expect("the queue answers").is_empty()
}

async fn a_message_arrives_as_it_was_sent(queue: &dyn Source, name: &str, tick: &impl AsyncFn()) {
    let mut outgoing = Outgoing::new("{\"text\": \"✓\"}");
    outgoing.attributes.insert("sqjobs.id".into(), "an id".into());
    send(queue, name, std::slice::from_ref(&outgoing)).await;
    let message = receive(queue, name, LONG, tick).await;
    assert_eq!(message.body, outgoing.body);
    assert_eq!(message.attributes, outgoing.attributes);
    assert_eq!(message.queue.as_str(), name);
    assert_eq!(message.receives, 1);
    assert!(message.sent_at.is_some() && !message.id.is_empty() && !message.receipt.is_empty());
    delete(queue, name, &message).await;
    assert!(is_empty(queue, name).await, "what was deleted is gone");
}

async fn a_received_message_is_invisible_until_its_time(queue: &dyn Source, name: &str, tick: &impl AsyncFn()) {
    send(queue, name, &[Outgoing::new("once more")]).await;
    let first = receive(queue, name, LONG, tick).await;
    assert!(is_empty(queue, name).await, "nobody else sees it");
    let now = Visibility { receipt: first.receipt.clone(), timeout: Duration::ZERO };
    queue.set_visibility(name, &[now]).await.remove(0).expect("is changed");
    let second = receive(queue, name, LONG, tick).await;
    assert_eq!(second.id.as_str(), first.id.as_str());
    assert_eq!(second.receives, 2);
    let beyond = Visibility { receipt: second.receipt.clone(), timeout: queue::MAX_VISIBILITY + Duration::from_secs(1) };
    assert!(queue.set_visibility(name, &[beyond]).await.remove(0).is_err(), "over twelve hours is refused");
    delete(queue, name, &second).await;
}

async fn a_delayed_message_is_not_seen_before(queue: &dyn Source, name: &str, tick: &impl AsyncFn()) {
    send(queue, name, &[Outgoing { delay: Duration::from_secs(2), ..Outgoing::new("later") }]).await;
    assert!(is_empty(queue, name).await, "it is delayed");
    let message = receive(queue, name, LONG, tick).await;
    delete(queue, name, &message).await;
}

async fn many_messages_are_sent_and_the_wrong_one_is_refused_alone(queue: &dyn Source, name: &str, tick: &impl AsyncFn()) {
    let mut messages: Vec<_> = (0..25).map(|number| Outgoing::new(number.to_string())).collect();
    messages[7].delay = Duration::from_secs(901);
    let answers = queue.send(name, &messages).await;
    for (place, answer) in answers.iter().enumerate() {
        assert_eq!(matches!(answer, Err(QueueError::Refused(_))), place == 7, "message {place}: {answer:?}");
    }
    let mut bodies = BTreeSet::new();
    while bodies.len() < 24 {
        let message = receive(queue, name, LONG, tick).await;
        delete(queue, name, &message).await;
        assert!(bodies.insert(message.body), "each arrives once");
    }
}

fn grouped(group: &str, body: &str) -> Outgoing {
    Outgoing { group: Some(group.into()), dedup: Some(Uuid::new_v4().to_string()), ..Outgoing::new(body) }
}

async fn a_group_is_in_order_and_held_by_its_head(queue: &dyn Source, name: &str, tick: &impl AsyncFn()) {
    send(queue, name, &[grouped("a", "a1"), grouped("a", "a2"), grouped("b", "b1")]).await;
    let a1 = receive(queue, name, LONG, tick).await;
    let b1 = receive(queue, name, LONG, tick).await;
    assert_eq!(a1.body.as_str(), "a1", "a2 is held, b is not");
    assert_eq!(b1.body.as_str(), "b1", "a2 is held, b is not");
    assert_eq!(a1.group.as_deref(), Some("a"));
    assert!(is_empty(queue, name).await, "a2 is held by a1");
    delete(queue, name, &a1).await;
    let a2 = receive(queue, name, LONG, tick).await;
    assert_eq!(a2.body, "a2");
    delete(queue, name, &a2).await;
    delete(queue, name, &b1).await;
}

async fn a_repeated_deduplication_id_is_swallowed(queue: &dyn Source, name: &str, tick: &impl AsyncFn()) {
    let first = grouped("c", "first");
    send(queue, name, std::slice::from_ref(&first)).await;
    send(queue, name, &[Outgoing { body: "again".into(), ..first }]).await;
    let message = receive(queue, name, LONG, tick).await;
    assert_eq!(message.body, "first");
    delete(queue, name, &message).await;
    assert!(is_empty(queue, name).await, "the second was swallowed");
}

#[cfg(test)]
mod tests {
    use crate::{Clock, beater, queue, store};

    #[tokio::test]
    async fn the_in_memory_store_passes_the_conformance_suite() {
        super::store(&store::Memory::new()).await;
    }

    #[tokio::test]
    async fn the_in_memory_rows_pass_the_conformance_suite() {
        let store = store::Memory::new();
        super::rows::rows(&beater::rows::Memory::new(store.clone()), &store).await;
    }

    #[tokio::test]
    async fn the_in_memory_queues_pass_the_conformance_suite() {
        let clock = Clock::frozen(super::now());
        let queues = queue::Memory::new(clock.clone());
        super::queue(&queues, "standard", "ordered.fifo", async || clock.advance(std::time::Duration::from_secs(1))).await;
    }
}
