//! Workflows: one message that enqueues many jobs, on the in-memory adapters.

use std::collections::BTreeSet;

use super::{
    links::{Graph, Mortal, deliver, job},
    *,
};
use crate::{
    Enqueue, Envelope, Otherwise, When,
    lifecycle::{is_job, is_node},
    queue::{Outgoing, Queue},
};

impl Graph {
    /// Sends the message of a workflow.
    async fn send(&self, body: &Value) {
        self.local.queue.send(QUEUE, &[Outgoing::new(body.to_string())]).await.pop().expect("an answer").expect("it is sent");
    }

    /// Returns the ids of the records of jobs.
    fn ids(&self) -> Vec<String> {
        self.local.store.records().into_iter().map(|record| record.id).filter(|id| is_job(id)).collect()
    }

    /// Returns the reasons of the dead letters.
    fn dead_letters(&self) -> Vec<String> {
        self.local.queue.messages(crate::worker::DLQ).into_iter().map(|letter| letter.attributes["sqjobs.reason"].clone()).collect()
    }
}

fn workflow(jobs: &Value) -> Value {
    json!({"name": "probe", "id": "w", "needs": ["workflow"], "jobs": jobs})
}

fn step(id: &str, after: &[&str]) -> Value {
    json!({"name": "probe", "id": id, "depends_on": after})
}

/// Returns a group of jobs with these numbers.
fn group(numbers: std::ops::Range<usize>) -> Vec<Value> {
    numbers.map(|number| step(&format!("m{number}"), &[])).collect()
}

fn numbered(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("m{number}")).collect()
}

#[tokio::test(start_paused = true)]
async fn the_jobs_of_a_workflow_run_in_order_and_the_closing_job_last() {
    let graph = Graph::new();
    let jobs = json!([step("end", &["left", "right"]), step("left", &["start"]), step("right", &["start"]), step("start", &[])]);
    graph.send(&workflow(&jobs)).await;
    graph.run().await;
    let runs = graph.runs.all();
    assert_eq!([&*runs[0], &*runs[3], &*runs[4]], ["w/start", "w/end", "w"]);
    assert_eq!(runs.len(), 5);
    let start = graph.record("w/start");
    assert_eq!([start.parent_id.as_deref(), start.root_id.as_deref()], [Some("w"), Some("w")]);
    assert_eq!(graph.record("w").attempts, 1);
    assert!(graph.local.store.records().iter().all(|record| record.due.is_none()), "nothing is owed");
}

