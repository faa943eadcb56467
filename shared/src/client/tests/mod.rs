//! The client, on queues and records in memory.

mod child;
mod priority;
mod tag;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    Arguments, By, Cancelled, Client, Context, Enqueue, Enqueued, Error, Job, JobError, Policy, PublishHook, Record, Recording, State,
    Worker,
    clock::{after, until},
    testing::Eager,
};

/// A job that enqueues others: its own kind until the text is used up, or what a spawned task and a hook want.
#[derive(Serialize, Deserialize)]
struct Parent(String);

impl Arguments for Parent {
    const NAME: &'static str = "parent";
    const QUEUE: &'static str = "family";
}

impl Job<Client> for Parent {
    type Output = ();

    async fn run(&self, ctx: &Context<Client>) -> Result<(), JobError> {
        match self.0.strip_prefix('>') {
            Some(rest) => ctx.state().enqueue(&Self(rest.into())).await.map(drop)?,
            None if self.0 == "for ever" => ctx.state().enqueue(self).await.map(drop)?,
            None if self.0 == "detach" => ctx.state().enqueue_one(parent("").detached().id("detached")).await.map(drop)?,
            None => {}
        }
        Ok(())
    }

    async fn on_success(&self, ctx: &Context<Client>, (): &()) -> Result<(), JobError> {
        if self.0 == "hook" {
            ctx.state().enqueue_one(Enqueue::named("parent", json!("by the hook")).queue("family").id("by the hook")).await?;
        }
        Ok(())
    }
}

fn family() -> (Eager, Worker<Client>) {
    let eager = Eager::new();
    let worker = Worker::new(eager.client()).job::<Parent>();
    (eager, worker)
}

fn parent(text: &str) -> Enqueue {
    Enqueue::new(&Parent(text.into())).expect("a job")
}

async fn enqueue(client: &Client, job: Enqueue) -> Enqueued {
    client.enqueue_one(job).await.expect("enqueued")
}

#[tokio::test]
async fn options_arrive_in_the_message_and_in_the_record() {
    let (eager, worker) = family();
    let at = after(eager.now(), Duration::from_secs(90));
    let job = parent("").id("a").run_at(at).tag("urgent").tag("mail").meta("tenant", 7).max_attempts(2);
    enqueue(&eager.client(), job.expires_at(after(at, Duration::from_mins(1)))).await;
    eager.run_due(&worker).await;
    assert_eq!(eager.record("a"), None, "it is not due");
    eager.run(&worker).await;
    let record = eager.record("a").expect("a record");
    assert_eq!(record.tags, ["urgent", "mail"]);
    assert_eq!(record.meta["tenant"].clone(), json!(7));
    assert_eq!(record.max_attempts, 2);
    assert!(record.started_at.is_some_and(|started| started >= at && until(at, started) < Duration::from_secs(2)));
}

#[tokio::test]
async fn a_job_that_expires_before_it_can_start_is_refused() {
    let (eager, _) = family();
    let (now, hour) = (eager.now(), Duration::from_hours(1));
    let later = after(now, hour);
    let jobs = [
        parent("").expires_at(now),
        parent("").run_at(later).expires_at(later),
        parent("").delay(2 * hour).expires_at(later),
        parent("").delay(hour / 2).expires_at(later),
    ];
    let answers = eager.client().enqueue_many(jobs).await;
    let told: Vec<_> = answers.iter().map(|answer| answer.as_ref().err().map(ToString::to_string).unwrap_or_default()).collect();
    assert!(told[0].contains(&format!("it expired at {now}")), "{told:?}");
    let latest = after(now, 2 * hour);
    assert!(told[1].contains(&format!("it expires at {later}, but cannot run before {later}")), "{told:?}");
    assert!(told[2].contains(&format!("it expires at {later}, but cannot run before {latest}")), "{told:?}");
    assert_eq!(told[3], "");
}

#[tokio::test]
async fn the_later_of_a_delay_and_an_instant_counts() {
    let (eager, _) = family();
    let at = after(eager.now(), Duration::from_hours(1));
    let jobs = [parent("").delay(Duration::from_secs(5)).run_at(at), parent("").run_at(at).delay(Duration::from_secs(5))];
    assert!(eager.client().enqueue_many(jobs).await.iter().all(Result::is_ok));
    let [first, second] = &eager.enqueued("family")[..] else { panic!("two messages") };
    assert_eq!(first.run_at, Some(at));
    assert_eq!(second.run_at, Some(after(eager.now(), Duration::from_secs(5))));
}

