//! Jobs that wait for other jobs, on the in-memory adapters.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::future::{BoxFuture, FutureExt, pending};
use jiff::Timestamp;
use tokio::sync::Notify;

use super::{super::local::Local, *};
use crate::{
    Enqueue, Otherwise, When,
    queue::{Outgoing, Queue, QueueError, Source as _, Visibility},
    store::{Index, Link, Linked, Listing, Store, StoreError, Written},
};

/// AWS in memory, with a job `probe` that fails while its id is in `failing`.
#[derive(Clone)]
pub(super) struct Graph {
    pub(super) local: Local,
    pub(super) jobs: Jobs,
    /// The ids of the runs, in order. It stands for an effect outside the table.
    pub(super) runs: Journal,
    pub(super) failing: Arc<Mutex<BTreeSet<String>>>,
}

impl Graph {
    pub(super) fn new() -> Self {
        let local = Local::new(Clock::frozen("2026-05-04T12:00:00Z".parse().expect("an instant")));
        let (runs, failing) = (Journal::default(), Arc::new(Mutex::new(BTreeSet::new())));
        let mut jobs = Jobs::default();
        let (ran, fails) = (runs.clone(), Arc::clone(&failing));
        jobs.add(Arc::new(Scripted::new("probe", Policy::new(), move |attempt: Arc<Attempt>| {
            ran.note(attempt.id());
            let fails = lock(&fails).contains(attempt.id());
            async move { if fails { Err(JobError::fatal("as told")) } else { Ok(Value::Null) } }
        })));
        Self { local, jobs, runs, failing }
    }

    pub(super) fn failing(self, ids: &[&str]) -> Self {
        lock(&self.failing).extend(ids.iter().map(|id| (*id).to_owned()));
        self
    }

    pub(super) async fn enqueue(&self, job: Enqueue) {
        self.local.client().enqueue_one(job).await.expect("it is enqueued");
    }

    pub(super) async fn run(&self) {
        let engine = self.local.engine(self.jobs.clone(), Handle::current(), usize::MAX);
        self.local.run_all(&engine).await.expect("memory answers");
    }

    pub(super) fn record(&self, id: &str) -> Record {
        self.local.store.get(id).expect("there is a record")
    }

    pub(super) fn states(&self, ids: &[&str]) -> Vec<State> {
        ids.iter().map(|id| self.record(id).state).collect()
    }

    pub(super) fn kind(&self, id: &str) -> String {
        self.record(id).error.map(|error| error.kind).unwrap_or_default()
    }
}

pub(super) fn job(id: &str) -> Enqueue {
    Enqueue::named("probe", Value::Null).id(id)
}

/// All orders of three jobs.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

