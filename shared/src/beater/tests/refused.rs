//! Tables that do not answer or that refuse requests.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{BoxFuture, FutureExt, ready};

use super::{change::sent_ahead, *};
use crate::{
    Dlq,
    beater::{
        hand_over::hand_over,
        letters::explain,
        part::Tally,
        repair::repair,
        rows::{Found, Row, Rows},
    },
    names::shard,
    queue::{self, Message, Outgoing, Queue, QueueError, Source, Visibility},
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

type Answer = fn() -> Result<Changed, StoreError>;

/// Rows in memory. After the first `made` changes, each change has the given answer.
struct Unchanged {
    rows: rows::Memory,
    made: usize,
    answer: Answer,
    changes: AtomicUsize,
}

impl Rows for Unchanged {
    fn due(&self, shard: u8, until: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        self.rows.due(shard, until, limit)
    }

    fn get<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Found>, StoreError>> {
        self.rows.get(id)
    }

    fn some(&self, turn: u64) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        self.rows.some(turn)
    }

    fn all(&self) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        self.rows.all()
    }

    fn change<'a>(
        &'a self,
        id: &'a str,
        seen: Option<&'a Row>,
        next: Option<&'a Row>,
        jobs: &'a [Write],
    ) -> BoxFuture<'a, Result<Changed, StoreError>> {
        if self.changes.fetch_add(1, Ordering::SeqCst) < self.made {
            return self.rows.change(id, seen, next, jobs);
        }
        ready((self.answer)()).boxed()
    }

    fn overwrite<'a>(&'a self, next: &'a Row) -> BoxFuture<'a, Result<(), StoreError>> {
        self.rows.overwrite(next)
    }
}

/// Queues in memory, of which none exists, or to which nothing can be sent.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    Missing,
    Unsent,
    Unreceived,
}

struct Troubled(queue::Memory, Trouble);

impl Queue for Troubled {
    fn send<'a>(&'a self, _queue: &'a str, messages: &'a [Outgoing]) -> BoxFuture<'a, Vec<Result<String, QueueError>>> {
        ready(messages.iter().map(|_| Err(QueueError::unknown("no connection"))).collect()).boxed()
    }

    fn set_visibility<'a>(&'a self, queue: &'a str, changes: &'a [Visibility]) -> BoxFuture<'a, Vec<Result<(), QueueError>>> {
        self.0.set_visibility(queue, changes)
    }

    fn find<'a>(&'a self, _queue: &'a str) -> BoxFuture<'a, Result<(), QueueError>> {
        let found = if self.1 == Trouble::Missing { Err(QueueError::refused("there is no such queue")) } else { Ok(()) };
        ready(found).boxed()
    }

    fn delete<'a>(&'a self, queue: &'a str, receipts: &'a [String]) -> BoxFuture<'a, Vec<Result<(), QueueError>>> {
        self.0.delete(queue, receipts)
    }
}

impl Source for Troubled {
    fn receive<'a>(&'a self, queue: &'a str, max: usize, visibility: Duration) -> BoxFuture<'a, Result<Vec<Message>, QueueError>> {
        if self.1 == Trouble::Unreceived {
            return ready(Err(QueueError::unknown("no connection"))).boxed();
        }
        self.0.receive(queue, max, visibility)
    }
}

impl TestBeater {
    fn unchanged(&self, made: usize, answer: Answer) -> Arc<Unchanged> {
        Arc::new(Unchanged { rows: self.rows.clone(), made, answer, changes: AtomicUsize::new(0) })
    }

    /// Makes a tick with other rows or queues.
    async fn tick_with(&self, rows: Option<Arc<dyn Rows>>, trouble: Option<Trouble>) -> Report {
        let mut due = self.local.due();
        if let Some(trouble) = trouble {
            due.queue = Arc::new(Troubled(self.local.queue.clone(), trouble));
        }
        let rows = rows.unwrap_or_else(|| Arc::new(self.rows.clone()));
        let ports = Ports { due, rows, prefix: String::new(), dlqs: Arc::default() };
        tick(&ports, self.now(), Instant::now() + Duration::from_mins(1)).await.expect("a table in memory")
    }
}

/// A request to a store.
#[derive(Clone, Copy, PartialEq)]
enum Request {
    Read,
    Write,
    Link,
    Due,
    Unfinished,
    /// Finds an unfinished record that cannot be read.
    Unreadable,
}

/// Records in memory for which one kind of request fails.
struct Faulty(store::Memory, Request);

impl Store for Faulty {
    fn read<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Vec<Result<Option<Record>, StoreError>>> {
        if self.1 == Request::Read { ready(ids.iter().map(|_| Err(down())).collect()).boxed() } else { self.0.read(ids) }
    }

