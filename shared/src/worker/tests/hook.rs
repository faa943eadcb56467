//! The hooks of a job.

use serde::{Deserialize, Serialize};

use super::*;
use futures_util::future::BoxFuture;

use crate::{Arguments, Context, Envelope, Failure, Job, Report, Reporter, Worker, job::Hook};

/// The log of the hooks, with the state of the record at each call.
struct Notes {
    journal: Journal,
    store: FaultyStore,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Act {
    Succeed,
    Fail,
    Fatal,
    Panic,
    Snooze,
    Cancel,
    Hang,
    Interrupt,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Trouble {
    None,
    Fail,
    Panic,
    Hang,
}

/// A job that ends as `act` says and whose hooks fail as `trouble` says.
#[derive(Serialize, Deserialize)]
struct Hooked {
    act: Act,
    trouble: Trouble,
}

impl Hooked {
    async fn note(&self, ctx: &Context<Notes>, what: &str) -> Result<(), JobError> {
        let state = ctx.state().store.get(ctx.id()).expect("a record").state;
        ctx.state().journal.note(format!("{what} {}", state.as_str()));
        match self.trouble {
            Trouble::None => Ok(()),
            Trouble::Fail => Err("the hook failed".into()),
            Trouble::Panic => panic!("the hook panicked"),
            Trouble::Hang => std::future::pending().await,
        }
    }
}

impl Arguments for Hooked {
    const NAME: &'static str = "probe";
}

impl Job<Notes> for Hooked {
    const POLICY: Policy = Policy::new().timeout(Duration::from_secs(30));
    type Output = u8;

    async fn run(&self, ctx: &Context<Notes>) -> Result<u8, JobError> {
        ctx.state().journal.note("run");
        match self.act {
            Act::Succeed => Ok(7),
            Act::Fail => Err("no".into()),
            Act::Fatal => Err(JobError::fatal("never")),
            Act::Panic => panic!("oh"),
            Act::Snooze => Err(JobError::snooze(Duration::from_secs(1))),
            Act::Cancel => Err(JobError::cancel("no longer wanted")),
            Act::Hang => std::future::pending().await,
            Act::Interrupt => Err(JobError::interrupt("it is late")),
        }
    }

    async fn set_up(&self, ctx: &Context<Notes>) -> Result<(), JobError> {
        self.note(ctx, "set_up").await
    }

    async fn tear_down(&self, ctx: &Context<Notes>) -> Result<(), JobError> {
        self.note(ctx, "tear_down").await
    }

    async fn on_success(&self, ctx: &Context<Notes>, output: &u8) -> Result<(), JobError> {
        self.note(ctx, &format!("on_success({output})")).await
    }

    async fn on_failure(&self, ctx: &Context<Notes>, failure: &Failure) -> Result<(), JobError> {
        self.note(ctx, &format!("on_failure({})", failure.kind)).await
    }

    async fn on_retry(&self, ctx: &Context<Notes>, failure: &Failure) -> Result<(), JobError> {
        self.note(ctx, &format!("on_retry({})", failure.kind)).await
    }

    async fn on_permanent_failure(&self, ctx: &Context<Notes>, failure: &Failure) -> Result<(), JobError> {
        self.note(ctx, &format!("on_permanent_failure({})", failure.kind)).await
    }

    async fn on_rejected(notes: &Notes, reason: &str) -> Result<(), JobError> {
        notes.journal.note(format!("on_rejected: {reason}"));
        Ok(())
    }
}

fn world() -> (TestWorker, Journal) {
    let mut world = TestWorker::new();
    let journal = Journal::default();
    let notes = Notes { journal: journal.clone(), store: world.store.clone() };
    world.jobs = Worker::new(notes).job::<Hooked>().jobs().clone();
    (world, journal)
}

fn hooked(act: Act, trouble: Trouble) -> Message {
    with_body("a", json!({"name": "probe", "id": "a", "args": Hooked { act, trouble }}))
}

async fn notes(act: Act, trouble: Trouble) -> Vec<String> {
    let (world, journal) = world();
    world.handle([hooked(act, trouble)]).await;
    journal.all()
}

/// The table in the documentation of [`Job`].
const TABLE: [(Act, &[&str]); 8] = [
    (Act::Succeed, &["tear_down running", "on_success(7) succeeded"]),
    (Act::Fail, &["tear_down running", "on_failure(error) retrying", "on_retry(error) retrying"]),
    (Act::Panic, &["tear_down running", "on_failure(panic) retrying", "on_retry(panic) retrying"]),
    (Act::Hang, &["tear_down running", "on_failure(timeout) retrying", "on_retry(timeout) retrying"]),
    (Act::Fatal, &["tear_down running", "on_failure(fatal) failed", "on_permanent_failure(fatal) failed"]),
    (Act::Snooze, &["tear_down running"]),
    (Act::Cancel, &["tear_down running"]),
    (Act::Interrupt, &["tear_down running"]),
];

#[tokio::test(start_paused = true)]
async fn each_ending_calls_its_hooks_in_order_after_it_is_recorded() {
    for (act, hooks) in TABLE {
        let expected: Vec<_> = ["set_up running", "run"].iter().chain(hooks).copied().collect();
        assert_eq!(notes(act, Trouble::None).await, expected, "{act:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_panics_or_hangs_changes_nothing() {
    for (act, _) in TABLE {
        let (quiet, _) = world();
        let good = quiet.handle([hooked(act, Trouble::None)]).await;
        for trouble in [Trouble::Fail, Trouble::Panic, Trouble::Hang] {
            let (troubled, journal) = world();
            let started = Instant::now();
            let report = troubled.handle([hooked(act, trouble)]).await;
            assert!(started.elapsed() < seconds(51), "{act:?} took {:?}", started.elapsed());
            assert_eq!(report.failures, good.failures, "{act:?} with hooks that {trouble:?}");
            assert_eq!(journal.all(), notes(act, Trouble::None).await, "{act:?} with hooks that {trouble:?}");
            let (record, expected) = (troubled.record("a"), quiet.record("a"));
            let what = |record: &Record| (record.state, record.attempts, record.result.clone(), record.error.clone());
            assert_eq!(what(&record), what(&expected), "{act:?} with hooks that {trouble:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_lease_was_lost_is_torn_down_and_nothing_else() {
    let (world, journal) = world();
    let other = held(&world, "a", seconds(300));
    let (store, put) = (world.store.clone(), Record { generation: 2, ..other });
    tokio::spawn(async move {
        sleep(seconds(5)).await;
        store.put(put);
    });
    world.handle([hooked(Act::Hang, Trouble::None)]).await;
    assert_eq!(journal.all(), ["set_up running", "run", "tear_down running"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_stopped_at_the_end_of_its_invocation_gets_its_hooks() {
    let (world, journal) = world();
    world.lasting(seconds(10)).handle([hooked(Act::Hang, Trouble::None)]).await;
    let hooks = ["tear_down running", "on_failure(deadline) retrying", "on_retry(deadline) retrying"];
    assert_eq!(journal.all()[2..], hooks);
}

#[tokio::test(start_paused = true)]
async fn a_job_killed_at_its_last_attempt_gets_its_hooks_once_that_is_found() {
    let (world, journal) = world();
    let seen = held(&world, "a", seconds(0));
    world.store.put(Record { attempts: 5, ..seen });
    world.clock.advance(seconds(6));
    world.handle([Message { receives: 2, ..hooked(Act::Succeed, Trouble::None) }]).await;
    assert_eq!(journal.all(), ["on_failure(killed) failed", "on_permanent_failure(killed) failed"]);
}

#[tokio::test(start_paused = true)]
async fn the_rejection_hook_is_called_for_unreadable_arguments() {
    let (world, journal) = world();
    let report = world.handle([with_body("a", json!({"name": "probe", "id": "a", "args": {"act": "Succeed", "trouble": 7}}))]).await;
    assert!(report.failures.is_empty());
    let notes = journal.all();
    assert!(matches!(&notes[..], [reason] if reason.starts_with("on_rejected: args.trouble: ")), "{notes:?}");
}

#[tokio::test(start_paused = true)]
async fn no_hook_is_called_without_a_run() {
    let (world, journal) = world();
    world.store.put(ended(&world, "a", State::Succeeded));
    world.handle([hooked(Act::Succeed, Trouble::None)]).await;
    assert_eq!(journal.all(), [""; 0]);
}

/// Notes reports, with the state of the record, and with the arguments if `wants_arguments` is set.
struct Noting {
    wants_arguments: bool,
    journal: Journal,
    store: FaultyStore,
}

impl Reporter for Noting {
    fn wants_arguments(&self) -> bool {
        self.wants_arguments
    }

    fn report<'a>(&'a self, report: &'a Report<'a>) -> BoxFuture<'a, Result<(), JobError>> {
        Box::pin(async move {
            let state = self.store.get(report.id).map_or("none", |record| record.state.as_str());
            let attempt = report.attempt.map(Attempt::attempt);
            let Report { name, failure, is_permanent, arguments, .. } = report;
            self.journal.note(format!("{name} {} {state} {is_permanent} {attempt:?} {arguments:?}", failure.kind));
            Err("the tracker is down".into())
        })
    }
}

/// Panics in place of a report.
struct Panicking;

impl Reporter for Panicking {
    fn report<'a>(&'a self, _: &'a Report<'a>) -> BoxFuture<'a, Result<(), JobError>> {
        Box::pin(async { panic!("the reporter panicked") })
    }
}

/// Returns the notes of the hooks after the attempt and of the reporters.
async fn reports(mut world: TestWorker, message: Message) -> Vec<String> {
    let journal = Journal::default();
    let noting = |wants_arguments| Noting { wants_arguments, journal: journal.clone(), store: world.store.clone() };
    let notes = Notes { journal: journal.clone(), store: world.store.clone() };
    let worker = Worker::new(notes).reporter(Panicking).reporter(noting(false)).reporter(noting(true));
    world.jobs = worker.job::<Hooked>().jobs().clone();
    world.handle([message]).await;
    journal.all().into_iter().filter(|note| note.starts_with("on_") || note.starts_with("probe")).collect()
}

#[tokio::test(start_paused = true)]
async fn each_failure_is_reported_once_after_it_is_recorded() {
    let arguments = |act| format!("Some(Object {{\"act\": String(\"{act:?}\"), \"trouble\": String(\"None\")}})");
    for (act, hooks, report) in [
        (Act::Fail, ["on_failure(error) retrying", "on_retry(error) retrying"], "probe error retrying false Some(1)"),
        (Act::Panic, ["on_failure(panic) retrying", "on_retry(panic) retrying"], "probe panic retrying false Some(1)"),
        (Act::Hang, ["on_failure(timeout) retrying", "on_retry(timeout) retrying"], "probe timeout retrying false Some(1)"),
        (Act::Fatal, ["on_failure(fatal) failed", "on_permanent_failure(fatal) failed"], "probe fatal failed true Some(1)"),
    ] {
        let reported = [format!("{report} None"), format!("{report} {}", arguments(act))];
        let expected: Vec<_> = hooks.map(str::to_owned).into_iter().chain(reported).collect();
        assert_eq!(reports(TestWorker::new(), hooked(act, Trouble::None)).await, expected, "{act:?}");
    }
    for act in [Act::Snooze, Act::Cancel, Act::Interrupt] {
        assert_eq!(reports(TestWorker::new(), hooked(act, Trouble::None)).await, [""; 0], "{act:?}");
    }
    assert_eq!(reports(TestWorker::new(), hooked(Act::Succeed, Trouble::None)).await, ["on_success(7) succeeded"]);
    let rejected = with_body("a", json!({"name": "probe", "id": "a", "args": {"act": "Succeed", "trouble": 7}}));
    let notes = reports(TestWorker::new(), rejected).await;
    assert!(notes[0].starts_with("on_rejected: args.trouble: "), "{notes:?}");
    assert_eq!(notes[1..], ["probe rejected failed true None None"; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_without_a_run_is_reported() {
    let world = TestWorker::new();
    let seen = held(&world, "a", seconds(0));
    world.store.put(Record { attempts: 5, ..seen });
    world.clock.advance(seconds(6));
    let notes = reports(world, Message { receives: 2, ..hooked(Act::Succeed, Trouble::None) }).await;
    assert_eq!(notes[..2], ["on_failure(killed) failed", "on_permanent_failure(killed) failed"]);
    assert!(notes[2].starts_with("probe killed failed true "), "{notes:?}");

    // The arguments do not fit the job once the output of another one is in them.
    let args = json!({"act": {"$output": "b"}, "trouble": "None"});
    let world = TestWorker::new();
    world.store.put(Record { result: Some(7.into()), ..ended(&world, "b", State::Succeeded) });
    let message = json!({"name": "probe", "id": "a", "depends_on": ["b"], "needs": ["dependencies", "outputs"], "args": args});
    let notes = reports(world, with_body("a", message)).await;
    assert!(notes[0].starts_with("on_rejected: args.act: "), "{notes:?}");
    assert_eq!(notes[1..], ["probe rejected failed true None None"; 2]);
}

/// A job with one hook, whose future is minimal.
#[derive(Serialize, Deserialize)]
struct Watched;

impl Arguments for Watched {
    const NAME: &'static str = "watched";
}

impl Job for Watched {
    type Output = ();

    async fn run(&self, _: &Context) -> Result<(), JobError> {
        Ok(())
    }

    fn on_success(&self, _: &Context, (): &()) -> impl Future<Output = Result<(), JobError>> + Send {
        std::future::ready(Ok(()))
    }
}

#[test]
fn a_hook_that_a_job_does_not_have_costs_no_call() {
    let worker = Worker::new(()).job::<Watched>();
    let job = worker.jobs().get("watched").expect("it was added").bind(&Envelope::new("watched", Value::Null)).expect("no arguments");
    let failure = Failure::default;
    let hooks = [
        Hook::TearDown,
        Hook::Success,
        Hook::Failure(failure()),
        Hook::Retry(failure()),
        Hook::PermanentFailure(failure()),
        Hook::Report { failure: failure(), is_permanent: true },
    ];
    assert_eq!(hooks.map(|hook| job.has(&hook)), [false, true, false, false, false, false]);
}