#[tokio::test(start_paused = true)]
async fn the_closing_job_waits_for_the_jobs_that_it_names() {
    let graph = Graph::new().failing(&["w/b"]);
    let mut body = workflow(&json!([step("a", &[]), step("b", &[])]));
    body["depends_on"] = json!(["a"]);
    graph.send(&body).await;
    graph.run().await;
    assert_eq!(graph.states(&["w", "w/a", "w/b"]), [State::Succeeded, State::Succeeded, State::Failed]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_handler_of_a_workflow_does_not_hold_the_closing_job() {
    for (failing, handler, closing) in [(&[][..], State::Cancelled, State::Succeeded), (&["w/a"], State::Succeeded, State::Blocked)] {
        let graph = Graph::new().failing(failing);
        let mut apology = step("apology", &["a"]);
        apology["when"] = json!("failed");
        graph.send(&workflow(&json!([step("a", &[]), apology]))).await;
        graph.run().await;
        assert_eq!(graph.states(&["w/apology", "w"]), [handler, closing]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_workflow_hands_its_times_down_to_its_jobs() {
    let graph = Graph::new();
    let start = graph.local.clock.now();
    let mut body = workflow(&json!([step("a", &[]), step("b", &["a"])]));
    body["run_at"] = json!(crate::clock::after(start, seconds(7200)).to_string());
    body["max_blocked_s"] = json!(10_000);
    graph.send(&body).await;
    graph.run().await;
    assert_eq!(graph.runs.all(), ["w/a", "w/b", "w"]);
    assert_eq!(graph.record("w/a").started_at, Some(crate::clock::after(start, seconds(7200))));
    let until = graph.record("w/b").dependencies.and_then(|dependencies| dependencies.until);
    assert_eq!(until, Some(crate::clock::after(start, seconds(10_000))));
}

#[tokio::test(start_paused = true)]
async fn a_closing_job_runs_once_after_two_thousand_jobs() {
    let graph = Graph::new();
    graph.send(&workflow(&json!(group(0..2000)))).await;
    graph.run().await;
    let runs = graph.runs.all();
    let different: BTreeSet<_> = runs.iter().collect();
    assert_eq!(runs.len(), 2001);
    assert_eq!(different.len(), 2001);
    assert_eq!(runs.last().map(String::as_str), Some("w"));
    let nodes: Vec<_> = graph.local.store.records().into_iter().filter(|record| is_node(&record.id)).collect();
    assert_eq!(nodes.len(), 105, "100 for the jobs, and 5 for those");
    assert!(nodes.iter().all(|node| node.purge_at.is_some() && node.blocked_on.is_empty()));
    let largest = nodes.iter().map(|node| node.dependencies.as_ref().map_or(0, |dependencies| dependencies.ids.len())).max();
    assert_eq!(largest, Some(20));
}

#[tokio::test(start_paused = true)]
async fn a_job_reads_the_results_of_a_wide_group_in_their_order() {
    let mut jobs = Jobs::default();
    jobs.add(Arc::new(Scripted::new("probe", Policy::new(), async |attempt: Arc<Attempt>| {
        let results = attempt.dependencies().await?.into_iter().map(|job| job.result);
        Ok(if attempt.id() == "w" { json!(results.collect::<Vec<_>>()) } else { json!(attempt.id()) })
    })));
    let graph = Graph { jobs, ..Graph::new() };
    graph.send(&workflow(&json!(group(0..450)))).await;
    graph.run().await;
    let ids: Vec<_> = numbered(0..450).into_iter().map(|id| format!("w/{id}")).collect();
    assert_eq!(graph.record("w").result, Some(json!(ids)));
}

#[tokio::test(start_paused = true)]
async fn the_conditions_of_a_job_hold_for_a_wide_group_as_well() {
    let conditions = [
        (When::Succeeded, Otherwise::Hold, State::Blocked),
        (When::Succeeded, Otherwise::Cancel, State::Cancelled),
        (When::Ended, Otherwise::Hold, State::Succeeded),
        (When::Failed, Otherwise::Hold, State::Succeeded),
    ];
    for (when, otherwise, state) in conditions {
        let graph = Graph::new().failing(&["w/m7", "w/m450"]);
        let mut jobs = group(0..500);
        jobs.push(json!({"name": "probe", "id": "wide", "depends_on": numbered(0..500), "when": when, "otherwise": otherwise}));
        graph.send(&workflow(&json!(jobs))).await;
        graph.run().await;
        assert_eq!(graph.record("w/wide").state, state, "{when:?} {otherwise:?}");
        let message = graph.record("w/wide").error.map(|error| error.message).unwrap_or_default();
        if state == State::Cancelled {
            assert!(message.starts_with("the job w/m") && message.ends_with("which had to succeed first, is failed"), "{message}");
        }
        if state == State::Blocked {
            lock(&graph.failing).clear();
            for id in ["w/m7", "w/m450"] {
                assert_eq!(graph.record("w/wide").state, State::Blocked);
                assert!(graph.local.client().retry(job(id)).await.expect("memory answers"));
                graph.run().await;
            }
            assert_eq!(graph.states(&["w/wide", "w"]), [State::Succeeded; 2]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_of_a_wide_group_is_not_needed_if_all_succeed() {
    let graph = Graph::new();
    let mut jobs = group(0..50);
    jobs.push(json!({"name": "probe", "id": "wide", "depends_on": numbered(0..50), "when": "failed"}));
    graph.send(&workflow(&json!(jobs))).await;
    graph.run().await;
    assert_eq!(graph.kind("w/wide"), "not_needed");
    assert_eq!(graph.record("w").state, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_jobs_may_wait_for_one() {
    for early in [false, true] {
        let graph = Graph::new().failing(&["a"]);
        if early {
            graph.enqueue(job("a")).await;
            graph.run().await;
        }
        for number in 0..700 {
            graph.enqueue(job(&format!("b{number}")).after(["a"]).when(When::Failed)).await;
        }
        for number in 0..700 {
            graph.enqueue(job(&format!("c{number}")).after(["a"])).await;
        }
        if !early {
            let engine = graph.local.engine(graph.jobs.clone(), Handle::current(), usize::MAX);
            graph.local.run_due(&engine).await.expect("memory answers");
            assert_eq!(graph.runs.all().len(), 0);
            graph.enqueue(job("a")).await;
        }
        graph.run().await;
        assert_eq!(graph.runs.all().len(), 701, "the job, and its handlers");
        lock(&graph.failing).clear();
        assert!(graph.local.client().retry(job("a")).await.expect("memory answers"));
        graph.run().await;
        assert_eq!(graph.runs.all().len(), 1402, "the job again, and those that waited for its success");
    }
}

#[tokio::test(start_paused = true)]
async fn a_workflow_sent_twice_runs_once_and_another_under_its_id_is_refused() {
    let graph = Graph::new();
    let body = workflow(&json!([step("a", &[]), step("b", &["a"])]));
    let other = workflow(&json!([step("a", &[]), step("c", &["a"])]));
    for body in [&body, &body, &other] {
        graph.send(body).await;
    }
    graph.run().await;
    for body in [&body, &other] {
        graph.send(body).await;
        graph.run().await;
    }
    assert_eq!(graph.runs.all(), ["w/a", "w/b", "w"]);
    let reason = "id w belongs to a workflow with other jobs or arguments; send this one with another id";
    assert_eq!(graph.dead_letters(), [reason; 2], "one beside the first in a batch, and one later");
}

#[tokio::test(start_paused = true)]
async fn a_workflow_that_was_cancelled_before_sends_nothing() {
    let graph = Graph::new();
    graph.local.client().cancel("w").await.expect("memory answers");
    graph.send(&workflow(&json!([step("a", &[])]))).await;
    graph.run().await;
    assert_eq!(graph.ids(), ["w"]);
    let retried = graph.local.client().retry_workflow("w").await.expect("memory answers");
    assert_eq!(retried, Some(vec!["w".to_owned()]));
    graph.run().await;
    assert_eq!(graph.runs.all(), ["w/a", "w"], "the jobs that were not sent");
}

#[tokio::test(start_paused = true)]
async fn a_retry_sends_a_job_that_was_not_sent_and_for_which_others_wait() {
    let graph = Graph::new();
    let client = graph.local.client();
    client.cancel("w").await.expect("memory answers");
    graph.send(&workflow(&json!([step("a", &[]), step("b", &["a"])]))).await;
    graph.run().await;
    // As if the workflow had been cancelled after this job was sent.
    graph.enqueue(job("w/b").after(["w/a"])).await;
    graph.run().await;
    assert_eq!(graph.states(&["w/a", "w/b", "w"]), [State::Queued, State::Blocked, State::Cancelled]);
    client.retry_workflow("w").await.expect("memory answers");
    graph.run().await;
    assert_eq!(graph.runs.all(), ["w/a", "w/b", "w"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_of_a_workflow_that_is_known_before_its_message_still_counts() {
    let graph = Graph::new();
    let client = graph.local.client();
    client.cancel("w/m1").await.expect("memory answers");
    client.cancel("w/m30").await.expect("memory answers");
    graph.enqueue(job("w/m2")).await;
    graph.enqueue(job("w/m31").delay(seconds(5000)).recorded()).await;
    graph.run().await;
    let mut jobs = group(0..40);
    jobs.push(json!({"name": "probe", "id": "wide", "depends_on": numbered(0..40), "when": "ended"}));
    graph.send(&workflow(&json!(jobs))).await;
    graph.run().await;
    assert_eq!(graph.record("w/wide").state, State::Succeeded);
    assert_eq!(graph.runs.all().len(), 38 + 2);
}

#[tokio::test(start_paused = true)]
async fn a_workflow_ends_as_declared_wherever_a_process_dies() {
    let mut survived = 0;
    let mut jobs = group(0..25);
    jobs.push(step("bad", &[]));
    jobs.push(json!({"name": "probe", "id": "off", "depends_on": ["bad"], "otherwise": "cancel"}));
    jobs.push(json!({"name": "probe", "id": "handler", "depends_on": ["bad", "m1"], "when": "failed"}));
    let mut body = workflow(&json!(jobs));
    body["depends_on"] = json!(numbered(0..25).into_iter().chain(["off".into(), "handler".into()]).collect::<Vec<_>>());
    body["when"] = json!("ended");
    for takes_effect in [false, true] {
        for at in 0.. {
            let graph = Graph::new().failing(&["w/bad"]);
            graph.send(&body).await;
            let mortal = Mortal::new(&graph, at, takes_effect);
            let died = deliver(&graph, &mortal).await;
            graph.run().await;
            graph.local.clock.advance(seconds(3600));
            graph.run().await;
            let ends = [("w", State::Succeeded), ("w/bad", State::Failed), ("w/off", State::Cancelled), ("w/handler", State::Succeeded)];
            for (id, state) in ends {
                assert_eq!(graph.record(id).state, state, "{id}, killed at {at} ({takes_effect})");
            }
            for id in graph.ids() {
                let runs = graph.runs.all().iter().filter(|run| **run == id).count();
                assert!(if id == "w/off" { runs == 0 } else { (1..=2).contains(&runs) }, "{id}: {runs} runs, killed at {at}");
            }
            assert_eq!(graph.ids().len(), 29);
            let owed: Vec<_> = graph.local.store.records().into_iter().filter(|record| record.due.is_some()).collect();
            assert_eq!(owed, [], "killed at {at}");
            if !died {
                survived += 1;
                break;
            }
        }
    }
    assert_eq!(survived, 2);
}

#[tokio::test(start_paused = true)]
async fn a_job_of_a_workflow_that_cannot_be_sent_is_left_to_the_beater() {
    let world = TestWorker::with(Policy::new(), async |_| Ok(Value::Null));
    world.queue.refuse_sends(true);
    let body = workflow(&json!([step("a", &[]), step("b", &["a"])]));
    assert!(world.handle([with_body("m", body)]).await.failures.is_empty());
    assert_eq!(world.states(&["w/a", "w/b", "w"]), [State::Scheduled, State::Scheduled, State::Blocked]);
    let filed = world.record("w/b");
    assert!(filed.due.is_some());
    assert_eq!(filed.dependencies.expect("its dependencies").ids, ["w/a"]);
    assert_eq!(world.record("w/a").dependents, ["w/b".to_owned()].into());
}

#[test]
fn a_flawed_workflow_is_refused_with_the_place() {
    let entry = |fields: Value| {
        let mut entry = step("a", &[]);
        entry.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        entry
    };
    let many = |count: usize| json!((0..count).map(|number| step(&number.to_string(), &[])).collect::<Vec<_>>());
    let flaws = [
        (json!([step("a", &["b"])]), "jobs[0].depends_on: the workflow has no job b; "),
        (json!([step("a", &[]), step("a", &[])]), "jobs[1].id: another job of the workflow has it; "),
        (json!([step("a/b", &[])]), "jobs[0].id: it has a `/`; "),
        (json!([{"name": "probe"}]), "jobs[0].id: it is missing; "),
        (json!([{"id": "a"}]), "jobs[0].name: it is empty; "),
        (json!([step("a", &["a"])]), "jobs[0].depends_on: it has the id of the job itself; "),
        (json!([step("b", &["a"]), step("a", &["c"]), step("c", &["a"])]), "jobs: the job "),
        (json!([entry(json!({"jobs": [step("b", &[])]}))]), "jobs[0].jobs: a job of a workflow cannot have it; "),
        (json!([entry(json!({"parent_id": "p"}))]), "jobs[0].parent_id: a job of a workflow cannot have it; "),
        (json!([entry(json!({"queue": 5}))]), "jobs[0].queue: it is not the name of a queue; "),
        (json!([entry(json!({"max_attempts": 0}))]), "jobs[0].max_attempts: it is 0; "),
        (json!([entry(json!({"when": "ended"}))]), "jobs[0].when: the message has no `depends_on`; "),
        (json!([entry(json!({"v": 2}))]), "jobs: its entry 0 has a version of its own; "),
        (json!([5]), "jobs: its entry 0 is a number; "),
        (json!("a"), "jobs: it is a string; "),
        (many(2001), "jobs: it has 2001 jobs; it must be an array of at most 2000 objects"),
    ];
    for (jobs, flaw) in flaws {
        let reason = Envelope::parse(&workflow(&jobs).to_string()).expect_err("it is refused").to_string();
        assert!(reason.starts_with(flaw), "{reason}");
    }
    assert!(Envelope::parse(&workflow(&many(2000)).to_string()).is_ok());
    let mut unknown = workflow(&json!([step("a", &[])]));
    unknown["depends_on"] = json!(["b"]);
    let reason = Envelope::parse(&unknown.to_string()).expect_err("it is refused").to_string();
    assert!(reason.starts_with("depends_on: the workflow has no job b; "), "{reason}");
}

/// Returns the write units of an item: its size in KB, rounded up. Source: "Item sizes and formats" in the DynamoDB developer guide.
fn write_units(record: &Record) -> usize {
    fn bytes(value: &serde_dynamo::AttributeValue) -> usize {
        use serde_dynamo::AttributeValue as Value;
        match value {
            Value::S(text) => text.len(),
            Value::N(number) => number.len() / 2 + 2,
            Value::Ss(texts) => texts.iter().map(String::len).sum(),
            Value::M(map) => 3 + map.iter().map(|(name, value)| 1 + name.len() + bytes(value)).sum::<usize>(),
            Value::L(list) => 3 + list.iter().map(|value| 1 + bytes(value)).sum::<usize>(),
            _ => 1,
        }
    }
    let item: std::collections::HashMap<String, serde_dynamo::AttributeValue> = serde_dynamo::to_item(record).expect("an item");
    item.iter().map(|(name, value)| name.len() + bytes(value)).sum::<usize>().div_ceil(1024)
}

#[tokio::test(start_paused = true)]
async fn a_group_of_ten_thousand_costs_one_more_write_for_each_job() {
    const JOBS: usize = 10_000;
    let world = TestWorker::with(Policy::new(), async |_| Ok(Value::Null));
    let client = crate::Client::new(Arc::new(world.queue.clone()), Arc::new(world.store.memory()), world.clock.clone(), "");
    let jobs = (0..JOBS).map(|number| job(&format!("resize-{number}")));
    let sent = client.enqueue_group(job("close"), jobs).await.expect("the table answers");
    assert!(sent.iter().all(Result::is_ok));
    let nodes = world.store.memory().records().into_iter().filter(|record| is_node(&record.id));
    assert!(nodes.clone().all(|node| write_units(&node) == 1), "{}", nodes.count());
    // The messages arrive in a random order.
    let mut bodies: Vec<_> = world.queue.messages(QUEUE).into_iter().map(|message| message.body).collect();
    let closing = bodies.pop().expect("the closing job");
    world.handle([with_body("close", serde_json::from_str::<Value>(&closing).expect("JSON"))]).await;
    bodies.sort_by_key(|body| uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, body.as_bytes()));
    for (batch, bodies) in bodies.chunks(10).enumerate() {
        let message =
            |(place, body): (usize, &String)| with_body(&format!("{batch}-{place}"), serde_json::from_str::<Value>(body).expect("JSON"));
        assert!(world.handle(bodies.iter().enumerate().map(message)).await.failures.is_empty());
    }
    assert_eq!(world.state("close"), State::Queued);
    assert_eq!(world.queue.messages(QUEUE).iter().filter(|message| message.body == closing).count(), 1);
    let (requests, links) = (world.store.requests(), world.store.link_requests());
    let units: usize = requests.iter().flat_map(|request| &request.writes).map(|write| write_units(&write.next)).sum();
    let (units, requests) = (units + links.iter().sum::<usize>(), requests.into_iter().filter(|request| request.reads.is_empty()).count());
    assert_eq!(world.store.requests().len() - requests, 0, "reads");
    println!("{} requests, {units} write units", requests + links.len());
    assert!(requests + links.len() <= 3_200, "{requests} requests, and {} for links", links.len());
    assert!(units <= 31_000, "{units} write units");
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_a_workflow_runs_only_what_has_not_succeeded() {
    let graph = Graph::new().failing(&["w/b", "w/m7", "w/m30"]);
    let mut jobs = group(0..40);
    jobs.extend([step("a", &[]), step("b", &["a"]), step("held", &["b"])]);
    jobs.push(json!({"name": "probe", "id": "off", "depends_on": ["b"], "otherwise": "cancel"}));
    jobs.push(json!({"name": "probe", "id": "after", "depends_on": ["off"], "otherwise": "cancel"}));
    jobs.push(json!({"name": "probe", "id": "wide", "depends_on": numbered(0..40), "otherwise": "cancel"}));
    jobs.push(json!({"name": "probe", "id": "unneeded", "depends_on": ["a"], "when": "failed"}));
    jobs.push(json!({"name": "probe", "id": "apology", "depends_on": ["b"], "when": "failed"}));
    let mut body = workflow(&json!(jobs));
    body["otherwise"] = json!("cancel");
    graph.send(&body).await;
    graph.run().await;
    let ends = ["w/held", "w/off", "w/after", "w/wide", "w", "w/apology"];
    let cancelled = State::Cancelled;
    assert_eq!(graph.states(&ends), [State::Blocked, cancelled, cancelled, cancelled, cancelled, State::Succeeded]);
    let before = graph.runs.all();
    lock(&graph.failing).clear();
    let client = graph.local.client();
    let mut retried = client.retry_workflow("w").await.expect("memory answers").expect("it is known");
    retried.sort();
    assert_eq!(retried, ["w", "w/after", "w/b", "w/m30", "w/m7", "w/off", "w/wide"]);
    graph.run().await;
    let mut runs = graph.runs.all()[before.len()..].to_vec();
    assert_eq!(runs.last().map(String::as_str), Some("w"));
    runs.sort();
    assert_eq!(runs, ["w", "w/after", "w/b", "w/held", "w/m30", "w/m7", "w/off", "w/wide"]);
    assert_eq!(client.retry_workflow("w").await.expect("memory answers"), Some(Vec::new()));
    assert_eq!(client.retry_workflow("other").await.expect("memory answers"), None);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_workflow_runs_none_of_its_jobs_later() {
    let graph = Graph::new();
    let client = graph.local.client();
    let mut body = workflow(&json!([step("a", &[]), step("b", &["a"]), step("c", &["b"])]));
    body["run_at"] = json!(crate::clock::after(graph.local.clock.now(), seconds(7200)).to_string());
    graph.send(&body).await;
    let engine = graph.local.engine(graph.jobs.clone(), Handle::current(), usize::MAX);
    graph.local.run_due(&engine).await.expect("memory answers");
    let before = client.workflow("w").await.expect("memory answers").expect("it is known");
    assert_eq!(before.progress(), [("blocked", 2), ("scheduled", 1)].into());
    let counts = client.cancel_workflow("w").await.expect("memory answers").expect("it is known");
    assert_eq!([counts.cancelled, counts.running, counts.ended], [4, 0, 0]);
    graph.run().await;
    assert_eq!(graph.runs.all(), [""; 0]);
    let after = client.workflow("w").await.expect("memory answers").expect("it is known");
    assert_eq!(after.progress(), [("cancelled", 3)].into());
    assert_eq!(after.jobs[3].depends_on, ["w/c"]);
    assert_eq!(client.cancel_workflow("early").await.expect("memory answers"), None);
    graph.send(&json!({"name": "probe", "id": "early", "jobs": [step("a", &[])]})).await;
    graph.run().await;
    assert_eq!(graph.runs.all(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_workflow_is_built_from_stages() {
    let graph = Graph::new().failing(&["w/probe-2"]);
    let named = || Enqueue::named("probe", Value::Null);
    let built = crate::Workflow::new(job("w").otherwise(Otherwise::Cancel))
        .then(job("first"))
        .group([named(), named(), job("left")])
        .on_failure(job("apology"))
        .chain([job("x"), job("y")])
        .job(job("beside").after(["first"]));
    graph.enqueue(built.build().expect("a workflow")).await;
    graph.run().await;
    let mut runs = graph.runs.all();
    assert_eq!(runs[0], "w/first");
    runs.sort();
    assert_eq!(runs, ["w/apology", "w/beside", "w/first", "w/left", "w/probe", "w/probe-2"]);
    assert_eq!(graph.states(&["w/x", "w/y", "w"]), [State::Blocked; 3]);
    let flawed = crate::Workflow::new(job("v")).then(job("a").delay(seconds(5))).build().expect_err("it is refused").to_string();
    assert!(flawed.contains("its job \"probe\" has the option `delay`"), "{flawed}");
}

/// Returns its arguments.
#[derive(serde::Serialize, serde::Deserialize)]
struct Told(Value);

impl crate::Arguments for Told {
    const NAME: &'static str = "told";
}

impl crate::Job for Told {
    type Output = Value;

    async fn run(&self, _: &crate::Context) -> Result<Value, JobError> {
        Ok(self.0.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn an_argument_is_the_output_of_an_earlier_job() {
    let graph = Graph::new();
    let mut jobs = crate::Worker::new(()).job::<Told>().jobs().clone();
    jobs.add(Arc::new(Scripted::new("probe", Policy::new(), async |attempt: Arc<Attempt>| {
        if attempt.id() == "w/bad" { Err(JobError::fatal("as told")) } else { Ok(json!({"of": attempt.id()})) }
    })));
    let graph = Graph { jobs, ..graph };
    let args = json!([crate::output("a"), {"nested": [crate::output("bad")]}, {"$output": "a", "other": 1}]);
    let told = Enqueue::named("told", args).id("told").after(["a", "bad"]).when(When::Ended);
    let plain = Enqueue::named("told", json!([{"$output": "x"}])).id("plain");
    let built = crate::Workflow::new(Enqueue::named("told", json!({"got": crate::output("told")})).id("w"));
    graph.enqueue(built.job(job("a")).job(job("bad")).job(told).build().expect("a workflow")).await;
    graph.enqueue(plain).await;
    graph.enqueue(Enqueue::named("told", crate::output("w/a")).id("later").after(["w/a"])).await;
    graph.run().await;
    let of = json!({"of": "w/a"});
    let expected = json!([of, {"nested": [null]}, {"$output": "a", "other": 1}]);
    assert_eq!(graph.record("w/told").result, Some(expected.clone()));
    assert_eq!(graph.record("w").result, Some(json!({"got": expected})));
    assert_eq!(graph.record("later").result, Some(of));
    assert_eq!(graph.record("plain").result, Some(json!([{"$output": "x"}])), "without a dependency, it is plain data");
}

#[tokio::test(start_paused = true)]
async fn a_job_refers_only_to_outputs_of_jobs_that_it_waits_for() {
    let flaw = "args: it refers to the output of job b, for which this job does not wait; add the id to `depends_on`";
    let mut told = step("told", &["a"]);
    told["args"] = json!([{"$output": "a"}, {"$output": "b"}]);
    told["needs"] = json!(["outputs"]);
    let reason = Envelope::parse(&workflow(&json!([step("a", &[]), step("b", &[]), told.clone()])).to_string()).expect_err("it is refused");
    assert_eq!(reason.to_string(), format!("jobs[2].{flaw}"));
    let graph = Graph::new();
    let client = graph.local.client();
    let job = Enqueue::named("told", told["args"].clone()).after(["a"]);
    let error = client.enqueue_one(job).await.expect_err("it is refused").to_string();
    assert!(error.ends_with(flaw), "{error}");
    // A message from another language is rejected when its job starts.
    let graph = Graph { jobs: crate::Worker::new(()).job::<Told>().jobs().clone(), ..graph };
    graph.local.queue.send("told", &[Outgoing::new(json!({"name": "told", "id": "b", "args": []}).to_string())]).await;
    told["name"] = json!("told");
    told["depends_on"] = json!(["c"]);
    told["args"] = json!([{"$output": "b"}]);
    graph.local.queue.send("told", &[Outgoing::new(told.to_string())]).await;
    client.complete("c", Value::Null).await.expect("memory answers");
    graph.run().await;
    assert_eq!(graph.record("told").error.expect("an error").message, flaw);
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_jobs_of_a_workflow_may_wait_for_one() {
    let graph = Graph::new();
    let mut jobs = vec![step("fetch", &[])];
    jobs.extend((0..300).map(|number| step(&format!("m{number}"), &["fetch"])));
    graph.send(&workflow(&json!(jobs))).await;
    graph.run().await;
    let runs = graph.runs.all();
    assert_eq!(runs.len(), 302);
    assert_eq!([runs.first(), runs.last()].map(|id| id.map(String::as_str)), [Some("w/fetch"), Some("w")]);
}

#[tokio::test(start_paused = true)]
async fn a_workflow_that_was_recorded_before_runs() {
    let graph = Graph::new();
    let built = crate::Workflow::new(Enqueue::named("probe", json!([crate::output("a")])).id("w").listed()).then(job("a"));
    let built = built.build().expect("a workflow");
    graph.enqueue(built.clone()).await;
    graph.run().await;
    assert_eq!(graph.runs.all(), ["w/a", "w"]);
    let sent = graph.local.client().enqueue_one(built).await.expect("it is sent");
    assert_eq!(sent.first, None, "it is the same workflow");
    graph.run().await;
    assert_eq!(graph.runs.all().len(), 2);
    assert_eq!(graph.dead_letters(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_dead_letter_of_a_closing_job_can_be_redriven() {
    let graph = Graph::new().failing(&["w"]);
    graph.send(&workflow(&json!([step("a", &[])]))).await;
    graph.run().await;
    let letter = crate::Letter::open(graph.local.queue.messages(crate::worker::DLQ).remove(0));
    assert!(matches!(letter.redrive(Some(&graph.record("w")), "probe"), crate::Redrive::Send(_)));
}

#[tokio::test(start_paused = true)]
async fn a_retried_wide_job_waits_for_the_retried_members_again() {
    for when in [When::Ended, When::Failed] {
        let graph = Graph::new().failing(&["w/m7", "w"]);
        let mut body = workflow(&json!(group(0..40)));
        body["when"] = json!(when);
        graph.send(&body).await;
        graph.run().await;
        assert_eq!(graph.states(&["w/m7", "w"]), [State::Failed; 2]);
        lock(&graph.failing).clear();
        let before = graph.runs.all().len();
        assert_eq!(graph.local.client().retry_workflow("w").await.expect("memory answers").map(|ids| ids.len()), Some(2));
        graph.run().await;
        // After the retry, no member has failed.
        let expected = if when == When::Ended { vec!["w/m7", "w"] } else { vec!["w/m7"] };
        assert_eq!(graph.runs.all()[before..], expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_cancel_of_a_workflow_starts_no_handler_and_can_be_taken_back() {
    let graph = Graph::new();
    let client = graph.local.client();
    let mut jobs = group(0..40);
    jobs.extend((0..40).map(|number| {
        let mut handler = step(&format!("handler-{number}"), &[&format!("m{number}")]);
        handler["when"] = json!("failed");
        handler
    }));
    let mut body = workflow(&json!(jobs));
    body["run_at"] = json!(crate::clock::after(graph.local.clock.now(), seconds(7200)).to_string());
    body["expires_at"] = json!(crate::clock::after(graph.local.clock.now(), seconds(9000)).to_string());
    graph.send(&body).await;
    let engine = graph.local.engine(graph.jobs.clone(), Handle::current(), usize::MAX);
    graph.local.run_due(&engine).await.expect("memory answers");
    client.cancel_workflow("w").await.expect("memory answers").expect("it is known");
    graph.run().await;
    assert_eq!(graph.runs.all(), [""; 0]);
    graph.local.clock.advance(seconds(9001));
    let again = client.retry_workflow("w").await.expect("memory answers").expect("it is known");
    assert_eq!(again.len(), 81);
    graph.run().await;
    assert_eq!(graph.runs.all().len(), 41, "no member fails, so no handler runs");
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_one_job_of_a_group_and_of_its_closing_job_completes_it() {
    let graph = Graph::new().failing(&["m7"]);
    let client = graph.local.client();
    let members = (0..450).map(|number| job(&format!("m{number}")));
    client.enqueue_group(job("close").otherwise(Otherwise::Cancel), members).await.expect("memory answers");
    graph.run().await;
    assert_eq!(graph.states(&["m7", "close"]), [State::Failed, State::Cancelled]);
    lock(&graph.failing).clear();
    for id in ["close", "m7"] {
        assert!(client.retry(job(id)).await.expect("memory answers"));
        graph.run().await;
    }
    assert_eq!(graph.states(&["m7", "close"]), [State::Succeeded, State::Cancelled], "its message came too early");
    assert!(client.retry(job("close")).await.expect("memory answers"));
    graph.run().await;
    assert_eq!(graph.record("close").state, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_workflow_under_the_id_of_another_job_sends_nothing() {
    let graph = Graph::new();
    graph.enqueue(job("w")).await;
    graph.run().await;
    graph.send(&workflow(&json!([step("a", &[])]))).await;
    graph.run().await;
    assert_eq!(graph.ids(), ["w"]);
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_used_again_after_its_records_are_gone_waits_again() {
    let graph = Graph::new();
    let body = workflow(&json!(group(0..40)));
    for _ in 0..2 {
        graph.send(&body).await;
        graph.run().await;
        assert_eq!(graph.runs.all().last().map(String::as_str), Some("w"));
        graph.local.clock.advance(Duration::from_hours(24 * 31));
        for id in graph.ids() {
            graph.local.store.delete(&id);
        }
    }
    assert_eq!(graph.runs.all().len(), 82);
}

#[tokio::test(start_paused = true)]
async fn a_small_group_counts_members_that_are_recorded_on_trouble_only() {
    let graph = Graph::new();
    let mut jobs = graph.jobs.clone();
    let policy = Policy { recording: crate::Recording::OnTrouble, ..Policy::new() };
    jobs.add(Arc::new(Scripted::new("probe", policy, async |_| Ok(Value::Null))));
    let graph = Graph { jobs, ..graph };
    graph.local.client().enqueue_group(job("close"), (0..5).map(|number| job(&format!("m{number}")))).await.expect("memory answers");
    graph.send(&workflow(&json!([step("a", &[])]))).await;
    graph.run().await;
    assert_eq!(graph.states(&["close", "w", "w/a"]), [State::Succeeded; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_workflow_that_the_table_cannot_keep_is_refused() {
    let graph = Graph::new();
    let mut large = step("a", &[]);
    large["args"] = json!("x".repeat(380_000));
    graph.send(&workflow(&json!([large.clone()]))).await;
    graph.run().await;
    assert!(graph.dead_letters()[0].starts_with("jobs: the message has 380"), "{:?}", graph.dead_letters());
    let built = crate::Workflow::new(job("v")).then(Enqueue::named("probe", large["args"].clone())).build().expect("a workflow");
    let error = graph.local.client().enqueue_one(built).await.expect_err("it is refused").to_string();
    assert!(error.contains("jobs: the message has 380"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_retry_whose_records_are_gone_says_so() {
    let graph = Graph::new().failing(&["w/b"]);
    graph.send(&workflow(&json!([step("a", &[]), step("b", &["a"])]))).await;
    graph.run().await;
    graph.local.clock.advance(Duration::from_hours(24 * 20));
    graph.local.store.delete("w/a");
    let error = graph.local.client().retry_workflow("w").await.expect_err("it is refused").to_string();
    assert!(error.contains("the table has deleted the record of its job \"w/a\""), "{error}");
}

/// The request of a worker that sends the jobs of a small workflow.
const SEND: usize = 3;

#[tokio::test(start_paused = true)]
async fn an_expansion_that_does_not_end_within_a_day_becomes_a_dead_letter() {
    // The process dies before or after it sends the jobs, and before it writes the record of the closing job.
    for (died_at, messages) in [(SEND - 1, 1), (SEND, 3)] {
        let graph = Graph::new();
        graph.send(&workflow(&json!([step("a", &[]), step("b", &["a"])]))).await;
        assert!(deliver(&graph, &Mortal::new(&graph, died_at, true)).await, "the process dies");
        assert_eq!((graph.local.queue.messages(QUEUE).len(), graph.ids()), (messages, vec![]));
        graph.local.clock.advance(Duration::from_hours(25));
        graph.run().await;
        assert_eq!((graph.record("w").state, graph.kind("w")), (State::Failed, "expansion".to_owned()));
        let reason = "not all jobs of the workflow were sent within 24 hours; the logs of its function show why. Redrive this message, or \
                      send the other jobs with `sqjobs retry --tree`";
        assert_eq!(graph.dead_letters(), [reason]);
        let client = graph.local.client();
        assert!(client.retry(job("w")).await.is_err(), "the closing job would run without the others");
        client.retry_workflow("w").await.expect("memory answers").expect("it is known");
        graph.run().await;
        assert_eq!(graph.states(&["w/a", "w/b", "w"]), [State::Succeeded; 3]);
        assert_eq!(graph.runs.all(), ["w/a", "w/b", "w"], "died at {died_at}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_redriven_workflow_has_another_day_to_send_its_jobs() {
    let graph = Graph::new();
    graph.send(&workflow(&json!([step("a", &[])]))).await;
    assert!(deliver(&graph, &Mortal::new(&graph, SEND - 1, true)).await, "the process dies");
    graph.local.clock.advance(Duration::from_hours(25));
    graph.run().await;
    let letter = graph.local.queue.messages(crate::worker::DLQ).pop().expect("a dead letter");
    let redriven = Outgoing { attributes: letter.attributes, ..Outgoing::new(letter.body) };
    graph.local.queue.send(QUEUE, &[redriven]).await.pop().expect("an answer").expect("it is sent");
    graph.run().await;
    assert_eq!(graph.runs.all(), ["w/a", "w"]);
}

#[tokio::test(start_paused = true)]
async fn another_workflow_under_an_old_id_leaves_the_plan_of_waiting_jobs() {
    let graph = Graph::new().failing(&["w/a"]);
    graph.send(&workflow(&json!([step("a", &[]), step("b", &["a"])]))).await;
    graph.run().await;
    graph.local.clock.advance(Duration::from_hours(24 * 16));
    graph.send(&workflow(&json!([step("other", &[])]))).await;
    graph.run().await;
    assert_eq!(graph.ids(), ["w", "w/a", "w/b"], "the other one is discarded");
    lock(&graph.failing).clear();
    let retried = graph.local.client().retry_workflow("w").await.expect("memory answers");
    assert_eq!(retried, Some(vec!["w/a".to_owned()]));
    graph.run().await;
    assert_eq!(graph.runs.all(), ["w/a", "w/a", "w/b", "w"]);
}

#[tokio::test(start_paused = true)]
async fn another_group_under_an_old_id_leaves_the_nodes_of_waiting_jobs() {
    let graph = Graph::new().failing(&["m1"]);
    let client = graph.local.client();
    let members = |from: usize| (from..from + 25).map(|number| job(&format!("m{number}")));
    client.enqueue_group(job("close"), members(0)).await.expect("memory answers");
    graph.run().await;
    graph.local.clock.advance(Duration::from_hours(24 * 16));
    let refused = client.enqueue_group(job("close"), members(100)).await.expect_err("it is refused").to_string();
    assert!(refused.contains("another group has this id"), "{refused}");
    client.enqueue_group(job("close"), members(0)).await.expect("the same group is no other one");
    lock(&graph.failing).clear();
    assert!(client.retry(job("m1")).await.expect("memory answers"));
    graph.run().await;
    assert_eq!(graph.record("close").state, State::Succeeded);
}