#[tokio::test]
async fn a_recorded_job_can_be_looked_up_before_it_runs() {
    let (eager, worker) = family();
    let client = eager.client();
    enqueue(&client, parent("").id("a").tag("t").recorded()).await;
    let queued = client.get("a").await.expect("an answer").expect("a record");
    assert_eq!(queued.state, State::Queued);
    assert_eq!(queued.attempts, 0);
    assert_eq!(queued.queue.as_str(), "family");
    assert_eq!(queued.tags, ["t"]);
    assert_eq!(queued.enqueued_at, Some(eager.now()));
    assert_eq!(queued.purge_at, None);
    enqueue(&client, parent("").id("a").recorded()).await;
    eager.run(&worker).await;
    let done = eager.record("a").expect("a record");
    assert_eq!(done.state, State::Succeeded);
    assert_eq!(done.attempts, 1);
    assert_eq!(done.generation, 1);
    assert_eq!(done.max_attempts, 5);
    let again = enqueue(&client, parent("").id("a").recorded()).await;
    assert_eq!(again.first, None, "it has the same arguments");
    assert_eq!(eager.record("a").expect("a record"), done, "a duplicate leaves it");
}

/// Recorded on trouble, of which there is none.
#[derive(Serialize, Deserialize)]
struct Quiet;

impl Arguments for Quiet {
    const NAME: &'static str = "quiet";
}

impl Job for Quiet {
    const POLICY: Policy = Policy::new().recording(Recording::OnTrouble);
    type Output = u32;

    async fn run(&self, _ctx: &Context) -> Result<u32, JobError> {
        Ok(7)
    }
}

#[tokio::test]
async fn a_job_that_is_recorded_on_trouble_is_recorded_where_that_is_asked_for() {
    let (eager, worker) = (Eager::new(), Worker::new(()).job::<Quiet>());
    let job = |id: &str| Enqueue::named("quiet", json!(null)).id(id);
    let hour = Duration::from_hours(1);
    for job in [job("plain"), job("recorded").recorded(), job("listed").listed(), job("later").delay(hour)] {
        enqueue(&eager.client(), job).await;
    }
    eager.run(&worker).await;
    let ended: Vec<_> = eager.records().into_iter().map(|record| (record.id, record.result)).collect();
    assert_eq!(ended, ["later", "listed", "recorded"].map(|id| (id.to_owned(), Some(json!(7)))));
}

#[tokio::test]
async fn a_duplicate_with_other_arguments_comes_back_with_the_first_job() {
    let (eager, worker) = family();
    let client = eager.client();
    enqueue(&client, parent("").id("a")).await;
    eager.run(&worker).await;
    let other = enqueue(&client, Enqueue::named("parent", json!("others")).queue("family").id("a").recorded()).await;
    assert_eq!(other.first.as_deref(), eager.record("a").as_ref());
    assert_eq!(other.first.expect("the first").state, State::Succeeded);
}

#[tokio::test]
async fn a_recorded_duplicate_leaves_the_time_of_the_first_job() {
    let (eager, worker) = family();
    let (client, hour) = (eager.client(), Duration::from_hours(1));
    enqueue(&client, parent("").id("a").recorded().delay(hour)).await;
    let first = eager.record("a").expect("a record");
    for again in [parent("").id("a").recorded(), parent("").id("a").recorded().delay(2 * hour)] {
        assert_eq!(enqueue(&client, again).await.first.as_deref(), Some(&first), "it waits for another time");
    }
    assert_eq!(enqueue(&client, parent("").id("a").recorded().delay(hour)).await.first, None, "the same time");
    eager.run(&worker).await;
    let a = eager.record("a").expect("a record");
    let waited = until(first.enqueued_at.expect("an instant"), a.started_at.expect("it ran"));
    assert!((hour..hour + Duration::from_mins(1)).contains(&waited), "{a:?}");
}

#[tokio::test]
async fn a_recorded_duplicate_with_other_dependencies_returns_the_first_job() {
    let (eager, _) = family();
    let client = eager.client();
    let job = |after: &[&str]| parent("").id("a").recorded().after(after.to_vec());
    enqueue(&client, job(&["b", "c"])).await;
    let first = eager.record("a").expect("a record");
    for other in [job(&["b"]), job(&[]), job(&["b", "c"]).when(crate::When::Ended)] {
        assert_eq!(enqueue(&client, other).await.first.as_deref(), Some(&first));
    }
    assert_eq!(enqueue(&client, job(&["c", "b"])).await.first, None, "the order does not count");
}