    fn write<'a>(&'a self, writes: &'a [Write]) -> BoxFuture<'a, Vec<Result<Written, StoreError>>> {
        if self.1 == Request::Write { ready(writes.iter().map(|_| Err(down())).collect()).boxed() } else { self.0.write(writes) }
    }

    fn link<'a>(&'a self, links: &'a [Link]) -> BoxFuture<'a, Vec<Result<Linked, StoreError>>> {
        if self.1 == Request::Link { ready(links.iter().map(|_| Err(down())).collect()).boxed() } else { self.0.link(links) }
    }

    fn oldest<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        self.0.oldest(list, limit)
    }
}

impl Index for Faulty {
    fn due(&self, shard: u8, until: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        if self.1 == Request::Due { ready(Err(down())).boxed() } else { self.0.due(shard, until, limit) }
    }

    fn unfinished(&self, turn: u64) -> BoxFuture<'_, Result<Vec<Result<Record, StoreError>>, StoreError>> {
        let unreadable = || StoreError::Unreadable { id: "a".into(), flaw: "it is no record".into() };
        match self.1 {
            Request::Unfinished => ready(Err(down())).boxed(),
            Request::Unreadable => ready(Ok(vec![Err(unreadable())])).boxed(),
            _ => self.0.unfinished(turn),
        }
    }

    fn enlist<'a>(&'a self, listings: &'a [Listing]) -> BoxFuture<'a, Vec<Result<(), StoreError>>> {
        self.0.enlist(listings)
    }

    fn listed<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        self.0.listed(list, limit)
    }
}

impl TestBeater {
    /// Returns its ports, with records for which this kind of request fails.
    fn due_with(&self, fault: Request) -> Due {
        Due { store: Arc::new(Faulty(self.local.store.clone(), fault)), ..self.local.due() }
    }

    async fn write(&self, record: Record) {
        assert!(self.local.store.write(&[Write::insert(record)]).await[0].is_ok());
    }

