//! The conformance suite for the rows of schedules.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::{TICKS, fresh, minutes};
use crate::{
    CatchUp, Entry, Record, Schedule, State,
    beater::rows::{Changed, Found, Row, Rows},
    names::shard_name,
    store::{Item, Store, Write, text},
};

/// Checks rows and the jobs that are written with them. Both tables may contain other items.
pub(super) async fn rows(rows: &dyn Rows, jobs: &dyn Store) {
    every_attribute_of_a_row_comes_back(rows).await;
    a_row_is_inserted_once(rows).await;
    a_row_is_changed_and_deleted_only_as_it_was_seen(rows).await;
    a_row_is_overwritten_whatever_it_contains(rows).await;
    new_jobs_are_written_with_their_row_or_not_at_all(rows, jobs).await;
    jobs_are_replaced_with_their_row_only_as_they_were_seen(rows, jobs).await;
    due_rows_are_found_in_their_shard_in_the_order_of_their_fires(rows).await;
    each_row_is_in_the_list_and_in_a_part(rows).await;
}

fn row() -> Row {
    let id = format!("row-{}", Uuid::new_v4().simple());
    Row::new(Entry::named(id, Schedule::cron("1 * * * *").timezone("Asia/Tokyo"), "job", json!([1])), minutes(0))
}

/// Returns a row with every attribute.
fn full() -> Row {
    let entry = row().entry.queue("queue").max_attempts(3).tag("tag").catch_up(CatchUp::All).backlog(7);
    let unknown = Item::from([("colour".to_owned(), text("red"))]);
    Row {
        paused: true,
        deleted: true,
        from_code: true,
        overridden: true,
        ahead: vec![minutes(1), minutes(2)],
        settled: Some("fingerprint".into()),
        tzdata: Some("2026a".into()),
        unknown,
        ..Row::new(entry, minutes(0))
    }
}

async fn change(rows: &dyn Rows, seen: Option<&Row>, next: Option<&Row>, jobs: &[Write]) -> Changed {
    let id = next.or(seen).map(|row| row.entry.id()).unwrap_or_default();
    rows.change(id, seen, next, jobs).await.expect("the table answers")
}

async fn stored(rows: &dyn Rows, row: &Row) -> Option<Row> {
    rows.get(row.entry.id()).await.expect("the table answers").map(|found| found.expect("a readable row"))
}

async fn every_attribute_of_a_row_comes_back(rows: &dyn Rows) {
    for row in [row(), full(), Row { created_at: None, due: None, next_fire: None, edit: None, ..row() }] {
        assert_eq!(stored(rows, &row).await, None);
        assert_eq!(change(rows, None, Some(&row), &[]).await, Changed::Done);
        assert_eq!(stored(rows, &row).await, Some(row));
    }
}

async fn a_row_is_inserted_once(rows: &dyn Rows) {
    let row = row();
    assert_eq!(change(rows, None, Some(&row), &[]).await, Changed::Done);
    assert_eq!(change(rows, None, Some(&Row { paused: true, ..row.clone() }), &[]).await, Changed::Refused);
    assert_eq!(stored(rows, &row).await, Some(row));
}

async fn a_row_is_changed_and_deleted_only_as_it_was_seen(rows: &dyn Rows) {
    let row = Row { settled: Some("fingerprint".into()), ..row() };
    assert_eq!(change(rows, Some(&row), Some(&row), &[]).await, Changed::Refused, "it does not exist yet");
    assert_eq!(change(rows, Some(&row), None, &[]).await, Changed::Refused, "it does not exist yet");
    assert_eq!(change(rows, None, Some(&row), &[]).await, Changed::Done);
    let another = || Some("another".to_owned());
    let next = Row { paused: true, ..row.clone() };
    for seen in [
        Row { next_fire: another(), ..row.clone() },
        Row { next_fire: None, ..row.clone() },
        Row { settled: another(), ..row.clone() },
        Row { settled: None, ..row.clone() },
        Row { edit: another(), ..row.clone() },
        Row { edit: None, ..row.clone() },
    ] {
        assert_eq!(change(rows, Some(&seen), Some(&next), &[]).await, Changed::Refused, "{seen:?}");
        assert_eq!(change(rows, Some(&seen), None, &[]).await, Changed::Refused, "{seen:?}");
    }
    assert_eq!(stored(rows, &row).await.as_ref(), Some(&row));
    let bare = Row { next_fire: None, settled: None, edit: None, due: None, ..row.clone() };
    assert_eq!(change(rows, Some(&row), Some(&bare), &[]).await, Changed::Done);
    assert_eq!(stored(rows, &row).await.as_ref(), Some(&bare));
    assert_eq!(change(rows, Some(&bare), Some(&next), &[]).await, Changed::Done);
    assert_eq!(change(rows, Some(&next), None, &[]).await, Changed::Done);
    assert_eq!(stored(rows, &row).await, None);
}

async fn a_row_is_overwritten_whatever_it_contains(rows: &dyn Rows) {
    let old = full();
    assert_eq!(change(rows, None, Some(&old), &[]).await, Changed::Done);
    let new = Row::new(old.entry.clone().queue("another"), minutes(1));
    rows.overwrite(&new).await.expect("the table answers");
    assert_eq!(stored(rows, &old).await, Some(new));
}

async fn read<const N: usize>(jobs: &dyn Store, records: [&Record; N]) -> [Option<Record>; N] {
    let ids = records.map(|record| record.id.clone());
    let answers = jobs.read(&ids).await.into_iter().map(|answer| answer.expect("the store answers"));
    answers.collect::<Vec<_>>().try_into().expect("one answer for each id")
}

