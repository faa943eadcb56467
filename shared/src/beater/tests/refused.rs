//! Tables that do not answer or that refuse requests.

use futures_util::future::{BoxFuture, FutureExt, ready};

use super::*;
use crate::{
    Dlq,
    beater::rows::{Found, Row, Rows},
    names::shard,
    queue::{Outgoing, Queue as _},
    store::{self, Index, Link, Linked, Listing, Store, StoreError, Write, Written},
};

const START: &str = "2026-05-04T10:00:00Z";

fn down() -> StoreError {
    StoreError::unavailable("the table is away")
}

/// A store whose schedules cannot be read.
struct Unread;

impl Rows for Unread {
    fn due(&self, _shard: u8, _until: Timestamp, _limit: usize) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        ready(Err(down())).boxed()
    }

    fn get<'a>(&'a self, _id: &'a str) -> BoxFuture<'a, Result<Option<Found>, StoreError>> {
        ready(Err(down())).boxed()
    }

    fn some(&self, _turn: u64) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        ready(Err(down())).boxed()
    }

    fn all(&self) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        ready(Err(down())).boxed()
    }

    fn change<'a>(
        &'a self,
        _id: &'a str,
        _seen: Option<&'a Row>,
        _next: Option<&'a Row>,
        _jobs: &'a [Write],
    ) -> BoxFuture<'a, Result<Changed, StoreError>> {
        ready(Err(down())).boxed()
    }

    fn overwrite<'a>(&'a self, _next: &'a Row) -> BoxFuture<'a, Result<(), StoreError>> {
        ready(Err(down())).boxed()
    }
}

/// Records in memory that refuse to be marked as dead-lettered.
struct Unmarked(store::Memory);

impl Store for Unmarked {
    fn read<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Vec<Result<Option<Record>, StoreError>>> {
        self.0.read(ids)
    }

    fn write<'a>(&'a self, writes: &'a [Write]) -> BoxFuture<'a, Vec<Result<Written, StoreError>>> {
        if writes.iter().any(|write| write.next.dlq == Some(Dlq::Sent)) {
            return ready(writes.iter().map(|_| Ok(Written::Refused(None))).collect()).boxed();
        }
        self.0.write(writes)
    }

    fn link<'a>(&'a self, links: &'a [Link]) -> BoxFuture<'a, Vec<Result<Linked, StoreError>>> {
        self.0.link(links)
    }
}

impl Index for Unmarked {
    fn due(&self, shard: u8, until: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        self.0.due(shard, until, limit)
    }

    fn unfinished(&self, turn: u64) -> BoxFuture<'_, Result<Vec<Result<Record, StoreError>>, StoreError>> {
        self.0.unfinished(turn)
    }

    fn enlist<'a>(&'a self, listings: &'a [Listing]) -> BoxFuture<'a, Vec<Result<(), StoreError>>> {
        self.0.enlist(listings)
    }

    fn listed<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        self.0.listed(list, limit)
    }
}

fn body(id: &str) -> String {
    json!({"name": "note", "id": id, "args": "as sent"}).to_string()
}

#[tokio::test]
async fn due_jobs_are_sent_though_no_schedule_can_be_read() {
    let world = TestBeater::at(START);
    let due = Record {
        id: "due".into(),
        name: "note".into(),
        queue: "note".into(),
        state: State::Scheduled,
        run_at: Some(world.now()),
        due: Some(shard("due")),
        envelope: Some(body("due")),
        ..Record::default()
    };
    assert!(world.local.store.write(&[Write::insert(due)]).await[0].is_ok());
    let ports = Ports { due: world.local.due(), rows: Arc::new(Unread), prefix: String::new(), dlqs: Arc::default() };
    let ticked = tick(&ports, world.now(), Instant::now() + Duration::from_mins(1)).await;
    assert!(ticked.is_err(), "the alarm goes off");
    assert_eq!(world.local.queue.messages("note").len(), 1);
}

#[tokio::test]
async fn a_dead_letter_stays_until_the_record_of_its_job_is_marked() {
    let world = TestBeater::at(START);
    world.local.queue.send(DLQ, &[Outgoing::new(body("given-up"))]).await.remove(0).expect("sent");
    world.local.queue.moved_from("note");
    let due = Due { store: Arc::new(Unmarked(world.local.store.clone())), ..world.local.due() };
    let ports = Ports { due, rows: Arc::new(world.rows.clone()), prefix: String::new(), dlqs: Arc::new(Dlqs::new(vec![DLQ.into()])) };
    let report = tick(&ports, world.now(), Instant::now() + Duration::from_mins(1)).await.expect("a table in memory");
    assert_eq!(report.explained, 0);
    let moved = world.local.queue.messages(DLQ).into_iter().filter(|letter| letter.source.is_some()).count();
    assert_eq!(moved, 1);
    assert_eq!(world.records()["given-up"].dlq, Some(Dlq::Pending));
    let report = world.tick_now().await;
    assert_eq!(report.explained, 1);
    assert_eq!(world.records()["given-up"].dlq, Some(Dlq::Sent));
}