#[tokio::test]
async fn an_empty_name_or_id_is_refused_by_its_name() {
    let (eager, _) = family();
    let client = eager.client();
    let job = || parent("").id("a");
    let cases =
        [("id", job().id("")), ("queue", job().queue("")), ("group", job().group("")), ("dedup", job().dedup("")), ("tag", job().tag(""))];
    for (name, job) in cases {
        let error = client.enqueue_one(job.recorded()).await.expect_err("it is refused").to_string();
        assert!(error.contains(name) && error.contains("is empty"), "{name}: {error}");
    }
    let none = [client.get("").await.err(), client.cancel("").await.err(), client.reschedule("", eager.now()).await.err()];
    for error in none {
        assert!(error.is_some_and(|error| error.to_string().contains("id: it is empty")));
    }
    for by in [By::Name(""), By::Tag(""), By::Root(""), By::Object("")] {
        assert!(client.list(by, 1).await.is_err(), "{by:?}");
    }
    assert!(eager.enqueued("family").is_empty());
}

#[tokio::test]
async fn one_id_twice_in_a_bulk_is_recorded_once_and_says_so() {
    let (eager, _) = family();
    let other = || Enqueue::named("parent", json!("others")).queue("family").id("a").listed();
    let answers = eager.client().enqueue_many([parent("").id("a").listed(), other(), parent("").id("a").listed()]).await;
    let firsts: Vec<_> = answers.into_iter().map(|answer| answer.expect("it is sent").first.map(|first| first.digest)).collect();
    let recorded = eager.record("a").expect("a record").digest;
    assert_eq!(firsts, [None, Some(recorded), None]);
    assert_eq!(recorded, Some(parent("").envelope().digest()));
}

#[tokio::test]
async fn a_recorded_job_of_a_function_that_is_not_there_waits_for_it() {
    let (eager, _) = family();
    enqueue(&eager.client(), parent("").id("a").recorded()).await;
    eager.run(&Worker::new(())).await;
    assert_eq!(eager.record("a").expect("a record").state, State::Queued);
}

/// Notes what it hears under its name, and may refuse.
struct Noter(&'static str, Arc<Mutex<Vec<String>>>);

impl PublishHook for Noter {
    fn before_publish(&self, job: Enqueue) -> Result<Enqueue, Error> {
        self.note(format!("{} before {}", self.0, job.name()));
        if job.envelope().args == "bad" { Err(Error::config("no")) } else { Ok(job.tag(self.0)) }
    }

    fn after_publish(&self, job: &Enqueue, sent: &Result<Enqueued, Error>) {
        self.note(format!("{} after {} {}", self.0, job.name(), sent.is_ok()));
    }
}

impl Noter {
    fn note(&self, line: String) {
        self.1.lock().expect("nobody panics with the lock").push(line);
    }
}

#[tokio::test]
async fn publish_hooks_surround_what_is_sent_and_may_refuse_it() {
    let (eager, _) = family();
    let heard = Arc::default();
    let client = eager.client().hook(Noter("outer", Arc::clone(&heard))).hook(Noter("inner", Arc::clone(&heard)));
    let large = Enqueue::named("large", Value::String("x".repeat(2 << 20)));
    let answers = client.enqueue_many([parent("good"), parent("bad"), large]).await;
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false]);
    let heard = heard.lock().expect("nobody panics with the lock").clone();
    let before = ["outer before parent", "inner before parent", "outer before parent", "outer before large", "inner before large"];
    let after = ["inner after parent true", "outer after parent true", "inner after large false", "outer after large false"];
    assert_eq!(heard, [&before[..], &after[..]].concat());
    assert_eq!(eager.enqueued("family")[0].tags, ["outer", "inner"]);
}

#[tokio::test]
async fn thousands_are_taken_from_an_iterator_as_they_are_sent() {
    let (eager, _) = family();
    let held = Arc::new(Mutex::new(Vec::new()));
    let (noted, sent) = (Arc::clone(&held), eager.clone());
    let jobs = (0..2500).map(move |number| {
        if number % 500 == 499 {
            noted.lock().expect("nobody panics with the lock").push(number + 1 - sent.enqueued("parent").len());
        }
        Enqueue::named("parent", json!(number)).id(format!("job-{number}"))
    });
    let answers = eager.client().enqueue_many(jobs).await;
    let ids: Vec<_> = answers.into_iter().map(|answer| answer.expect("sent").id).collect();
    assert_eq!(ids, (0..2500).map(|number| format!("job-{number}")).collect::<Vec<_>>());
    assert_eq!(*held.lock().expect("nobody panics with the lock"), [500, 1000, 500, 1000, 500], "a thousand are held at a time");
}