async fn new_jobs_are_written_with_their_row_or_not_at_all(rows: &dyn Rows, jobs: &dyn Store) {
    let row = row();
    let [first, second, third] = [(); 3].map(|()| fresh());
    let insert = |record: &Record| Write::insert(record.clone());
    assert_eq!(change(rows, None, Some(&row), &[insert(&first), insert(&second)]).await, Changed::Done);
    assert_eq!(read(jobs, [&first, &second]).await, [Some(first), Some(second.clone())]);
    let next = Row { paused: true, ..row.clone() };
    let known = change(rows, Some(&row), Some(&next), &[insert(&third), insert(&second)]).await;
    assert_eq!(known, Changed::Known(vec![second.id.clone()]));
    let stale = Row { edit: None, ..row.clone() };
    let refused = change(rows, Some(&stale), Some(&next), &[insert(&third), insert(&second)]).await;
    assert_eq!(refused, Changed::Refused, "the row is compared first");
    assert_eq!(change(rows, Some(&stale), None, &[insert(&third)]).await, Changed::Refused);
    assert_eq!(read(jobs, [&third]).await, [None]);
    assert_eq!(stored(rows, &row).await.as_ref(), Some(&row));
    assert_eq!(change(rows, Some(&row), None, &[insert(&third)]).await, Changed::Done);
    assert_eq!(read(jobs, [&third]).await, [Some(third)]);
    assert_eq!(stored(rows, &row).await, None);
}

async fn jobs_are_replaced_with_their_row_only_as_they_were_seen(rows: &dyn Rows, jobs: &dyn Store) {
    let row = row();
    let plain = fresh();
    let waited_for = Record { dependents: ["a".to_owned()].into(), owner: Some("owner".into()), ..fresh() };
    let insert = [Write::insert(plain.clone()), Write::insert(waited_for.clone())];
    assert_eq!(change(rows, None, Some(&row), &insert).await, Changed::Done);
    let next = Row { paused: true, ..row.clone() };
    let replace = |seen: &Record, state| Write::replace(seen.clone(), Record { state, ..seen.clone() });
    for seen in [
        Record { state: State::Running, ..waited_for.clone() },
        Record { generation: 1, ..waited_for.clone() },
        Record { owner: None, ..waited_for.clone() },
        Record { dependents: BTreeSet::new(), ..waited_for.clone() },
        Record { dependents: ["b".to_owned()].into(), ..waited_for.clone() },
    ] {
        let known = change(rows, Some(&row), Some(&next), &[replace(&plain, State::Failed), replace(&seen, State::Failed)]).await;
        assert_eq!(known, Changed::Known(vec![seen.id.clone()]), "{seen:?}");
    }
    assert_eq!(stored(rows, &row).await.as_ref(), Some(&row));
    let replaced = [replace(&plain, State::Cancelled), replace(&waited_for, State::Cancelled)];
    assert_eq!(change(rows, Some(&row), Some(&next), &replaced).await, Changed::Done);
    let cancelled = replaced.map(|write| Some(Record::clone(&write.next)));
    assert_eq!(read(jobs, [&plain, &waited_for]).await, cancelled);
}

fn ids(found: Vec<Found>) -> Vec<String> {
    found.into_iter().map(|found| found.expect("a readable row").entry.id().to_owned()).collect()
}

async fn due_rows_are_found_in_their_shard_in_the_order_of_their_fires(rows: &dyn Rows) {
    // Other rows fire later.
    let fires = |hour: i64, shard| Row { due: Some(shard_name(shard)), ..row().looked_at(minutes(60 * (hour - 100))) };
    let [late, soon, later] = [3, 1, 4].map(|hour| fires(hour, 5));
    let indexed_no_more = Row { due: None, ..fires(2, 5) };
    for row in [&late, &soon, &later, &indexed_no_more, &fires(2, 6)] {
        assert_eq!(change(rows, None, Some(row), &[]).await, Changed::Done);
    }
    let hour = |hour: i64| minutes(60 * (hour - 100));
    due_are(rows, hour(3), 10, &[&soon, &late]).await;
    due_are(rows, hour(4), 2, &[&soon, &late]).await;
    due_are(rows, hour(4), 10, &[&soon, &late, &later]).await;
}

/// Waits until the index returns the expected rows, since an index lags behind.
async fn due_are(rows: &dyn Rows, until: Timestamp, limit: usize, expected: &[&Row]) {
    let due = async || ids(rows.due(5, until, limit).await.expect("the index answers"));
    let expected: Vec<_> = expected.iter().map(|row| row.entry.id().to_owned()).collect();
    for _ in 0..TICKS {
        if due().await == expected {
            return;
        }
    }
    assert_eq!(due().await, expected);
}

async fn each_row_is_in_the_list_and_in_a_part(rows: &dyn Rows) {
    let made: Vec<_> = (0..70).map(|_| row()).collect();
    for row in &made {
        assert_eq!(change(rows, None, Some(row), &[]).await, Changed::Done);
    }
    let by_id =
        |found: Vec<Found>| found.into_iter().map(|found| found.expect("a readable row")).map(|row| (row.entry.id().to_owned(), row));
    let all: BTreeMap<_, _> = by_id(rows.all().await.expect("the table answers")).collect();
    let mut in_parts = BTreeMap::new();
    for turn in 7..67 {
        in_parts.extend(by_id(rows.some(turn).await.expect("the table answers")));
    }
    for row in &made {
        assert_eq!(all.get(row.entry.id()), Some(row));
        assert_eq!(in_parts.get(row.entry.id()), Some(row));
    }
}