#[tokio::test(start_paused = true)]
async fn a_chain_runs_in_order_whatever_the_order_of_its_messages() {
    for order in ORDERS {
        for separately in [false, true] {
            let graph = Graph::new();
            let jobs = [job("a"), job("b").after(["a"]), job("c").after(["b"])];
            for place in order {
                graph.enqueue(jobs[place].clone()).await;
                if separately {
                    graph.run().await;
                }
            }
            graph.run().await;
            assert_eq!(graph.runs.all(), ["a", "b", "c"], "{order:?}");
            assert_eq!(graph.states(&["a", "b", "c"]), [State::Succeeded; 3]);
            assert_eq!(graph.record("c").attempts, 1, "no attempt is spent by waiting");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_after_all_jobs_of_its_group() {
    let graph = Graph::new();
    graph.enqueue(job("close").after(TEN)).await;
    for id in TEN {
        graph.enqueue(job(id)).await;
    }
    graph.run().await;
    let runs = graph.runs.all();
    assert_eq!(runs.len(), 11);
    assert_eq!(runs.last().map(String::as_str), Some("close"));
}

#[tokio::test(start_paused = true)]
async fn both_sides_of_a_diamond_run_before_its_end() {
    let graph = Graph::new();
    for (id, after) in [("end", vec!["left", "right"]), ("left", vec!["start"]), ("right", vec!["start"]), ("start", vec![])] {
        graph.enqueue(job(id).after(after)).await;
    }
    graph.run().await;
    let runs = graph.runs.all();
    assert_eq!(runs.len(), 4);
    assert_eq!(&*runs[0], "start");
    assert_eq!(&*runs[3], "end");
}

#[tokio::test(start_paused = true)]
async fn a_job_is_held_after_a_failure_and_goes_on_after_the_retry() {
    let graph = Graph::new().failing(&["a"]);
    graph.enqueue(job("a")).await;
    graph.enqueue(job("b").after(["a"])).await;
    graph.run().await;
    graph.enqueue(job("late").after(["a"])).await;
    graph.run().await;
    assert_eq!(graph.states(&["a", "b", "late"]), [State::Failed, State::Blocked, State::Blocked]);
    lock(&graph.failing).clear();
    assert!(graph.local.client().retry(job("a")).await.expect("memory answers"));
    graph.run().await;
    assert_eq!(graph.states(&["a", "b", "late"]), [State::Succeeded; 3]);
    assert_eq!(graph.runs.all().len(), 4, "a twice, and the others once");
}

#[tokio::test(start_paused = true)]
async fn a_job_is_cancelled_with_its_own_dependents_if_it_must_not_wait() {
    for early in [false, true] {
        let graph = Graph::new().failing(&["a"]);
        if early {
            graph.enqueue(job("a")).await;
            graph.run().await;
        }
        graph.enqueue(job("c").after(["b"]).otherwise(Otherwise::Cancel)).await;
        graph.enqueue(job("b").after(["a"]).otherwise(Otherwise::Cancel)).await;
        graph.run().await;
        if !early {
            graph.enqueue(job("a")).await;
            graph.run().await;
        }
        assert_eq!(graph.states(&["a", "b", "c"]), [State::Failed, State::Cancelled, State::Cancelled]);
        assert_eq!([graph.kind("b"), graph.kind("c")], ["dependency", "dependency"]);
        assert_eq!(graph.record("b").error.expect("an error").message, "the job a, which had to succeed first, is failed");
        assert_eq!(graph.runs.all(), ["a"]);
        assert!(graph.local.store.records().iter().all(|record| record.due.is_none()), "nothing is owed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_cancelled_when_its_message_arrives_is_logged_as_such() {
    let log = Log::capture();
    let graph = Graph::new().failing(&["a"]);
    graph.enqueue(job("a")).await;
    graph.run().await;
    graph.enqueue(job("b").after(["a"]).otherwise(Otherwise::Cancel)).await;
    graph.run().await;
    let outcomes: Vec<_> = log.events("job ended").into_iter().map(|event| format!("{} {}", event["id"], event["outcome"])).collect();
    assert_eq!(outcomes, [r#""a" "failed""#, r#""b" "cancelled""#]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_handler_runs_after_a_failure_only() {
    for (failing, state, kind, runs) in [(&["b"][..], State::Succeeded, "", 3), (&[], State::Cancelled, "not_needed", 2)] {
        for early in [false, true] {
            let graph = Graph::new().failing(failing);
            let handler = job("apology").after(["a", "b"]).when(When::Failed);
            if early {
                graph.enqueue(handler.clone()).await;
                graph.run().await;
            }
            for id in ["a", "b"] {
                graph.enqueue(job(id)).await;
                graph.run().await;
            }
            if !early {
                graph.enqueue(handler).await;
                graph.run().await;
            }
            assert_eq!(graph.record("apology").state, state, "{failing:?}");
            assert_eq!(graph.kind("apology"), kind);
            assert_eq!(graph.runs.all().len(), runs);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_waits_for_any_ending_runs_after_a_failure() {
    let graph = Graph::new().failing(&["a"]);
    graph.enqueue(job("b").after(["a", "x"]).when(When::Ended)).await;
    graph.enqueue(job("a")).await;
    graph.run().await;
    assert_eq!(graph.record("b").state, State::Blocked);
    graph.local.client().cancel("x").await.expect("memory answers");
    graph.run().await;
    assert_eq!(graph.record("b").state, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_tells_the_dependents_at_once() {
    let graph = Graph::new();
    graph.enqueue(job("b").after(["a"]).otherwise(Otherwise::Cancel)).await;
    graph.run().await;
    graph.local.client().cancel("a").await.expect("memory answers");
    assert_eq!(graph.states(&["a", "b"]), [State::Cancelled, State::Cancelled]);
}

#[tokio::test(start_paused = true)]
async fn the_cancel_of_a_running_job_says_so() {
    let graph = Graph::new();
    let running = held(&TestWorker::new(), "a", seconds(30));
    graph.local.store.write(&[crate::store::Write::insert(running)]).await;
    assert_eq!(graph.local.client().cancel("a").await.expect("memory answers"), crate::Cancelled::Running);
    assert_eq!(graph.record("a").state, State::Running);
}

#[tokio::test(start_paused = true)]
async fn a_blocked_job_waits_for_its_run_time_after_its_release() {
    let graph = Graph::new();
    let start = graph.local.clock.now();
    let times = [("minute", seconds(60)), ("hour", seconds(3600))];
    for (id, delay) in times {
        graph.enqueue(job(id).after(["a"]).delay(delay)).await;
    }
    let engine = graph.local.engine(graph.jobs.clone(), Handle::current(), usize::MAX);
    graph.local.clock.advance(seconds(30));
    graph.local.run_due(&engine).await.expect("memory answers");
    graph.enqueue(job("a")).await;
    graph.local.run_due(&engine).await.expect("memory answers");
    assert_eq!(graph.runs.all(), ["a"], "none is early");
    graph.run().await;
    assert_eq!(graph.runs.all(), ["a", "minute", "hour"]);
    for (id, delay) in times {
        let started = graph.record(id).started_at.expect("it ran");
        assert_eq!(started, crate::clock::after(start, delay));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_blocked_job_is_not_released() {
    let graph = Graph::new();
    graph.enqueue(job("b").after(["a"])).await;
    graph.enqueue(job("c").after(["b"]).when(When::Ended)).await;
    graph.run().await;
    graph.local.client().cancel("b").await.expect("memory answers");
    graph.enqueue(job("a")).await;
    graph.run().await;
    assert_eq!(graph.states(&["a", "b", "c"]), [State::Succeeded, State::Cancelled, State::Succeeded]);
    assert_eq!(graph.runs.all().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_retried_job_that_was_cancelled_unseen_still_waits() {
    let graph = Graph::new();
    let client = graph.local.client();
    client.cancel("b").await.expect("memory answers");
    let longest = seconds(7200);
    let waiting = job("b").after(["a"]).max_blocked(longest);
    assert!(client.retry(waiting.clone()).await.expect("memory answers"));
    graph.run().await;
    assert_eq!(graph.runs.all().len(), 0, "its dependency has not run");
    graph.local.clock.advance(seconds(60));
    client.cancel("b").await.expect("memory answers");
    assert!(client.retry(waiting).await.expect("memory answers"));
    graph.run().await;
    let until = graph.record("b").dependencies.and_then(|dependencies| dependencies.until);
    assert_eq!(until, Some(crate::clock::after(graph.local.clock.now(), longest)));
    graph.enqueue(job("a")).await;
    graph.run().await;
    assert_eq!(graph.runs.all(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_late_copy_of_a_message_leaves_a_retried_job_in_the_due_index() {
    let graph = Graph::new();
    graph.enqueue(job("a")).await;
    graph.enqueue(job("b").after(["a"])).await;
    graph.run().await;
    assert!(graph.local.client().retry(job("b").after(["a"]).delay(seconds(600))).await.expect("memory answers"));
    let copy = crate::queue::Outgoing::new(job("b").after(["a"]).envelope().to_body());
    graph.local.queue.send(QUEUE, &[copy]).await.pop().expect("an answer").expect("it is sent");
    // The process dies before it registers the job with the other one, and the copy does not come back.
    let mortal = Mortal::new(&graph, 2, true);
    deliver(&graph, &mortal).await;
    let stored = graph.record("b");
    assert_eq!((stored.state, stored.due.is_some()), (State::Scheduled, true));
    graph.run().await;
    assert_eq!(graph.runs.all(), ["a", "b", "b"]);
}

#[tokio::test(start_paused = true)]
async fn the_dependents_of_a_late_copy_are_told_wherever_its_process_dies() {
    let now = Graph::new().local.clock.now();
    let filed = job("b").delay(seconds(3600));
    let cases = [
        (job("b").after(["a"]), State::Succeeded),
        (filed.clone(), State::Succeeded),
        (filed.clone(), State::Failed),
        (filed.expires_at(crate::clock::after(now, seconds(3601))), State::Expired),
    ];
    for ((b, expected), takes_effect) in cases.iter().flat_map(|case| [(case, false), (case, true)]) {
        for at in 0.. {
            let graph = Graph::new().failing(if *expected == State::Failed { &["b"] } else { &[] });
            graph.enqueue(b.clone()).await;
            graph.enqueue(job("c").after(["b"]).when(When::Ended)).await;
            let messages = graph.local.queue.receive(QUEUE, 10, seconds(60)).await.expect("memory answers");
            handle(&graph, &Mortal::new(&graph, usize::MAX, true), messages.clone()).await;
            if graph.record("b").state == State::Scheduled {
                graph.local.clock.advance(seconds(3601));
            } else {
                // The process of `a` dies after it has recorded the end.
                graph.enqueue(job("a")).await;
                deliver(&graph, &Mortal::new(&graph, 2, true)).await;
                assert_eq!(graph.states(&["a", "b"]), [State::Succeeded, State::Blocked]);
            }
            // The queue delivers a deleted message once more.
            let copy = messages.into_iter().filter(|message| message.open().0 == "b").collect::<Vec<_>>();
            assert_eq!(copy.len(), 1);
            let died = handle(&graph, &Mortal::new(&graph, at, takes_effect), copy).await;
            if died && graph.record("b").state == State::Running {
                continue; // a beater repairs it
            }
            graph.run().await;
            graph.local.clock.advance(seconds(3600));
            graph.run().await;
            assert_eq!(graph.states(&["b", "c"]), [*expected, State::Succeeded], "killed at {at} ({takes_effect})");
            assert_eq!(graph.record("b").due, None);
            if !died {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_with_other_dependencies_waits_for_them() {
    let graph = Graph::new().failing(&["plain", "released"]);
    graph.enqueue(job("plain")).await;
    graph.enqueue(job("released").after(["plain"]).when(When::Ended)).await;
    graph.enqueue(job("mistyped").after(["noep"])).await;
    graph.run().await;
    lock(&graph.failing).clear();
    let client = graph.local.client();
    client.cancel("mistyped").await.expect("memory answers");
    for id in ["plain", "released", "mistyped"] {
        assert!(client.retry(job(id).after(["right"])).await.expect("memory answers"));
    }
    graph.run().await;
    assert_eq!(graph.states(&["plain", "released", "mistyped"]), [State::Blocked; 3]);
    graph.enqueue(job("right")).await;
    graph.run().await;
    assert_eq!(graph.states(&["plain", "released", "mistyped"]), [State::Succeeded; 3]);
}

#[tokio::test(start_paused = true)]
async fn more_than_twenty_jobs_may_wait_for_one() {
    let graph = Graph::new();
    let ids: Vec<_> = (0..25).map(|number| format!("b{number}")).collect();
    for id in &ids {
        graph.enqueue(job(id).after(["a"])).await;
    }
    let engine = graph.local.engine(graph.jobs.clone(), Handle::current(), usize::MAX);
    graph.local.run_due(&engine).await.expect("memory answers");
    assert_eq!(graph.record("a").dependents.len(), 21, "20 jobs, and the mark of pages");
    graph.enqueue(job("a")).await;
    graph.run().await;
    assert_eq!(graph.runs.all().len(), 26);
}

#[tokio::test(start_paused = true)]
async fn a_job_reads_the_results_of_the_jobs_that_it_waited_for() {
    let graph = Graph::new();
    let mut jobs = Jobs::default();
    jobs.add(Arc::new(Scripted::new("number", Policy::new(), async |attempt: Arc<Attempt>| Ok(attempt.meta()["number"].clone()))));
    jobs.add(Arc::new(Scripted::new("sum", Policy::new(), async |attempt: Arc<Attempt>| {
        let results: Vec<_> = attempt.dependencies().await?.into_iter().map(|job| json!([job.id, job.result])).collect();
        Ok(json!(results))
    })));
    let graph = Graph { jobs, ..graph };
    graph.enqueue(Enqueue::named("sum", Value::Null).id("sum").after(["b", "approval", "a"])).await;
    for (id, number) in [("a", 1), ("b", 2)] {
        graph.enqueue(Enqueue::named("number", Value::Null).id(id).meta("number", number)).await;
    }
    graph.run().await;
    assert_eq!(graph.record("sum").state, State::Blocked);
    assert!(graph.local.client().complete("approval", json!({"by": "Ada"})).await.expect("memory answers"));
    graph.run().await;
    assert_eq!(graph.record("sum").result, Some(json!([["b", 2], ["approval", {"by": "Ada"}], ["a", 1]])));
    assert_eq!(graph.record("a").result, Some(json!(1)));
}

#[tokio::test(start_paused = true)]
async fn only_a_job_that_nobody_has_enqueued_can_be_completed() {
    let graph = Graph::new();
    let client = graph.local.client();
    assert!(client.complete("new", "yes").await.expect("memory answers"));
    assert!(!client.complete("new", "again").await.expect("memory answers"));
    assert_eq!(graph.record("new").result, Some(json!("yes")));
    graph.enqueue(job("new")).await;
    graph.enqueue(job("known").recorded()).await;
    assert!(!client.complete("known", Value::Null).await.expect("memory answers"));
    graph.run().await;
    assert_eq!(graph.runs.all(), ["known"], "the message of a completed job is discarded");
    assert!(!client.complete("known", Value::Null).await.expect("memory answers"));
    let error = client.complete("", Value::Null).await.expect_err("an empty id").to_string();
    assert!(error.starts_with("cannot complete job \"\": id: it is empty"), "{error}");
}

fn after(id: &str, dependency: &str) -> Message {
    with_body(id, json!({"name": "probe", "id": id, "depends_on": [dependency]}))
}

fn is_registration(link: &Link) -> bool {
    matches!(link, Link::Register { .. })
}

/// Faults of a change of links that must not lose it.
const FAULTS: [StoreFault; 3] = [StoreFault::LoseAnswer, StoreFault::Unknown, StoreFault::Bare];

#[tokio::test(start_paused = true)]
async fn a_registration_with_a_lost_answer_is_repeated() {
    for fault in FAULTS {
        let world = TestWorker::with(Policy::new(), async |_| Ok(Value::Null));
        world.store.on_link(is_registration, ..2, fault);
        assert!(world.handle([after("b", "a"), after("c", "a")]).await.failures.is_empty());
        assert_eq!(world.states(&["b", "c"]), [State::Blocked; 2]);
        assert_eq!(world.record("a").dependents, ["b".to_owned(), "c".to_owned()].into());
        assert!(world.deliver("a").await.failures.is_empty());
        assert_eq!(world.states(&["a", "b", "c"]), [State::Succeeded, State::Queued, State::Queued]);
        assert_eq!(world.queue.messages(QUEUE).len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_removal_with_a_lost_answer_is_repeated() {
    for fault in FAULTS {
        let world = TestWorker::with(Policy::new(), async |_| Ok(Value::Null));
        world.handle([after("b", "a")]).await;
        world.store.on_link(|link| !is_registration(link), ..2, fault);
        assert!(world.deliver("a").await.failures.is_empty());
        assert_eq!(world.queue.messages(QUEUE).len(), 1);
        assert_eq!(world.state("b"), State::Queued);
    }
}

#[tokio::test(start_paused = true)]
async fn the_message_of_a_job_stays_until_its_dependents_know_its_end() {
    let world = TestWorker::with(Policy::new(), async |_| Err(JobError::fatal("no")));
    world.handle([after("b", "a")]).await;
    world.handle([with_body("c", json!({"name": "probe", "id": "c", "depends_on": ["a"], "when": "ended"}))]).await;
    world.store.on_link(|link| !is_registration(link), .., StoreFault::Unknown);
    assert_eq!(world.deliver("a").await.failures, returned(&["a"]));
    assert_eq!(world.queue.messages(DLQ).len(), 0, "the dead letter must wait too");
    world.store.heal();
    assert!(world.handle([again("a")]).await.failures.is_empty());
    assert_eq!(world.queue.messages(DLQ).len(), 1);
    assert_eq!(world.states(&["a", "b", "c"]), [State::Failed, State::Blocked, State::Queued]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_registers_while_another_ends_is_told() {
    let world = TestWorker::with(Policy::new(), async |_| Ok(Value::Null));
    let registers = StoreFault::Meanwhile(Arc::new(|store: &FaultyStore| {
        let ended = store.get("a").expect("it runs");
        let blocked = Record { state: State::Blocked, blocked_on: ["a".to_owned()].into(), ..Record { id: "b".into(), ..ended } };
        let blocked = Record { generation: 0, owner: Some("b".into()), lease_until: None, envelope: Some("{}".into()), ..blocked };
        store.put(blocked);
        store.register("a", "b");
    }));
    world.store.on_write(|write| write.next.state == State::Succeeded, ..1, registers);
    assert!(world.deliver("a").await.failures.is_empty());
    assert_eq!(world.states(&["a", "b"]), [State::Succeeded, State::Queued]);
}

#[tokio::test(start_paused = true)]
async fn a_released_job_that_cannot_be_sent_is_left_to_the_beater() {
    let world = TestWorker::with(Policy::new(), async |_| Ok(Value::Null));
    world.handle([after("b", "a")]).await;
    world.queue.refuse_sends(true);
    assert!(world.deliver("a").await.failures.is_empty());
    let released = world.record("b");
    assert_eq!(released.state, State::Scheduled);
    assert_eq!(released.run_at, Some(world.clock.now()));
    assert!(released.due.is_some());
    // The message has no dependencies any more, so that a worker of an older version can run it.
    let envelope = crate::Envelope::parse(&released.envelope.expect("the message")).expect("an envelope");
    assert_eq!(envelope.depends_on.len(), 0);
    assert_eq!(envelope.needs.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_plain_job_pays_nothing_for_links() {
    let world = TestWorker::with(Policy::new(), async |_| Ok(Value::Null));
    world.handle(TEN.map(message)).await;
    assert_eq!(world.store.requests().len(), 2, "two writes");
    assert_eq!(world.store.link_requests(), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_jobs_of_a_batch_share_the_requests_of_their_links() {
    let world = TestWorker::with(Policy::new(), async |_| Ok(Value::Null));
    world.store.put(Record { id: "a".into(), name: "probe".into(), queue: QUEUE.into(), ..Record::default() });
    world.handle(TEN[1..].iter().map(|id| after(id, "a"))).await;
    assert_eq!(world.store.link_requests(), [1], "one registration for all");
    assert_eq!(world.record("a").dependents.len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_links_is_tried_five_times() {
    let world = TestWorker::with(Policy::new(), async |_| Ok(Value::Null));
    world.store.on_link(|_| true, .., StoreFault::Unknown);
    assert_eq!(world.handle([after("b", "a")]).await.failures, returned(&["b"]));
    assert_eq!(world.store.link_requests(), [1; 5]);
}

/// The jobs of the tests with kills, and their expected ends: two chains, a handler and a group.
fn jobs() -> Vec<(Enqueue, State)> {
    vec![
        (job("a"), State::Succeeded),
        (job("b").after(["a"]), State::Succeeded),
        (job("c").after(["b", "a"]), State::Succeeded),
        (job("bad"), State::Failed),
        (job("held").after(["bad"]), State::Blocked),
        (job("off").after(["bad"]).otherwise(Otherwise::Cancel), State::Cancelled),
        (job("handler").after(["bad"]).when(When::Failed), State::Succeeded),
        (job("unneeded").after(["a"]).when(When::Failed), State::Cancelled),
        (job("last").after(["off", "c"]).when(When::Ended), State::Succeeded),
    ]
}

/// The ports of a process that dies at its `at`th request, before or after the request takes effect.
#[derive(Clone)]
pub(super) struct Mortal {
    local: Local,
    count: Arc<AtomicUsize>,
    at: usize,
    takes_effect: bool,
    dead: Arc<Notify>,
}

impl Mortal {
    pub(super) fn new(graph: &Graph, at: usize, takes_effect: bool) -> Self {
        Self { local: graph.local.clone(), count: Arc::default(), at, takes_effect, dead: Arc::default() }
    }

    pub(super) async fn died(&self) {
        self.dead.notified().await;
    }

    async fn ask<T>(&self, request: impl Future<Output = T> + Send) -> T {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        if number < self.at {
            return request.await;
        }
        if number == self.at && self.takes_effect {
            request.await;
        }
        self.dead.notify_one();
        pending().await
    }
}

impl Store for Mortal {
    fn read<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Vec<Result<Option<Record>, StoreError>>> {
        self.ask(self.local.store.read(ids)).boxed()
    }

    fn write<'a>(&'a self, writes: &'a [Write]) -> BoxFuture<'a, Vec<Result<Written, StoreError>>> {
        self.ask(self.local.store.write(writes)).boxed()
    }

    fn link<'a>(&'a self, links: &'a [Link]) -> BoxFuture<'a, Vec<Result<Linked, StoreError>>> {
        self.ask(self.local.store.link(links)).boxed()
    }

    fn oldest<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        self.ask(self.local.store.oldest(list, limit)).boxed()
    }
}

impl Index for Mortal {
    fn due(&self, shard: u8, until: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        self.local.store.due(shard, until, limit)
    }

    fn unfinished(&self, turn: u64) -> BoxFuture<'_, Result<Vec<Result<Record, StoreError>>, StoreError>> {
        self.local.store.unfinished(turn)
    }

    fn enlist<'a>(&'a self, listings: &'a [Listing]) -> BoxFuture<'a, Vec<Result<(), StoreError>>> {
        self.ask(self.local.store.enlist(listings)).boxed()
    }

    fn listed<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        self.local.store.listed(list, limit)
    }
}

impl Queue for Mortal {
    fn send<'a>(&'a self, queue: &'a str, messages: &'a [Outgoing]) -> BoxFuture<'a, Vec<Result<String, QueueError>>> {
        self.ask(self.local.queue.send(queue, messages)).boxed()
    }

    fn set_visibility<'a>(&'a self, queue: &'a str, changes: &'a [Visibility]) -> BoxFuture<'a, Vec<Result<(), QueueError>>> {
        self.local.queue.set_visibility(queue, changes)
    }

    fn delete<'a>(&'a self, queue: &'a str, receipts: &'a [String]) -> BoxFuture<'a, Vec<Result<(), QueueError>>> {
        self.local.queue.delete(queue, receipts)
    }
}

/// Delivers all visible messages in one batch to a process that may die. Returns `true` if it died.
pub(super) async fn deliver(graph: &Graph, mortal: &Mortal) -> bool {
    loop {
        let messages = graph.local.queue.receive(QUEUE, 10, seconds(60)).await.expect("memory answers");
        if messages.is_empty() {
            return false;
        }
        if handle(graph, mortal, messages).await {
            return true;
        }
    }
}

/// Delivers messages in one batch to a process that may die. Returns `true` if it died.
async fn handle(graph: &Graph, mortal: &Mortal, messages: Vec<Message>) -> bool {
    let receipts: BTreeMap<_, _> = messages.iter().map(|message| (message.id.clone(), message.receipt.clone())).collect();
    let engine = Engine {
        store: Arc::new(mortal.clone()),
        queue: Arc::new(mortal.clone()),
        ..graph.local.engine(graph.jobs.clone(), Handle::current(), usize::MAX)
    };
    let invocation = Invocation { request_id: "request".into(), ends_at: Instant::now() + seconds(900) };
    let report = tokio::select! { biased;
        report = engine.handle(messages, &invocation) => report,
        () = mortal.dead.notified() => return true,
    };
    let done = receipts.into_iter().filter(|(id, _)| !report.failures.contains(id)).map(|(_, receipt)| receipt);
    graph.local.queue.delete(QUEUE, &done.collect::<Vec<_>>()).await;
    false
}

#[tokio::test(start_paused = true)]
async fn every_job_of_a_graph_ends_once_wherever_a_process_dies() {
    let mut survived = 0;
    for (reversed, takes_effect) in [(false, false), (false, true), (true, false), (true, true)] {
        for at in 0.. {
            let graph = Graph::new().failing(&["bad"]);
            let mut jobs = jobs();
            if reversed {
                jobs.reverse();
            }
            for (job, _) in &jobs {
                graph.enqueue(job.clone()).await;
            }
            let mortal = Mortal::new(&graph, at, takes_effect);
            let died = deliver(&graph, &mortal).await;
            // Messages become visible again, and leases run out.
            graph.run().await;
            graph.local.clock.advance(seconds(3600));
            graph.run().await;
            for (job, expected) in &jobs {
                let id = job.envelope().id.as_deref().expect("an id");
                let runs = graph.runs.all().iter().filter(|run| *run == id).count();
                let ends_without_run = matches!(expected, State::Blocked | State::Cancelled);
                assert_eq!(graph.record(id).state, *expected, "{id}, killed at {at} ({takes_effect}, {reversed})");
                // A process that dies after the body repeats it.
                assert!(if ends_without_run { runs == 0 } else { (1..=2).contains(&runs) }, "{id}: {runs} runs, killed at {at}");
            }
            let is_owed = |record: &Record| record.due.is_some() && record.state != State::Blocked;
            let owed: Vec<_> = graph.local.store.records().into_iter().filter(is_owed).collect();
            assert_eq!(owed, [], "killed at {at}");
            if !died {
                survived += 1;
                break;
            }
        }
    }
    assert_eq!(survived, 4);
}

#[tokio::test(start_paused = true)]
async fn a_job_after_ended_jobs_ends_once_wherever_a_process_dies() {
    let (waiting, expected) = (["next", "handler", "unneeded"], [State::Succeeded, State::Succeeded, State::Cancelled]);
    for takes_effect in [false, true] {
        for at in 0.. {
            let graph = Graph::new().failing(&["bad"]);
            graph.enqueue(job("a")).await;
            graph.enqueue(job("bad")).await;
            graph.run().await;
            graph.enqueue(job("next").after(["a"])).await;
            graph.enqueue(job("handler").after(["bad"]).when(When::Failed)).await;
            graph.enqueue(job("unneeded").after(["a"]).when(When::Failed)).await;
            let mortal = Mortal::new(&graph, at, takes_effect);
            let died = deliver(&graph, &mortal).await;
            graph.run().await;
            graph.local.clock.advance(seconds(3600));
            graph.run().await;
            assert_eq!(graph.states(&waiting), expected, "killed at {at} ({takes_effect})");
            if !died {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_release_is_made_up_for_although_the_dependency_fails_in_a_retry() {
    for takes_effect in [false, true] {
        for at in 0.. {
            let graph = Graph::new();
            graph.enqueue(job("b").after(["a"])).await;
            graph.run().await;
            graph.enqueue(job("a")).await;
            let mortal = Mortal::new(&graph, at, takes_effect);
            let died = deliver(&graph, &mortal).await;
            lock(&graph.failing).insert("a".into());
            graph.local.client().retry(job("a")).await.expect("memory answers");
            graph.run().await;
            graph.local.clock.advance(seconds(3600));
            graph.run().await;
            let b = graph.record("b");
            assert!(b.state == State::Succeeded || b.blocked_on.contains("a"), "{b:?}, killed at {at} ({takes_effect})");
            if !died {
                break;
            }
        }
    }
}