#[tokio::test]
async fn what_has_ended_runs_again_only_when_it_is_asked_for() {
    let (eager, worker) = family();
    let client = eager.client();
    assert!(!client.retry(parent("").id("a")).await.expect("an answer"), "nothing is known of it");
    enqueue(&client, parent("").id("a").recorded()).await;
    assert!(!client.retry(parent("").id("a")).await.expect("an answer"), "it waits");
    eager.run(&worker).await;
    let first = eager.record("a").expect("a record");
    assert!(client.retry(parent("again").id("a")).await.expect("an answer"));
    let queued = eager.record("a").expect("a record");
    assert_eq!(queued.state, State::Queued);
    assert_eq!(queued.attempts, 0);
    assert_eq!(queued.purge_at, None);
    assert_eq!(queued.result, None);
    eager.run(&worker).await;
    let second = eager.record("a").expect("a record");
    assert_eq!(second.state, State::Succeeded);
    assert_eq!(second.attempts, 1);
    assert_eq!(second.generation, first.generation + 1);

    let nameless = client.retry(parent("")).await.expect_err("refused").to_string();
    assert!(nameless.contains("without its id"), "{nameless}");
    let other = client.retry(Enqueue::named("other", Value::Null).id("a")).await.expect_err("refused").to_string();
    assert!(other.contains("belongs to job parent on queue family"), "{other}");
}

#[tokio::test]
async fn what_was_called_off_unseen_can_be_run_after_all_and_later() {
    let (eager, worker) = family();
    let client = eager.client();
    let month = after(eager.now(), Duration::from_hours(30 * 24));
    assert_eq!(client.cancel("a").await.expect("an answer"), Cancelled::Unseen(month));
    assert_eq!(client.cancel("a").await.expect("an answer"), Cancelled::Ended);
    let at = after(eager.now(), Duration::from_hours(2));
    assert!(client.retry(parent("").id("a").run_at(at)).await.expect("an answer"));
    eager.run_due(&worker).await;
    assert_eq!(eager.record("a").expect("a record").state, State::Scheduled);
    eager.run(&worker).await;
    let done = eager.record("a").expect("a record");
    assert_eq!(done.state, State::Succeeded);
    assert_eq!(done.name.as_str(), "parent");
    assert!(done.started_at.is_some_and(|started| started >= at));
}

#[tokio::test(start_paused = true)]
async fn a_result_is_waited_for_with_looks_that_grow_rarer() {
    let (eager, worker) = family();
    let client = eager.client();
    enqueue(&client, parent("").id("a")).await;
    let started = Instant::now();
    assert_eq!(client.wait("a", Duration::from_mins(1)).await.expect("an answer"), None);
    assert_eq!(started.elapsed(), Duration::from_mins(1), "no longer, and no shorter");
    let waiting = tokio::spawn(async move { client.wait("a", Duration::MAX).await });
    tokio::time::sleep(Duration::from_secs(7)).await;
    eager.run(&worker).await;
    let ended: Option<Record> = waiting.await.expect("no panic").expect("an answer");
    assert_eq!(ended.map(|record| record.state), Some(State::Succeeded));
    assert!(started.elapsed() <= Duration::from_secs(72));
}

async fn ids(client: &Client, by: By<'_>, limit: usize) -> Vec<String> {
    client.list(by, limit).await.expect("an answer").into_iter().map(|record| record.id).collect()
}

#[tokio::test]
async fn listed_jobs_are_found_by_name_tag_tree_and_object() {
    let (eager, worker) = family();
    let client = eager.client();
    enqueue(&client, parent("").id("plain").tag("urgent")).await;
    eager.advance(Duration::from_secs(1));
    enqueue(&client, parent("").id("first").tag("urgent").tag("mail").listed()).await;
    eager.advance(Duration::from_secs(1));
    let child = |envelope: &mut crate::Envelope| envelope.root_id = Some("first".into());
    enqueue(&client, parent("").id("second").tag("urgent").object("order:17").object("user:2").with(child).listed()).await;
    eager.advance(Duration::from_secs(1));
    enqueue(&client, parent("").id("third").object("order:17")).await;
    eager.run(&worker).await;
    assert_eq!(ids(&client, By::Name("parent"), 10).await, ["second", "first"]);
    assert_eq!(ids(&client, By::Tag("urgent"), 10).await, ["second", "first"]);
    assert_eq!(ids(&client, By::Tag("urgent"), 1).await, ["second"]);
    assert_eq!(ids(&client, By::Tag("mail"), 10).await, ["first"]);
    assert_eq!(ids(&client, By::Root("first"), 10).await, ["second", "first"]);
    assert_eq!(ids(&client, By::Object("order:17"), 10).await, ["third", "second"]);
    assert_eq!(ids(&client, By::Object("order:18"), 10).await, [""; 0]);
    let refused = client.enqueue_one(parent("").object("")).await.expect_err("refused").to_string();
    assert!(refused.contains("an object of 0 bytes; it must have 1 to 512"), "{refused}");
}

