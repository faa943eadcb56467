//! Jobs that share keys, on the in-memory adapters.

use std::sync::{
    LazyLock,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::future::{BoxFuture, FutureExt, ready};
use jiff::Timestamp;

use super::{
    links::{Graph, Mortal, deliver, job},
    *,
};
use crate::{
    Enqueue, Envelope, Keys, OnConflict, Rate,
    envelope::Unreadable,
    job::{AnyJob, BoundJob, Hook},
    lifecycle::{self, SKEW},
    queue::{Queue as _, Source as _},
    store::{Link, Linked, Store, StoreError, Written},
    worker::local::Local,
};

fn limited(id: &str, most: u32) -> Enqueue {
    job(id).keys(Keys::new().limit("service", most))
}

fn exclusive(id: &str) -> Enqueue {
    job(id).keys(Keys::new().exclusive("customer"))
}

fn unique(id: &str) -> Enqueue {
    job(id).keys(Keys::new().unique("report"))
}

const LIMIT: &str = "service\u{1f}\u{1f}limit";
const EXCLUSIVE: &str = "customer\u{1f}\u{1f}exclusive";
const UNIQUE: &str = "report\u{1f}\u{1f}unique";

/// The numbers of bodies that run at a time, and the most so far.
#[derive(Clone, Default)]
struct Gauge(Arc<[AtomicUsize; 2]>);

impl Gauge {
    async fn run(self) -> Result<Value, JobError> {
        let running = self.0[0].fetch_add(1, Ordering::SeqCst) + 1;
        self.0[1].fetch_max(running, Ordering::SeqCst);
        sleep(seconds(1)).await;
        self.0[0].fetch_sub(1, Ordering::SeqCst);
        Ok(Value::Null)
    }

    fn most(&self) -> usize {
        self.0[1].load(Ordering::SeqCst)
    }
}

/// Returns a world whose job `probe` runs for a second.
fn gauged() -> (Graph, Gauge) {
    let (mut graph, gauge) = (Graph::new(), Gauge::default());
    let (ran, runs) = (gauge.clone(), graph.runs.clone());
    graph.jobs.add(Arc::new(Scripted::new("probe", Policy::new(), move |attempt: Arc<Attempt>| {
        runs.note(attempt.id());
        ran.clone().run()
    })));
    (graph, gauge)
}

#[tokio::test(start_paused = true)]
async fn a_limit_holds_and_no_attempt_is_spent_by_waiting() {
    for most in [1, 3, 10] {
        let (graph, gauge) = gauged();
        for id in TEN {
            graph.enqueue(limited(id, most)).await;
        }
        graph.run().await;
        assert_eq!(gauge.most(), most as usize);
        let mut runs = graph.runs.all();
        if most == 1 {
            assert_eq!(runs, TEN, "the oldest first");
        }
        runs.sort();
        assert_eq!(runs, TEN);
        for id in TEN {
            let record = graph.record(id);
            assert_eq!((record.state, record.attempts, record.runs, record.generation), (State::Succeeded, 1, 1, 1), "{id}");
            assert!(record.held.is_empty() && record.listed.is_none() && record.due.is_none());
        }
        assert!(graph.record(LIMIT).holders.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_of_another_key_do_not_wait() {
    let (graph, _) = gauged();
    graph.enqueue(limited("a", 1)).await;
    graph.enqueue(limited("b", 1)).await;
    graph.enqueue(job("c").keys(Keys::new().limit("other", 1))).await;
    graph.enqueue(job("d")).await;
    graph.run().await;
    let mut runs = graph.runs.all();
    assert_eq!(runs.pop().as_deref(), Some("b"));
    runs.sort();
    assert_eq!(runs, ["a", "c", "d"]);
}

#[tokio::test(start_paused = true)]
async fn an_exclusive_key_is_held_between_the_attempts_of_a_job() {
    let mut graph = Graph::new();
    let (runs, fails) = (graph.runs.clone(), Arc::new(AtomicUsize::new(1)));
    graph.jobs.add(Arc::new(Scripted::new("probe", Policy::new(), move |attempt: Arc<Attempt>| {
        runs.note(attempt.id());
        let fails = attempt.id() == "a" && fails.fetch_add(1, Ordering::SeqCst) < 3;
        async move { if fails { Err("as told".into()) } else { Ok(Value::Null) } }
    })));
    graph.enqueue(exclusive("a")).await;
    graph.enqueue(exclusive("b")).await;
    graph.run().await;
    assert_eq!(graph.runs.all(), ["a", "a", "a", "b"]);
    assert_eq!(graph.record("b").attempts, 1);
    assert!(graph.record(EXCLUSIVE).holders.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_producer_learns_which_job_holds_the_unique_key() {
    let graph = Graph::new();
    let client = graph.local.client();
    graph.enqueue(unique("a")).await;
    let dropped = client.enqueue_one(unique("b")).await.expect("it is answered");
    assert_eq!((dropped.holder.as_deref(), &*dropped.message_id), (Some("a"), ""));
    assert_eq!((graph.record("b").state, graph.kind("b")), (State::Cancelled, "unique".into()));
    let failing = job("c").keys(Keys::new().unique("report").on_conflict(OnConflict::Fail));
    assert!(client.enqueue_one(failing).await.is_err());
    graph.run().await;
    graph.enqueue(unique("d")).await;
    graph.run().await;
    assert_eq!(graph.runs.all(), ["a", "d"]);
    assert!(graph.record(UNIQUE).holders.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_message_of_any_producer_takes_the_unique_key_when_it_is_first_seen() {
    let (graph, _) = gauged();
    let send = async |id: &str, on_conflict: &str| {
        let body = json!({"name": "probe", "id": id, "unique_key": "report", "on_conflict": on_conflict});
        graph.local.queue.send(QUEUE, &[crate::queue::Outgoing::new(body.to_string())]).await;
    };
    send("a", "drop").await;
    send("b", "drop").await;
    send("c", "fail").await;
    graph.run().await;
    assert_eq!(graph.runs.all(), ["a"]);
    assert_eq!(graph.states(&["a", "b", "c"]), [State::Succeeded, State::Cancelled, State::Failed]);
    assert_eq!([graph.kind("b"), graph.kind("c")], ["unique", "unique"]);
}

#[tokio::test(start_paused = true)]
async fn a_unique_key_is_free_after_the_start_or_the_time_as_declared() {
    let graph = Graph::new();
    let client = graph.local.client();
    let started = |id: &str| job(id).keys(Keys::new().unique("report").until_started());
    graph.enqueue(started("a")).await;
    assert_eq!(client.enqueue_one(started("b")).await.expect("an answer").holder.as_deref(), Some("a"));
    graph.run().await;
    let timed = |id: &str| job(id).keys(Keys::new().unique("daily").unique_for(Duration::from_hours(1)));
    graph.enqueue(timed("c")).await;
    graph.run().await;
    assert_eq!(graph.record("c").state, State::Succeeded);
    assert_eq!(client.enqueue_one(timed("d")).await.expect("an answer").holder.as_deref(), Some("c"));
    graph.local.clock.advance(Duration::from_hours(1) + SKEW + seconds(1));
    assert_eq!(client.enqueue_one(timed("e")).await.expect("an answer").holder, None);
}

#[tokio::test(start_paused = true)]
async fn a_unique_job_that_is_due_later_holds_its_key_until_then() {
    let graph = Graph::new();
    let client = graph.local.client();
    for (first, second, delay) in [("a", "b", 600), ("c", "d", 7200)] {
        graph.enqueue(unique(first).delay(seconds(delay))).await;
        graph.local.clock.advance(seconds(300));
        assert_eq!(client.enqueue_one(unique(second)).await.expect("an answer").holder.as_deref(), Some(first));
        graph.run().await;
    }
    assert_eq!(graph.runs.all(), ["a", "c"]);
}

#[tokio::test(start_paused = true)]
async fn the_place_of_a_job_whose_process_died_is_free_when_its_lease_is_over() {
    let (graph, _) = gauged();
    let (lease, now) = (Policy::new().lease, graph.local.clock.now());
    let key = lifecycle::needed(&Keys::new().limit("service", 1)).remove(0);
    let place = lifecycle::taken_place(&key, "a", "another", now);
    let key = lifecycle::new_key(&key, &place.entry, "token", now);
    let held = [(LIMIT.to_owned(), place)].into();
    let dead = Record { held, ..held_by_another(&graph, "a", lease) };
    graph.local.store.write(&[Write::insert(key), Write::insert(dead)]).await;
    graph.enqueue(limited("b", 1)).await;
    graph.local.clock.advance(lease / 2);
    graph.run().await;
    assert_eq!(graph.record("b").state, State::Blocked, "the lease is not over");
    graph.local.clock.advance(lease + SKEW);
    graph.run().await;
    assert_eq!(graph.record("b").state, State::Succeeded);
}

/// Returns the record of a job that another process runs, without a message.
fn held_by_another(graph: &Graph, id: &str, lease: Duration) -> Record {
    let now = graph.local.clock.now();
    Record {
        id: id.into(),
        name: "probe".into(),
        queue: QUEUE.into(),
        state: State::Running,
        attempts: 1,
        max_attempts: 5,
        generation: 1,
        owner: Some("another".into()),
        started_at: Some(now),
        lease_until: Some(crate::clock::after(now, lease).as_millisecond()),
        ..Record::default()
    }
}

#[tokio::test(start_paused = true)]
async fn every_job_runs_once_and_no_place_is_lost_wherever_a_process_dies() {
    let all = |id: &str| job(id).keys(Keys::new().limit("service", 1).exclusive("customer"));
    let mut survived = 0;
    for takes_effect in [false, true] {
        for at in 0.. {
            let graph = Graph::new();
            for id in ["a", "b", "c"] {
                graph.enqueue(all(id)).await;
            }
            let mortal = Mortal::new(&graph, at, takes_effect);
            let died = deliver(&graph, &mortal).await;
            // Messages become visible again, and leases run out.
            for _ in 0..5 {
                graph.run().await;
                graph.local.clock.advance(seconds(3600));
            }
            let mut runs = graph.runs.all();
            runs.sort();
            runs.dedup();
            assert_eq!(runs, ["a", "b", "c"], "died at {at}, {takes_effect}");
            assert_eq!(graph.states(&["a", "b", "c"]), [State::Succeeded; 3], "died at {at}, {takes_effect}");
            for key in [LIMIT, EXCLUSIVE] {
                let key = graph.record(key);
                let held = key.holders.iter().filter(|entry| {
                    let job = graph.local.store.get(lifecycle::job_of_entry(entry));
                    lifecycle::is_held(&key.id, entry, job.as_ref(), graph.local.clock.now())
                });
                assert_eq!(held.count(), 0, "died at {at}, {takes_effect}");
            }
            if !died {
                survived += 1;
                break;
            }
        }
    }
    assert_eq!(survived, 2);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_an_operator_sets_wins_and_takes_effect_at_once() {
    let (graph, gauge) = gauged();
    let client = graph.local.client();
    client.set_limit("service", Some(0)).await.expect("memory answers");
    for id in TEN {
        graph.enqueue(limited(id, 1)).await;
    }
    graph.run().await;
    assert_eq!(graph.runs.all(), [""; 0], "no job starts");
    let limits = client.limits().await.expect("memory answers");
    assert_eq!((&*limits[0].key, limits[0].set, limits[0].waiting.len()), ("service", Some(0), 10));
    client.set_limit("service", Some(3)).await.expect("memory answers");
    graph.run().await;
    assert_eq!((gauge.most(), graph.runs.all().len()), (3, 10));
    client.set_limit("service", None).await.expect("memory answers");
    for id in TEN {
        graph.enqueue(limited(&format!("{id}2"), 2)).await;
    }
    graph.run().await;
    let limit = client.limit("service").await.expect("memory answers").expect("a limit");
    assert_eq!((limit.declared, limit.set, limit.holders.len(), limit.waiting.len()), (Some(2), None, 0, 0));
    assert_eq!(client.limits().await.expect("memory answers"), []);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_leaves_the_line_and_a_cancelled_holder_its_place() {
    let (graph, _) = gauged();
    for id in ["a", "b", "c"] {
        graph.enqueue(exclusive(id)).await;
    }
    let client = graph.local.client();
    let mortal = Mortal::new(&graph, usize::MAX, false);
    tokio::select! { biased;
        _ = deliver(&graph, &mortal) => unreachable!("the body lasts a second"),
        () = sleep(Duration::from_millis(500)) => {}
    }
    assert_eq!(graph.states(&["a", "b", "c"]), [State::Running, State::Blocked, State::Blocked]);
    client.cancel("b").await.expect("memory answers");
    client.cancel("a").await.expect("memory answers");
    graph.local.clock.advance(seconds(3600));
    graph.run().await;
    assert_eq!(graph.states(&["a", "b", "c"]), [State::Cancelled, State::Cancelled, State::Succeeded]);
    assert_eq!(graph.runs.all(), ["a", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_waits_too_long_for_a_key_fails_and_names_it() {
    let (graph, _) = gauged();
    graph.local.client().set_limit("service", Some(0)).await.expect("memory answers");
    graph.enqueue(limited("a", 1).max_blocked(seconds(600))).await;
    graph.run().await;
    assert_eq!(graph.record("a").state, State::Blocked);
    graph.local.clock.advance(seconds(601));
    graph.run().await;
    assert_eq!(graph.kind("a"), "blocked_too_long");
    let error = graph.record("a").error.expect("an error").message;
    assert_eq!(error, "it waited too long for the limit key service");
}

#[tokio::test(start_paused = true)]
async fn jobs_that_wait_for_a_unique_job_are_told_of_its_end() {
    let (graph, _) = gauged();
    graph.enqueue(job("b").after(["a"])).await;
    graph.run().await;
    graph.enqueue(unique("a")).await;
    graph.run().await;
    assert_eq!(graph.runs.all(), ["a", "b"]);
    // A dropped job ends as well.
    graph.enqueue(job("e").after(["d"]).otherwise(crate::Otherwise::Cancel)).await;
    graph.run().await;
    graph.enqueue(unique("c").delay(seconds(3600))).await;
    let dropped = graph.local.client().enqueue_one(unique("d")).await.expect("an answer");
    assert_eq!(dropped.holder.as_deref(), Some("c"));
    graph.run().await;
    assert_eq!((graph.record("e").state, graph.kind("e")), (State::Cancelled, "dependency".into()));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_retried_after_the_time_of_its_key_goes_on() {
    let graph = Graph::new().failing(&["a"]);
    let mut jobs = super::super::engine::Jobs::default();
    let (runs, failing) = (graph.runs.clone(), Arc::clone(&graph.failing));
    jobs.add(Arc::new(Scripted::new(
        "probe",
        Policy::new().backoff(crate::Backoff::constant(seconds(7200))),
        move |attempt: Arc<Attempt>| {
            runs.note(attempt.id());
            let fails = lock(&failing).remove(attempt.id());
            async move { if fails { Err("as told".into()) } else { Ok(Value::Null) } }
        },
    )));
    let graph = Graph { jobs, ..graph };
    let timed = |id: &str| job(id).keys(Keys::new().unique("report").unique_for(seconds(60)));
    graph.enqueue(timed("a")).await;
    let engine = graph.local.engine(graph.jobs.clone(), Handle::current(), usize::MAX);
    graph.local.run_due(&engine).await.expect("memory answers");
    graph.local.clock.advance(seconds(90));
    graph.enqueue(timed("b")).await;
    graph.run().await;
    assert_eq!(graph.states(&["a", "b"]), [State::Succeeded; 2]);
    assert_eq!(graph.runs.all(), ["a", "b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_waits_for_a_limit_has_not_started_and_keeps_its_unique_key() {
    let (graph, _) = gauged();
    let client = graph.local.client();
    client.set_limit("service", Some(0)).await.expect("memory answers");
    let started = |id: &str| job(id).keys(Keys::new().limit("service", 1).unique("report").until_started());
    graph.enqueue(started("a")).await;
    graph.run().await;
    assert_eq!(graph.record("a").state, State::Blocked);
    assert_eq!(client.enqueue_one(started("b")).await.expect("an answer").holder.as_deref(), Some("a"));
    client.set_limit("service", None).await.expect("memory answers");
    graph.run().await;
    assert_eq!(graph.runs.all(), ["a"]);
    assert_eq!(client.enqueue_one(started("c")).await.expect("an answer").holder, None);
}

#[tokio::test(start_paused = true)]
async fn after_a_cancel_a_unique_key_is_free_at_once() {
    let graph = Graph::new();
    let client = graph.local.client();
    graph.enqueue(unique("a")).await;
    client.cancel("a").await.expect("memory answers");
    assert_eq!(client.enqueue_one(unique("b")).await.expect("an answer").holder, None);
    graph.run().await;
    assert_eq!(graph.runs.all(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn the_keys_of_a_retried_job_are_those_of_its_new_arguments() {
    let graph = Graph::new().failing(&["a"]);
    graph.enqueue(job("a").keys(Keys::new().exclusive("old"))).await;
    graph.run().await;
    assert_eq!(graph.record("a").state, State::Failed);
    lock(&graph.failing).clear();
    graph.local.client().retry(job("a").keys(Keys::new().exclusive("new"))).await.expect("memory answers");
    graph.run().await;
    assert_eq!(graph.record("a").state, State::Succeeded);
    assert!(graph.local.store.get("new\u{1f}\u{1f}exclusive").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_with_a_key_for_a_time_does_not_delay_its_own_job() {
    for takes_effect in [false, true] {
        for at in 0..12 {
            let graph = Graph::new();
            let body = json!({"name": "probe", "id": "a", "unique_key": "report", "unique_for": 86_400});
            graph.local.queue.send(QUEUE, &[crate::queue::Outgoing::new(body.to_string())]).await;
            deliver(&graph, &Mortal::new(&graph, at, takes_effect)).await;
            let before = graph.local.clock.now();
            graph.run().await;
            assert_eq!(graph.record("a").state, State::Succeeded);
            assert!(graph.local.clock.now().duration_since(before).as_secs() < 600, "died at {at}, {takes_effect}");
        }
    }
}

fn paced(id: &str, rate: Rate) -> Enqueue {
    job(id).keys(Keys::new().rate("service", rate))
}

const RATE: &str = "service\u{1f}\u{1f}rate";

/// The runs of a world, each with its instant on the wall clock.
type Starts = Arc<Mutex<Vec<(String, Timestamp)>>>;

/// Returns a world that notes the instants of its runs.
fn noted() -> (Graph, Starts) {
    let clock = Clock::running("2026-05-04T12:00:00Z".parse().expect("an instant"), Instant::now());
    let mut graph = Graph { local: Local::new(clock), ..Graph::new() };
    let starts = Starts::default();
    let (noted, clock) = (Arc::clone(&starts), graph.local.clock.clone());
    graph.jobs.add(Arc::new(Scripted::new("probe", Policy::new(), move |attempt: Arc<Attempt>| {
        lock(&noted).push((attempt.id().to_owned(), clock.now()));
        async { Ok(Value::Null) }
    })));
    (graph, starts)
}

/// Returns the waits between the runs, in milliseconds.
fn gaps(starts: &Starts) -> Vec<i128> {
    let starts: Vec<_> = lock(starts).iter().map(|(_, at)| at.as_nanosecond() / 1_000_000).collect();
    starts.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn the_attempts_of_a_rate_keep_their_interval_the_oldest_first() {
    for (rate, gap) in [
        (Rate::per_second(2), 500),
        (Rate::per_minute(7), 60_000 / 7),
        (Rate::new(1, seconds(3600)), 3_600_000),
        (Rate::new(100, seconds(1)), 10),
    ] {
        let (graph, starts) = noted();
        for id in TEN {
            graph.enqueue(paced(id, rate)).await;
            graph.local.clock.advance(Duration::from_millis(1));
        }
        graph.run().await;
        let ids: Vec<_> = lock(&starts).iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(ids, TEN);
        assert!(gaps(&starts).iter().all(|between| (gap..=gap + 2).contains(between)), "{:?}", gaps(&starts));
        for id in TEN {
            let record = graph.record(id);
            assert_eq!((record.state, record.attempts, record.runs), (State::Succeeded, 1, 1), "{id}");
            assert!(record.held.is_empty() && record.listed.is_none() && record.due.is_none());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_starts_at_once_after_a_pause() {
    let (graph, starts) = noted();
    for round in 0..2 {
        for number in 0..5 {
            graph.enqueue(paced(&format!("{round}-{number}"), Rate::per_second(1).burst(3))).await;
        }
        graph.run().await;
        graph.local.clock.advance(seconds(60));
    }
    let gaps = gaps(&starts);
    assert_eq!(gaps[..4], [0, 0, 1000, 1000]);
    assert_eq!(gaps[5..], [0, 0, 1000, 1000]);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_counts_and_a_job_that_waits_for_another_key_does_not() {
    let (mut graph, starts) = noted();
    let (noted, clock) = (Arc::clone(&starts), graph.local.clock.clone());
    let policy = Policy::new().max_attempts(3).backoff(crate::Backoff::constant(seconds(1)));
    graph.jobs.add(Arc::new(Scripted::new("probe", policy, move |attempt: Arc<Attempt>| {
        lock(&noted).push((attempt.id().to_owned(), clock.now()));
        async { Err("as told".into()) }
    })));
    graph.enqueue(paced("a", Rate::per_minute(1))).await;
    graph.run().await;
    assert_eq!(gaps(&starts), [60_000, 60_000]);
    let client = graph.local.client();
    client.set_limit("service", Some(0)).await.expect("memory answers");
    graph.local.clock.advance(seconds(600));
    let used = graph.record(RATE).rate;
    graph.enqueue(job("b").keys(Keys::new().rate("service", Rate::per_minute(1)).limit("service", 1))).await;
    graph.run().await;
    assert_eq!((graph.record("b").state, graph.record(RATE).rate), (State::Blocked, used));
}

#[tokio::test(start_paused = true)]
async fn a_rate_that_an_operator_sets_wins_until_it_is_cleared() {
    let (graph, starts) = noted();
    let client = graph.local.client();
    client.set_rate("service", Some(Rate::per_minute(1))).await.expect("memory answers");
    for id in ["a", "b", "c"] {
        graph.enqueue(paced(id, Rate::per_second(1))).await;
    }
    let engine = graph.local.engine(graph.jobs.clone(), Handle::current(), usize::MAX);
    graph.local.run_due(&engine).await.expect("memory answers");
    assert_eq!(lock(&starts).len(), 1);
    let listed = client.rates().await.expect("memory answers");
    assert_eq!((listed[0].set, listed[0].declared), (Some(Rate::per_minute(1)), Some(Rate::per_second(1))));
    assert_eq!(client.rate("other").await.expect("memory answers"), None);
    graph.run().await;
    assert_eq!(gaps(&starts), [60_000, 60_000]);
    client.set_rate("service", None).await.expect("memory answers");
    for id in ["d", "e", "f"] {
        graph.enqueue(paced(id, Rate::per_second(1))).await;
    }
    graph.run().await;
    let gaps = gaps(&starts);
    assert_eq!(gaps[2..], [1000, 1000, 1000], "a slower rate is not used up for longer: {gaps:?}");
    let flaw = client.set_rate("service", Some(Rate::per_second(101))).await.expect_err("too much").to_string();
    assert!(flaw.contains("101 in 1 s is more than 100 a second"), "{flaw}");
}

#[tokio::test(start_paused = true)]
async fn every_job_with_a_rate_runs_once_wherever_a_process_dies() {
    let mut survived = 0;
    for takes_effect in [false, true] {
        for at in 0.. {
            let (graph, starts) = noted();
            for id in ["a", "b", "c"] {
                graph.enqueue(paced(id, Rate::per_minute(6))).await;
            }
            let died = deliver(&graph, &Mortal::new(&graph, at, takes_effect)).await;
            for _ in 0..5 {
                graph.run().await;
                graph.local.clock.advance(seconds(3600));
            }
            let mut ids: Vec<_> = lock(&starts).iter().map(|(id, _)| id.clone()).collect();
            ids.sort();
            ids.dedup();
            assert_eq!(ids, ["a", "b", "c"], "died at {at}, {takes_effect}");
            assert_eq!(graph.states(&["a", "b", "c"]), [State::Succeeded; 3], "died at {at}, {takes_effect}");
            assert!(gaps(&starts).iter().all(|gap| *gap >= 10_000), "died at {at}, {takes_effect}: {:?}", gaps(&starts));
            if !died {
                survived += 1;
                break;
            }
        }
    }
    assert_eq!(survived, 2);
}

#[tokio::test(start_paused = true)]
async fn the_jobs_that_wait_are_counted_by_key() {
    let (graph, _) = gauged();
    let client = graph.local.client();
    client.set_limit("service", Some(0)).await.expect("memory answers");
    for id in TEN {
        graph.enqueue(limited(id, 1)).await;
    }
    graph.enqueue(job("k").keys(Keys::new().exclusive("customer"))).await;
    graph.run().await;
    let waits = client.waits().await.expect("memory answers");
    let names: Vec<_> = waits.iter().map(|waits| (&*waits.name, waits.jobs, waits.since)).collect();
    assert_eq!(names, [("the limit key service", 10, graph.record("a").enqueued_at)]);
}

fn latest(id: &str, args: i32) -> Enqueue {
    let keys = Keys::new().unique("report").on_conflict(OnConflict::Replace);
    Enqueue::named("probe", json!(args)).id(id).tag(format!("tag-{args}")).keys(keys)
}

/// A job that notes its id and its arguments.
#[derive(Clone)]
struct Noted {
    runs: Journal,
    args: Value,
}

impl AnyJob for Noted {
    fn name(&self) -> &'static str {
        QUEUE
    }

    fn queue(&self) -> &'static str {
        QUEUE
    }

    fn aliases(&self) -> &'static [&'static str] {
        &[]
    }

    fn policy(&self) -> &Policy {
        static POLICY: LazyLock<Policy> = LazyLock::new(Policy::new);
        &POLICY
    }

    fn bind(&self, envelope: &Envelope) -> Result<Arc<dyn BoundJob>, Unreadable> {
        Ok(Arc::new(Self { args: envelope.args.clone(), ..self.clone() }))
    }

    fn rejected(&self, _: String) -> BoxFuture<'static, Result<(), JobError>> {
        ready(Ok(())).boxed()
    }

    fn report(&self, _: &str, _: &crate::Failure) -> BoxFuture<'static, Result<(), JobError>> {
        ready(Ok(())).boxed()
    }
}

impl BoundJob for Noted {
    fn run(self: Arc<Self>, attempt: Arc<Attempt>) -> BoxFuture<'static, Result<Value, JobError>> {
        self.runs.note(format!("{} {}", attempt.id(), self.args));
        ready(Ok(Value::Null)).boxed()
    }

    fn has(&self, _: &Hook) -> bool {
        false
    }

    fn hook(self: Arc<Self>, _: Arc<Attempt>, _: Hook) -> BoxFuture<'static, Result<(), JobError>> {
        ready(Ok(())).boxed()
    }
}

/// Returns a world whose job notes its id and its arguments.
fn arguments_noted() -> Graph {
    let mut graph = Graph::new();
    graph.jobs.add(Arc::new(Noted { runs: graph.runs.clone(), args: Value::Null }));
    graph
}

#[tokio::test(start_paused = true)]
async fn a_job_that_has_not_started_gets_the_arguments_of_a_later_one() {
    // Queued, in the queue for a later time, and filed.
    for delay in [0, 60, 7200] {
        let graph = arguments_noted();
        let client = graph.local.client();
        let delayed = |id: &str, args, delay| latest(id, args).delay(seconds(delay));
        let first = client.enqueue_one(delayed("a", 1, delay)).await.expect("an answer");
        assert_eq!((first.holder, first.replaced), (None, false));
        graph.local.clock.advance(seconds(30));
        let second = client.enqueue_one(delayed("b", 2, delay)).await.expect("an answer");
        assert_eq!((second.holder.as_deref(), second.replaced), (Some("a"), true));
        let moved = graph.local.clock.now();
        graph.run().await;
        assert_eq!(graph.runs.all(), ["a 2"], "delayed by {delay}");
        let (a, b) = (graph.record("a"), graph.record("b"));
        assert_eq!((a.state, a.tags, a.attempts), (State::Succeeded, vec!["tag-2".to_owned()], 1));
        assert!(a.started_at >= Some(moved + seconds(delay)), "its run time has moved");
        let reason = "job a holds the unique key report, and has the arguments of this one or later ones";
        assert_eq!((b.state, b.error.map(|error| error.message)), (State::Cancelled, Some(reason.to_owned())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_replacement_may_run_earlier_than_the_job_was_to_run() {
    let graph = arguments_noted();
    let before = graph.local.clock.now();
    graph.enqueue(latest("a", 1).delay(seconds(7200))).await;
    graph.enqueue(latest("b", 2)).await;
    graph.run().await;
    assert_eq!(graph.runs.all(), ["a 2"]);
    assert!(graph.record("a").finished_at < Some(before + seconds(60)));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_has_started_keeps_its_arguments_and_the_producer_learns_it() {
    let mut graph = Graph::new();
    let (runs, local) = (graph.runs.clone(), graph.local.clone());
    graph.jobs.add(Arc::new(Scripted::new("probe", Policy::new(), move |attempt: Arc<Attempt>| {
        runs.note(attempt.id());
        let (client, runs) = (local.client(), runs.clone());
        async move {
            let late = client.enqueue_one(latest("b", 2)).await.expect("an answer");
            runs.note(format!("{:?} {}", late.holder, late.replaced));
            Ok(Value::Null)
        }
    })));
    graph.enqueue(latest("a", 1)).await;
    graph.run().await;
    assert_eq!(graph.runs.all(), ["a", "Some(\"a\") false"]);
    assert_eq!(graph.record("a").tags, ["tag-1"]);
    assert_eq!(graph.record("b").error.expect("an error").message, "job a holds the unique key report");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_waits_for_a_key_gets_later_arguments_as_well() {
    let graph = arguments_noted();
    let client = graph.local.client();
    client.set_limit("service", Some(0)).await.expect("memory answers");
    let job = |id: &str, args| {
        let keys = Keys::new().unique("report").on_conflict(OnConflict::Replace).limit("service", 1);
        latest(id, args).keys(keys)
    };
    graph.enqueue(job("a", 1)).await;
    graph.run().await;
    assert_eq!(graph.record("a").state, State::Blocked);
    assert!(client.enqueue_one(job("b", 2)).await.expect("an answer").replaced);
    graph.run().await;
    assert_eq!(graph.record("a").state, State::Blocked);
    client.set_limit("service", None).await.expect("memory answers");
    graph.run().await;
    assert_eq!(graph.runs.all(), ["a 2"]);
}

#[tokio::test(start_paused = true)]
async fn another_job_and_one_that_waits_for_others_keep_their_arguments() {
    let graph = arguments_noted();
    let client = graph.local.client();
    graph.enqueue(latest("a", 1).delay(seconds(60))).await;
    let keys = Keys::new().unique("report").on_conflict(OnConflict::Replace);
    let other = Enqueue::named("other", json!(2)).queue(QUEUE).id("b").keys(keys);
    for job in [other, latest("c", 3).after(["z"])] {
        let answer = client.enqueue_one(job).await.expect("an answer");
        assert_eq!((answer.holder.as_deref(), answer.replaced), (Some("a"), false));
    }
    graph.run().await;
    assert_eq!(graph.runs.all(), ["a 1"]);
}

#[tokio::test(start_paused = true)]
async fn the_latest_arguments_run_once_wherever_a_process_dies() {
    let mut survived = 0;
    for takes_effect in [false, true] {
        for at in 0.. {
            let graph = arguments_noted();
            graph.enqueue(latest("a", 1).delay(seconds(600))).await;
            graph.local.clock.advance(seconds(1));
            let mortal = Arc::new(Mortal::new(&graph, at, takes_effect));
            let client = crate::Client::new(mortal.clone(), mortal.clone(), graph.local.clock.clone(), "");
            let died = tokio::select! { biased;
                answer = client.enqueue_one(latest("b", 2).delay(seconds(600))) => { answer.expect("memory answers"); false }
                () = mortal.died() => true,
            };
            // A step of the dead process is repeated by a beater, after a third job.
            graph.local.clock.advance(seconds(1));
            graph.enqueue(latest("c", 3).delay(seconds(600))).await;
            graph.run().await;
            let ran = graph.runs.all();
            assert_eq!(ran, ["a 3"], "died at {at}, {takes_effect}");
            assert!(!takes_effect && at == 0 || graph.record("b").state == State::Cancelled, "died at {at}, {takes_effect}");
            if !died {
                survived += 1;
                break;
            }
        }
    }
    assert_eq!(survived, 2);
}

/// A table that loses the answer to the write that blocks a job. Before the worker looks, another process files that job for its turn.
struct Overtaken(Local);

impl Store for Overtaken {
    fn read<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Vec<Result<Option<Record>, StoreError>>> {
        self.0.store.read(ids)
    }

    fn write<'a>(&'a self, writes: &'a [Write]) -> BoxFuture<'a, Vec<Result<Written, StoreError>>> {
        async move {
            let answers = self.0.store.write(writes).await;
            let is_blocked = |write: &&Write| write.next.state == State::Blocked && lifecycle::is_job(&write.next.id);
            let Some(write) = writes.iter().find(is_blocked) else { return answers };
            let (stored, now) = (self.0.store.get(&write.next.id).expect("it was written"), self.0.clock.now());
            let filed = lifecycle::put_back(&stored, "another", crate::clock::after(now, seconds(60)), now);
            self.0.store.write(&[Write::replace(stored, filed)]).await;
            writes.iter().map(|_| Err(StoreError::unknown("the answer is lost"))).collect()
        }
        .boxed()
    }

    fn link<'a>(&'a self, links: &'a [Link]) -> BoxFuture<'a, Vec<Result<Linked, StoreError>>> {
        self.0.store.link(links)
    }

    fn oldest<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        self.0.store.oldest(list, limit)
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_kept_if_the_record_that_names_it_has_changed_since() {
    let graph = Graph::new();
    let rate = Rate::new(1, seconds(600));
    graph.enqueue(job("a").keys(Keys::new().rate("service", rate))).await;
    graph.run().await;
    graph.enqueue(job("b").keys(Keys::new().exclusive("customer").rate("service", rate))).await;
    let messages = graph.local.queue.receive(QUEUE, 10, seconds(60)).await.expect("memory answers");
    let engine =
        Engine { store: Arc::new(Overtaken(graph.local.clone())), ..graph.local.engine(graph.jobs.clone(), Handle::current(), usize::MAX) };
    engine.handle(messages, &Invocation { request_id: "request".into(), ends_at: Instant::now() + seconds(900) }).await;
    let key = graph.local.store.get(EXCLUSIVE).expect("the record of the key");
    let held = graph.record("b").held.remove(&key.id).expect("the record of the job names the key");
    assert_eq!(key.holders, [held.entry].into());
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_of_an_ended_job_replaces_no_arguments() {
    // The job has succeeded, or was cancelled before its message arrived.
    for runs in [&["b 2", "a 1"][..], &["a 1"]] {
        let graph = arguments_noted();
        if runs.len() == 1 {
            graph.local.client().cancel("b").await.expect("memory answers");
        } else {
            graph.enqueue(latest("b", 2)).await;
            graph.run().await;
        }
        graph.enqueue(latest("a", 1).delay(seconds(7200))).await;
        let body = latest("b", 2).envelope().to_body();
        graph.local.queue.send(QUEUE, &[crate::queue::Outgoing::new(body)]).await;
        graph.run().await;
        assert_eq!(graph.runs.all(), runs);
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_replaced_arguments_is_refused() {
    let graph = arguments_noted();
    graph.enqueue(latest("a", 1)).await;
    let seen = graph.record("a");
    graph.enqueue(latest("b", 2)).await;
    let claimed = Record { state: State::Running, generation: 1, owner: Some("a claim".into()), ..seen.clone() };
    let written = graph.local.store.write(&[Write::replace(seen, claimed)]).await;
    assert!(matches!(written[..], [Ok(crate::store::Written::Refused(_))]), "{written:?}");
    graph.run().await;
    assert_eq!(graph.runs.all(), ["a 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_has_waited_for_others_still_takes_its_keys() {
    let (graph, _) = gauged();
    graph.local.client().set_limit("service", Some(0)).await.expect("memory answers");
    graph.enqueue(limited("b", 1).after(["a"])).await;
    graph.run().await;
    graph.enqueue(job("a")).await;
    graph.run().await;
    assert_eq!(graph.states(&["a", "b"]), [State::Succeeded, State::Blocked]);
    assert!(graph.record("b").blocked_on.contains(LIMIT));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_jobs_share_one_key() {
    for most in [1, 10] {
        let (graph, gauge) = gauged();
        let ids: Vec<_> = (0..1000).map(|number| format!("{number:03}")).collect();
        for id in &ids {
            graph.enqueue(limited(id, most)).await;
        }
        graph.run().await;
        assert_eq!(gauge.most(), most as usize);
        let mut runs = graph.runs.all();
        if most == 1 {
            assert_eq!(runs, ids, "the oldest first");
        }
        runs.sort();
        assert_eq!(runs, ids);
        assert!(ids.iter().all(|id| graph.record(id).attempts == 1));
        assert!(graph.record(LIMIT).holders.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_holds_after_a_stall_and_is_used_while_jobs_wait() {
    let (graph, starts) = noted();
    for number in 0..200 {
        graph.enqueue(paced(&number.to_string(), Rate::per_second(2))).await;
    }
    let engine = graph.local.engine(graph.jobs.clone(), Handle::current(), usize::MAX);
    graph.local.run_due(&engine).await.expect("memory answers");
    let before = lock(&starts).len();
    // No function and no beater runs for 20 minutes, and the messages of all waiting jobs become visible.
    graph.local.clock.advance(seconds(1200));
    graph.run().await;
    let gaps = gaps(&starts);
    assert_eq!(gaps.len(), 199);
    assert!(gaps.iter().all(|gap| *gap >= 500), "{gaps:?}");
    let (after, jobs): (i128, _) = (gaps[before..].iter().sum(), gaps.len() - before);
    assert!(500 * i128::try_from(jobs).expect("few") * 100 >= after * 95, "{jobs} jobs took {after} ms: {gaps:?}");
}

#[test]
fn two_marks_of_a_released_job_at_different_times_have_different_versions() {
    let blocked = Record {
        id: "a".into(),
        state: State::Blocked,
        owner: Some("token".into()),
        blocked_on: [LIMIT.to_owned()].into(),
        ..Record::default()
    };
    let marked = |second| lifecycle::sent(&blocked, Timestamp::from_second(second).expect("an instant"));
    assert_eq!(marked(1), marked(1));
    assert_ne!(marked(1).version(), marked(2).version());
}

#[tokio::test(start_paused = true)]
async fn jobs_with_a_limit_and_a_rate_all_start() {
    let (graph, starts) = noted();
    for id in TEN {
        let keys = Keys::new().limit("service", 1).rate("service", Rate::per_second(1));
        graph.enqueue(job(id).keys(keys)).await;
    }
    graph.run().await;
    assert_eq!(graph.states(&TEN), [State::Succeeded; 10]);
    assert!(gaps(&starts).iter().all(|gap| (1000..10_000).contains(gap)), "{:?}", gaps(&starts));
}

#[tokio::test(start_paused = true)]
async fn the_last_job_of_a_bulk_enqueue_with_one_unique_key_wins() {
    let graph = arguments_noted();
    let jobs = (0..20).map(|number| latest(&format!("job-{number:02}"), number).delay(seconds(60)));
    let answers = graph.local.client().enqueue_many(jobs).await;
    assert!(answers[1..].iter().all(|answer| answer.as_ref().is_ok_and(|sent| sent.replaced)));
    graph.run().await;
    assert_eq!(graph.runs.all(), ["job-00 19"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_would_expire_first_is_not_moved() {
    let graph = arguments_noted();
    let client = graph.local.client();
    let expires = graph.local.clock.now() + seconds(90);
    graph.enqueue(latest("a", 1).delay(seconds(60)).expires_at(expires)).await;
    let answer = client.enqueue_one(latest("b", 2).delay(seconds(120))).await.expect("an answer");
    assert_eq!((answer.holder.as_deref(), answer.replaced), (Some("a"), false));
    graph.run().await;
    assert_eq!(graph.runs.all(), ["a 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_leaves_its_turn_in_a_rate_to_the_next() {
    let (graph, starts) = noted();
    let client = graph.local.client();
    for id in ["a", "b", "c"] {
        graph.enqueue(paced(id, Rate::new(1, seconds(3600)))).await;
    }
    let engine = graph.local.engine(graph.jobs.clone(), Handle::current(), usize::MAX);
    graph.local.run_due(&engine).await.expect("memory answers");
    graph.local.clock.advance(seconds(3540));
    graph.local.run_due(&engine).await.expect("memory answers");
    assert_eq!(graph.record("b").blocked_on.len(), 0, "it was sent");
    client.cancel("b").await.expect("memory answers");
    graph.local.clock.advance(seconds(120));
    graph.run().await;
    assert_eq!(graph.states(&["a", "b", "c"]), [State::Succeeded, State::Cancelled, State::Succeeded]);
    assert!(gaps(&starts)[0] < 3_800_000, "{:?}", gaps(&starts));
}
