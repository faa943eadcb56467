//! Middleware.

use futures_util::future::{BoxFuture, FutureExt};
use serde::{Deserialize, Serialize};

use super::*;
use crate::{Arguments, Context, Job, Middleware, Next, Worker};

#[derive(Serialize, Deserialize)]
struct Core;

impl Arguments for Core {
    const NAME: &'static str = "probe";
}

impl Job<Journal> for Core {
    type Output = &'static str;

    async fn run(&self, ctx: &Context<Journal>) -> Result<&'static str, JobError> {
        ctx.state().note("run");
        Ok("core")
    }

    async fn on_success(&self, ctx: &Context<Journal>, output: &&'static str) -> Result<(), JobError> {
        ctx.state().note(*output);
        Ok(())
    }
}

/// Another job, registered after more middleware.
#[derive(Serialize, Deserialize)]
struct Second;

impl Arguments for Second {
    const NAME: &'static str = "second";
}

impl Job<Journal> for Second {
    type Output = ();

    async fn run(&self, ctx: &Context<Journal>) -> Result<(), JobError> {
        ctx.state().note("run");
        Ok(())
    }
}

struct Skin(&'static str, Journal);

impl Middleware for Skin {
    fn handle<'a>(&'a self, attempt: &'a Attempt, next: Next<'a>) -> BoxFuture<'a, Result<Value, JobError>> {
        async move {
            self.1.note(format!("{} {} in", self.0, attempt.id()));
            let result = next.run().await;
            self.1.note(format!("{} out", self.0));
            result
        }
        .boxed()
    }
}

/// Returns its own result instead of running the job.
struct Shortcut(fn() -> Result<Value, JobError>);

impl Middleware for Shortcut {
    fn handle<'a>(&'a self, _: &'a Attempt, _: Next<'a>) -> BoxFuture<'a, Result<Value, JobError>> {
        async { (self.0)() }.boxed()
    }
}

fn world(worker: impl FnOnce(Worker<Journal>, &Journal) -> Worker<Journal>) -> (TestWorker, Journal) {
    let journal = Journal::default();
    let mut world = TestWorker::new();
    world.jobs = worker(Worker::new(journal.clone()), &journal).jobs().clone();
    (world, journal)
}

fn onion(worker: Worker<Journal>, journal: &Journal) -> Worker<Journal> {
    let skin = |name| Skin(name, journal.clone());
    let worker = worker.middleware(skin("first")).middleware(skin("second"));
    let worker = worker.job_with::<Core>(|job| job.middleware(skin("own")).middleware(skin("inner")));
    worker.middleware(skin("late")).job::<Second>()
}

#[tokio::test(start_paused = true)]
async fn the_first_middleware_is_the_outermost_and_a_jobs_own_the_innermost() {
    let (world, journal) = world(onion);
    world.deliver("a").await;
    let expected =
        ["first a in", "second a in", "own a in", "inner a in", "run", "inner out", "own out", "second out", "first out", "core"];
    assert_eq!(journal.all(), expected);
    assert_eq!(world.record("a").result, Some("core".into()));
}

#[tokio::test(start_paused = true)]
async fn middleware_surrounds_the_jobs_that_are_added_after_it() {
    let (world, journal) = world(onion);
    world.handle([with_body("b", json!({"name": "second", "id": "b"}))]).await;
    assert_eq!(journal.all(), ["first b in", "second b in", "late b in", "run", "late out", "second out", "first out"]);
}

#[tokio::test(start_paused = true)]
async fn middleware_can_replace_the_result_of_the_job() {
    let (world, journal) = world(|worker, journal| {
        worker.middleware(Skin("outer", journal.clone())).middleware(Shortcut(|| Ok("cached".into()))).job::<Core>()
    });
    world.deliver("a").await;
    assert_eq!(journal.all(), ["outer a in", "outer out"], "neither the job nor its hook for a result that is not its own");
    assert_eq!(world.state("a"), State::Succeeded);
    assert_eq!(world.record("a").result, Some("cached".into()));
}

#[tokio::test(start_paused = true)]
async fn middleware_can_snooze_a_job() {
    let (world, journal) = world(|worker, _| worker.middleware(Shortcut(|| Err(JobError::snooze(seconds(60))))).job::<Core>());
    assert_eq!(world.deliver("a").await.failures, returned(&["a"]));
    assert_eq!(world.state("a"), State::Queued);
    assert_eq!(world.record("a").attempts, 0);
    assert_eq!(journal.all().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_middleware_fails_the_attempt() {
    let (world, _) = world(|worker, _| worker.middleware(Shortcut(|| panic!("in the middle"))).job::<Core>());
    assert_eq!(world.deliver("a").await.failures, returned(&["a"]));
    assert_eq!(world.record("a").error.expect("an error").kind, "panic");
}

#[tokio::test(start_paused = true)]
async fn the_claim_happens_outside_of_middleware() {
    let (world, journal) = world(onion);
    world.store.put(ended(&world, "a", State::Succeeded));
    world.deliver("a").await;
    assert_eq!(journal.all(), [""; 0], "no middleware hears of a duplicate");
}