    /// Returns a job of the due index.
    fn filed(&self, id: &str) -> Record {
        Record {
            id: id.into(),
            name: "note".into(),
            queue: "note".into(),
            state: State::Scheduled,
            run_at: Some(self.now()),
            due: Some(shard(id)),
            envelope: Some(body(id)),
            ..Record::default()
        }
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

    fn oldest<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        self.0.oldest(list, limit)
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
    world.write(world.filed("due")).await;
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

#[tokio::test(start_paused = true)]
async fn a_change_that_may_succeed_later_is_tried_five_times() {
    let cases: [(Answer, usize); 3] =
        [(|| Err(down()), 1), (|| Err(StoreError::Busy("throttled".into())), 5), (|| Ok(Changed::Known(Vec::new())), 5)];
    for (answer, tries) in cases {
        let world = TestBeater::at(START);
        world.put(note("minutely", cron("* * * * *", "UTC"))).await;
        let rows = world.unchanged(0, answer);
        let report = world.tick_with(Some(rows.clone()), None).await;
        assert_eq!(report.fired, 0);
        assert_eq!(report.failed, 1);
        assert_eq!(report.wrong, 0);
        assert_eq!(rows.changes.load(Ordering::SeqCst), tries);
    }
}

#[tokio::test]
async fn a_schedule_without_its_queue_is_wrong_unless_it_is_paused() {
    let world = TestBeater::at(START);
    world.put(note("minutely", cron("* * * * *", "UTC"))).await;
    let report = world.tick_with(None, Some(Trouble::Missing)).await;
    assert_eq!(report.fired, 0);
    assert_eq!(report.failed, 0);
    assert_eq!(report.wrong, 1);
    world.put(note("active", cron("* * * * *", "UTC"))).await;
    world.schedules().pause("minutely").await.expect("there is one");
    assert_eq!(world.tick_with(None, Some(Trouble::Missing)).await.wrong, 1, "the other schedule of this queue");
    world.schedules().delete("active").await.expect("there is one");
    let report = world.tick_with(None, Some(Trouble::Missing)).await;
    assert_eq!(report.fired, 0);
    assert_eq!(report.failed, 0);
    assert_eq!(report.wrong, 0);
    assert_eq!(world.row().await.expect("there is one").due, None);
    world.schedules().delete("minutely").await.expect("there is one");
    assert_eq!(world.tick_with(None, Some(Trouble::Missing)).await.wrong, 0);
    assert_eq!(world.row().await, None);
}

#[tokio::test]
async fn jobs_that_cannot_be_sent_are_reported_and_sent_by_the_next_tick() {
    let world = TestBeater::at(START);
    world.put(note("minutely", cron("* * * * *", "UTC"))).await;
    let report = world.tick_with(None, Some(Trouble::Unsent)).await;
    assert_eq!(report.fired, 3);
    // The jobs of the schedule, and once more as due jobs.
    assert_eq!(report.failed, 6);
    assert_eq!(world.tick_now().await.sent, 3);
    assert_eq!(world.local.queue.messages("note").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_fires_often_is_recorded_in_few_transactions() {
    let world = TestBeater::at(START);
    world.put(note("each-second", Schedule::every(Duration::from_secs(1)))).await;
    let rows = world.unchanged(1, || Err(down()));
    let report = world.tick_with(Some(rows.clone()), None).await;
    assert_eq!(report.fired, 90, "the recorded jobs are sent");
    assert_eq!(report.failed, 0, "the recorded jobs are sent");
    assert_eq!(world.local.queue.messages("note").len(), 90);
    let report = world.tick_with(Some(rows.clone()), None).await;
    assert_eq!(report.fired, 0);
    assert_eq!(report.failed, 1);
    assert_eq!(rows.changes.load(Ordering::SeqCst), 3);
    assert_eq!(world.tick_now().await.fired, 31);
}

#[tokio::test]
async fn each_item_that_cannot_be_read_or_written_is_reported() {
    let world = TestBeater::at(START);
    let failed = |failed| Tally { failed, ..Tally::default() };
    // A repair files this job again.
    world.write(Record { run_at: None, due: None, ..world.filed("lost") }).await;
    assert_eq!(repair(&world.due_with(Request::Unfinished), 0).await, failed(1));
    assert_eq!(repair(&world.due_with(Request::Unreadable), 0).await, Tally { wrong: 1, ..Tally::default() });
    assert_eq!(repair(&world.due_with(Request::Write), 0).await, failed(1));
    world.write(world.filed("due")).await;
    let later = || Instant::now() + Duration::from_mins(1);
    assert!(hand_over(&world.due_with(Request::Due), world.now(), later()).await.is_err());
    let read = hand_over(&world.due_with(Request::Read), world.now(), later()).await;
    assert_eq!(read.expect("the index answers"), failed(1));
    world.write(Record { state: State::Succeeded, dependents: ["x".into()].into(), ..world.filed("ended") }).await;
    let told = hand_over(&world.due_with(Request::Link), world.now(), later()).await;
    assert_eq!(told.expect("the index answers"), Tally { done: 1, ..failed(1) }, "the due job is sent");
    let told = hand_over(&world.local.due(), world.now(), later()).await;
    assert_eq!(told.expect("the index answers"), Tally { done: 1, ..Tally::default() });
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_examined_is_reported() {
    let world = TestBeater::at(START);
    let later = || Instant::now() + Duration::from_mins(1);
    let dlqs = Dlqs::new(vec![DLQ.into()]);
    world.local.queue.send(DLQ, &[Outgoing::new(body("a"))]).await.remove(0).expect("sent");
    world.local.queue.moved_from("note");
    let failed = Tally { failed: 1, ..Tally::default() };
    assert_eq!(explain(&world.due_with(Request::Read), &dlqs, 0, later()).await, failed);
    let unreceived = Due { queue: Arc::new(Troubled(world.local.queue.clone(), Trouble::Unreceived)), ..world.local.due() };
    assert_eq!(dlqs.names(&world.local.store).await, [DLQ]);
    let listing = Listing { list: store::DLQS.into(), id: "another".into(), at: world.now(), purge_at: 4_000_000_000 };
    world.local.store.enlist(&[listing]).await;
    assert_eq!(dlqs.names(&world.local.store).await, [DLQ], "the list is kept");
    assert_eq!(explain(&unreceived, &dlqs, 0, later()).await, failed);
    assert_eq!(dlqs.names(&world.local.store).await.len(), 2, "the list is read again, since its queue may be gone");
}

#[tokio::test]
async fn a_dead_letter_is_not_explained_after_the_end_of_the_tick() {
    let world = TestBeater::at(START);
    world.local.queue.send(DLQ, &[Outgoing::new(body("a"))]).await.remove(0).expect("sent");
    world.local.queue.moved_from("note");
    let dlqs = Dlqs::new(vec![DLQ.into()]);
    assert_eq!(explain(&world.local.due(), &dlqs, 0, Instant::now()).await, Tally::default());
    assert_eq!(explain(&world.local.due(), &dlqs, 0, Instant::now() + Duration::from_mins(1)).await.done, 1);
}

#[tokio::test]
async fn a_repair_that_fails_is_reported() {
    let world = TestBeater::at(START);
    let hours = |hours| Some(world.now() - jiff::SignedDuration::from_hours(hours));
    let failed = Tally { failed: 1, ..Tally::default() };
    let waiting = Record { run_at: None, due: None, ..world.filed("blocked") };
    world.write(Record { state: State::Blocked, enqueued_at: hours(1), blocked_on: ["x".into()].into(), ..waiting }).await;
    assert_eq!(repair(&world.due_with(Request::Link), 0).await, failed);
    let world = TestBeater::at(START);
    let ended = Record { run_at: None, due: None, finished_at: hours(25), ..world.filed("failed") };
    world.write(Record { state: State::Failed, dlq: Some(Dlq::Pending), generation: 1, ..ended }).await;
    let unsent = Due { queue: Arc::new(Troubled(world.local.queue.clone(), Trouble::Unsent)), ..world.local.due() };
    assert_eq!(repair(&unsent, 0).await, failed);
}

#[tokio::test]
async fn a_fire_that_is_filed_again_keeps_the_jobs_that_wait_for_it() {
    let world = sent_ahead().await;
    let fire = "schedule:minutely:2026-05-04T10:01:00Z";
    world.local.client().enqueue_one(crate::Enqueue::named("note", json!("waits")).id("a").after([fire])).await.expect("enqueued");
    world.work().await;
    world.schedules().pause("minutely").await.expect("there is one");
    let ports =
        Ports { due: world.due_with(Request::Link), rows: Arc::new(world.rows.clone()), prefix: String::new(), dlqs: Arc::default() };
    tick(&ports, world.now(), Instant::now() + Duration::from_mins(1)).await.expect("a table in memory");
    assert_eq!(world.records()[fire].state, State::Cancelled);
    assert_eq!(world.records()["a"].state, State::Blocked, "the tick could not tell it");
    world.schedules().resume("minutely").await.expect("there is one");
    world.pass(30);
    world.go_on(1).await;
    assert_eq!(world.records()[fire].state, State::Succeeded);
    assert_eq!(world.records()["a"].state, State::Succeeded);
}

#[tokio::test]
async fn a_schedule_that_is_restored_during_a_tick_files_its_jobs_again() {
    let world = sent_ahead().await;
    world.put(note("minutely", cron("30 * * * * *", "UTC"))).await;
    // The tick cancels the jobs that were sent ahead. Then it sees that the row was changed.
    let rows = world.unchanged(1, || Ok(Changed::Refused));
    world.tick_with(Some(rows), None).await;
    let states: Vec<_> = world.records().into_values().map(|record| record.state).collect();
    assert_eq!(states, [State::Succeeded, State::Cancelled, State::Cancelled]);
    world.put(note("minutely", cron("* * * * *", "UTC"))).await;
    world.tick_now().await;
    world.pass(30);
    world.go_on(2).await;
    assert_eq!(world.fires("minutely"), ["2026-05-04T10:00:00Z", "2026-05-04T10:01:00Z", "2026-05-04T10:02:00Z"]);
}

#[tokio::test]
async fn a_schedule_that_is_restored_by_hand_files_its_jobs_again() {
    let world = sent_ahead().await;
    let old = world.row().await.expect("there is one");
    // As an editor that knows only the fields of the entry: the other attributes stay as they are.
    let by_hand = async |entry: &Entry| {
        let row = Row { entry: entry.clone(), ..world.row().await.expect("there is one") };
        world.rows.overwrite(&row).await.expect("rows in memory");
    };
    by_hand(&note("minutely", cron("30 * * * * *", "UTC"))).await;
    // The tick dies after it has cancelled the jobs that were sent ahead.
    let rows = world.unchanged(1, || Err(down()));
    world.tick_with(Some(rows), None).await;
    let states: Vec<_> = world.records().into_values().map(|record| record.state).collect();
    assert_eq!(states, [State::Succeeded, State::Cancelled, State::Cancelled]);
    by_hand(&old.entry).await;
    assert_eq!(world.row().await.and_then(|row| row.next_fire), old.next_fire);
    world.tick_now().await;
    world.pass(30);
    world.go_on(2).await;
    assert_eq!(world.fires("minutely"), ["2026-05-04T10:00:00Z", "2026-05-04T10:01:00Z", "2026-05-04T10:02:00Z"]);
}

#[tokio::test]
async fn a_changed_schedule_without_its_queue_is_reported_once() {
    let world = sent_ahead().await;
    world.put(Entry::named("minutely", cron("* * * * *", "UTC"), "note", json!("as told now"))).await;
    assert!(world.row().await.is_some_and(|row| row.is_overlooked()), "it is in the index, and a scan finds it too");
    assert_eq!(world.tick_with(None, Some(Trouble::Missing)).await.wrong, 1);
}

#[tokio::test]
async fn an_ended_job_is_not_listed_as_due_while_its_dependents_wait() {
    let world = TestBeater::at(START);
    world.write(world.filed("due")).await;
    world.write(Record { state: State::Succeeded, dependents: ["x".into()].into(), ..world.filed("ended") }).await;
    let listed = world.local.client().list(crate::By::Due, 10).await.expect("an answer");
    assert_eq!(listed.into_iter().map(|record| record.id).collect::<Vec<_>>(), ["due"]);
}
