//! The testing API and its client.

use serde::{Deserialize, Serialize};

use super::*;
use crate::{Arguments, Client, Context, Enqueue, Job, Worker, clock::until, testing::Eager};

/// A job that logs its runs and ends as `act` says.
#[derive(Serialize, Deserialize)]
struct Note {
    text: String,
    act: String,
}

impl Arguments for Note {
    const NAME: &'static str = "note";
}

impl Job<Journal> for Note {
    const POLICY: Policy = Policy::new().max_attempts(3);
    type Output = String;

    async fn run(&self, ctx: &Context<Journal>) -> Result<String, JobError> {
        ctx.state().note(format!("{} {}", self.text, ctx.now()));
        match (self.act.as_str(), ctx.attempt()) {
            ("retry", 1) => Err(JobError::retry_in(Duration::from_hours(1), "later")),
            ("fail", _) => Err("no".into()),
            _ => Ok(self.text.clone()),
        }
    }
}

/// The same on a FIFO queue.
#[derive(Serialize, Deserialize)]
struct Ordered(Note);

impl Arguments for Ordered {
    const NAME: &'static str = "ordered";
    const QUEUE: &'static str = "ordered.fifo";
}

impl Job<Journal> for Ordered {
    type Output = String;

    async fn run(&self, ctx: &Context<Journal>) -> Result<String, JobError> {
        self.0.run(ctx).await
    }
}

fn note(text: &str, act: &str) -> Note {
    Note { text: text.into(), act: act.into() }
}

fn eager() -> (Eager, Worker<Journal>, Journal) {
    let journal = Journal::default();
    (Eager::new(), Worker::new(journal.clone()).job::<Note>().job::<Ordered>(), journal)
}

#[tokio::test]
async fn a_retry_in_an_hour_takes_no_time() {
    let (eager, worker, journal) = eager();
    let (start, wall) = (eager.now(), std::time::Instant::now());
    let job = eager.client().enqueue(&note("a", "retry")).await.expect("enqueued");
    eager.run(&worker).await;
    assert!(wall.elapsed() < seconds(60));
    assert_eq!(until(start, eager.now()), Duration::from_hours(1));
    assert_eq!(journal.all(), ["a 2026-01-01T00:00:00Z", "a 2026-01-01T01:00:00Z"]);
    assert_eq!(eager.record(&job.id).expect("a record").result, Some("a".into()));
    assert_eq!(eager.enqueued("note"), []);
}

#[tokio::test]
async fn a_job_does_not_run_until_the_clock_reaches_its_time() {
    let (eager, worker, journal) = eager();
    let later = Enqueue::new(&note("a", "")).expect("a job").delay(seconds(60));
    eager.client().enqueue_one(later).await.expect("enqueued");
    eager.run_due(&worker).await;
    assert_eq!(journal.all().len(), 0);
    assert_eq!(eager.enqueued("note").len(), 1);
    assert_eq!(eager.records().len(), 0);
    eager.advance(seconds(60));
    eager.run_due(&worker).await;
    assert_eq!(journal.all(), ["a 2026-01-01T00:01:00Z"]);
}

#[tokio::test]
async fn a_job_delayed_beyond_the_queue_limit_runs_once_on_time() {
    let (eager, worker, journal) = eager();
    let later = Enqueue::new(&note("a", "")).expect("a job").delay(Duration::from_hours(3) + seconds(7));
    eager.client().enqueue_one(later).await.expect("enqueued");
    eager.run(&worker).await;
    assert_eq!(journal.all().len(), 1);
    let at = journal.all()[0].strip_prefix("a ").expect("a time").parse().expect("an instant");
    let late = until("2026-01-01T03:00:06Z".parse().expect("an instant"), at);
    assert!((Duration::ZERO..seconds(2)).contains(&late), "{at}");
    assert_eq!(eager.records()[0].attempts, 1, "the hops cost nothing");
}

#[tokio::test]
async fn a_generated_id_carries_the_name_and_a_given_one_is_the_key() {
    let (eager, worker, journal) = eager();
    let client = eager.client();
    let first = client.enqueue(&note("a", "")).await.expect("enqueued");
    let second = client.enqueue(&note("b", "")).await.expect("enqueued");
    assert!(first.id.starts_with("note-") && first.id != second.id);
    for text in ["c", "d"] {
        let named = Enqueue::new(&note(text, "")).expect("a job").id("report-2026-02");
        assert_eq!(client.enqueue_one(named).await.expect("enqueued").id, "report-2026-02");
    }
    assert_eq!(eager.enqueued("note").len(), 4);
    eager.run(&worker).await;
    assert_eq!(journal.all().len(), 3, "the second of a name is a duplicate");
    assert_eq!(client.get("report-2026-02").await.expect("an answer"), eager.record("report-2026-02"));
    assert_eq!(client.get("report-2026-03").await.expect("an answer"), None);
}