#[tokio::test]
async fn what_has_failed_and_what_is_due_is_found_without_being_asked_for() {
    let (eager, worker) = family();
    let client = eager.client();
    for id in ["a", "b", "c"] {
        enqueue(
            &client,
            Enqueue::named("parent", json!("for ever")).queue("family").id(id).max_attempts(1).with(|envelope| envelope.depth = 100),
        )
        .await;
        eager.run(&worker).await;
        eager.advance(Duration::from_secs(1));
    }
    assert_eq!(ids(&client, By::Failed, 10).await, ["c", "b", "a"]);
    assert_eq!(ids(&client, By::Failed, 2).await, ["c", "b"]);
    assert!(client.retry(parent("").id("b")).await.expect("an answer"));
    assert_eq!(ids(&client, By::Failed, 10).await, ["c", "a"], "it is no more to be looked at");

    let hours = |hours| Duration::from_hours(hours);
    let jobs = [("x", 5), ("y", 2), ("z", 9)].map(|(id, after)| parent("").id(id).delay(hours(after)));
    assert!(client.enqueue_many(jobs).await.iter().all(Result::is_ok));
    eager.run_due(&worker).await;
    assert_eq!(ids(&client, By::Due, 10).await, ["y", "x", "z"]);
    assert_eq!(ids(&client, By::Due, 1).await, ["y"]);
}

#[tokio::test]
async fn a_job_that_was_not_sent_leaves_no_record_and_no_listing() {
    let (eager, _) = family();
    let job = parent("").id("a").group("no spaces").tag("t").listed();
    assert!(eager.client().enqueue_one(job).await.is_err(), "SQS takes no such group");
    assert_eq!(eager.record("a"), None);
    assert_eq!(ids(&eager.client(), By::Tag("t"), 10).await, [""; 0]);
}

#[tokio::test]
async fn an_object_has_at_most_512_bytes_and_no_control_characters() {
    let (eager, _) = family();
    let client = eager.client();
    for object in ["x".repeat(513), "a\nb".into(), String::new()] {
        assert!(client.list(By::Object(&object), 1).await.is_err(), "{object:?}");
    }
    assert!(client.list(By::Object(&"x".repeat(512)), 1).await.is_ok());
}

#[tokio::test]
async fn a_list_that_lags_behind_shows_no_job_that_has_left_it() {
    let (eager, worker) = family();
    let client = eager.client();
    enqueue(&client, parent("").id("a")).await;
    eager.run(&worker).await;
    let list = crate::names::failed_shard_name(0);
    client.store.enlist(&[crate::store::Listing { list, id: "a".into(), at: eager.now(), purge_at: 4_000_000_000 }]).await;
    assert_eq!(ids(&client, By::Failed, 10).await, [""; 0]);
}

#[tokio::test]
async fn a_retry_whose_message_is_not_sent_is_an_error() {
    let (eager, worker) = family();
    let client = eager.client();
    enqueue(&client, parent("").id("a")).await;
    eager.run(&worker).await;
    let refusal = client.retry(parent("").id("a").group("no spaces")).await.expect_err("SQS takes no such group").to_string();
    assert!(refusal.contains("its message may not have reached queue family"), "{refusal}");
}

#[tokio::test]
async fn a_job_that_waits_for_others_needs_a_worker_that_knows_this() {
    let needs = |needs: &'static str| parent("").after(["a"]).with(move |envelope| envelope.needs = vec![needs.into()]);
    for (job, expected) in [
        (parent(""), &[][..]),
        (parent("").after(["a"]), &["dependencies"]),
        (needs("dependencies"), &["dependencies"]),
        (needs("tags"), &["tags", "dependencies"]),
    ] {
        let (eager, _) = family();
        enqueue(&eager.client(), job).await;
        assert_eq!(eager.enqueued("family")[0].needs, expected);
    }
}