#[tokio::test]
async fn enqueued_jobs_can_be_inspected() {
    let (eager, ..) = eager();
    let job = Enqueue::new(&note("a", "")).expect("a job").with(|envelope| envelope.tags = vec!["nightly".into()]);
    let id = eager.client().enqueue_one(job).await.expect("enqueued").id;
    eager.send("note", "not json").await;
    let envelopes = eager.enqueued("note");
    assert_eq!(envelopes.len(), 1);
    assert_eq!(envelopes[0].name.as_str(), "note");
    assert_eq!(envelopes[0].id.as_ref(), Some(&id));
    assert_eq!(envelopes[0].tags[..], ["nightly".to_owned()][..]);
    assert_eq!(envelopes[0].args, json!({"text": "a", "act": ""}));
}

#[tokio::test]
async fn many_jobs_are_enqueued_at_once_and_a_wrong_one_is_refused_alone() {
    let (eager, worker, journal) = eager();
    let mut jobs: Vec<_> = (0..25).map(|number| Enqueue::new(&note(&number.to_string(), "")).expect("a job")).collect();
    jobs[7] = Enqueue::named("note", json!({"text": "x".repeat(1 << 20), "act": ""}));
    jobs[8] = Enqueue::named("note", Value::Null).id("x".repeat(600));
    jobs[9] = Enqueue::named("ordered", json!({"text": "9", "act": ""})).queue("ordered.fifo").group("group");
    let answers = eager.client().enqueue_many(jobs).await;
    let refused: Vec<_> = answers.iter().enumerate().filter(|(_, answer)| answer.is_err()).map(|(place, _)| place).collect();
    assert_eq!(refused, [7, 8]);
    assert_eq!(eager.enqueued("note").len(), 22);
    assert_eq!(eager.enqueued("ordered.fifo").len(), 1);
    let ids: std::collections::BTreeSet<_> = answers.iter().flatten().map(|job| job.id.clone()).collect();
    assert_eq!(ids.len(), 23);
    eager.run(&worker).await;
    assert_eq!(journal.all().len(), 23);
}

#[tokio::test]
async fn a_failed_job_is_in_the_dead_letter_queue_with_its_reason() {
    let (eager, worker, journal) = eager();
    let job = eager.client().enqueue(&note("a", "fail")).await.expect("enqueued");
    eager.send("note", "not json").await;
    eager.run(&worker).await;
    assert_eq!(journal.all().len(), 3);
    let letters = eager.dead_letters();
    let mut reasons: Vec<_> = letters.iter().map(|letter| letter.attributes["sqjobs.kind"].as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["error", "rejected"]);
    assert_eq!(eager.record(&job.id).expect("a record").state, State::Failed);
}

#[tokio::test]
async fn a_fifo_group_waits_for_the_retry_of_its_head() {
    let (eager, worker, journal) = eager();
    let jobs = [("a1", "retry", "a"), ("a2", "", "a"), ("b1", "", "b")];
    let jobs = jobs.map(|(text, act, group)| Enqueue::new(&Ordered(note(text, act))).expect("a job").group(group));
    assert!(eager.client().enqueue_many(jobs).await.iter().all(Result::is_ok));
    eager.run(&worker).await;
    let order: Vec<_> = journal.all().iter().map(|line| line[..2].to_owned()).collect();
    assert_eq!(order, ["a1", "b1", "a1", "a2"]);
}

/// A job that enqueues two notes for another function: one now, one in a day.
#[derive(Serialize, Deserialize)]
struct Order;

impl Arguments for Order {
    const NAME: &'static str = "order";
}

impl Job<Client> for Order {
    type Output = ();

    async fn run(&self, ctx: &Context<Client>) -> Result<(), JobError> {
        ctx.state().enqueue(&note("now", "")).await?;
        ctx.state().enqueue_one(Enqueue::new(&note("later", ""))?.delay(Duration::from_hours(24))).await?;
        Ok(())
    }
}

#[tokio::test]
async fn jobs_for_another_function_stay_for_its_worker() {
    let (eager, notes, journal) = eager();
    let (start, orders) = (eager.now(), Worker::new(eager.client()).job::<Order>());
    eager.client().enqueue(&Order).await.expect("enqueued");
    eager.run(&orders).await;
    assert_eq!(eager.enqueued("note").len(), 2);
    assert_eq!(eager.dead_letters(), vec![], "nothing of this worker waits");
    assert_eq!(eager.now(), start, "nothing of this worker waits");
    eager.run(&notes).await;
    assert_eq!(journal.all(), ["now 2026-01-01T00:00:00Z", "later 2026-01-02T00:00:00Z"]);
}

#[tokio::test]
async fn a_job_runs_from_whichever_queue_it_was_sent_to() {
    let (eager, worker, journal) = eager();
    let urgent = Enqueue::new(&note("a", "")).expect("a job").queue("urgent");
    eager.client().enqueue_one(urgent).await.expect("enqueued");
    eager.run(&worker).await;
    assert_eq!(journal.all().len(), 1);
}
