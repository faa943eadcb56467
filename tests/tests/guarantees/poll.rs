//! Workers that receive their messages themselves.

use std::{collections::BTreeMap, net::TcpListener};

use http_body_util::Full;
use hyper::{Request, body::Bytes};
use serde_json::{Value, json};

use crate::{
    function::Function,
    http,
    polled::Polled,
    wait,
    world::{PATIENCE, World},
};

/// Starts a worker of the world's queue.
fn start(world: &World, options: &[&str]) -> Polled {
    Polled::start(world, &Function::probe(), options)
}

/// Waits until so many runs have begun.
async fn runs(world: &World, count: usize) {
    wait::until("jobs run", PATIENCE, async || {
        let runs = world.effects.runs();
        if runs.len() == count { Ok(()) } else { Err(format!("{runs:#?}")) }
    })
    .await;
}

/// Waits until the worker has written a log line with this text.
async fn says(worker: &Polled, text: &str) {
    wait::until(text, PATIENCE, async || {
        let printed = worker.printed();
        if printed.iter().any(|line| line.contains(text)) { Ok(()) } else { Err(format!("{printed:#?}")) }
    })
    .await;
}

/// Returns the status and the body of a health check.
async fn health(address: &str) -> (u16, Value) {
    let request = Request::get(format!("http://{address}/health")).header("host", address).body(Full::<Bytes>::default());
    let response = http::send(request.expect("a request")).await.expect("it answers");
    (response.status().as_u16(), serde_json::from_slice(response.body()).expect("JSON"))
}

#[test]
fn workers_and_a_function_on_one_queue_run_each_job_once() {
    World::setup().test(async |world| {
        let jobs: Vec<_> = (0..60).map(|number| world.probe(&format!("job-{number}"), &json!({}))).collect();
        world.send_all(&jobs).await;
        world.send_all(&jobs).await;
        let workers = [start(world, &[]), start(world, &["--concurrency", "3"])];
        world.deploy(&Function::probe()).await;
        for number in 0..60 {
            world.record_in(&format!("job-{number}"), "succeeded").await;
        }
        world.drained().await;
        assert_eq!(world.effects.runs().len(), 60);
        for worker in &workers {
            worker.signal("TERM");
            assert_eq!(worker.ended(), Some(0));
        }
    });
}

#[test]
fn after_a_signal_a_worker_finishes_its_jobs_and_takes_no_more() {
    World::setup().test(async |world| {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").to_string();
        let ready = world.effects.gate().with_extension("ready");
        let worker = start(world, &["--concurrency", "2", "--health", &address, "--ready-file", ready.to_str().expect("text")]);
        let orders = json!({"act": {"wait_for": world.effects.gate()}});
        world.send_all(&["a", "b", "c"].map(|id| world.probe(id, &orders))).await;
        runs(world, 2).await;
        assert!(ready.exists());
        let answer = health(&address).await;
        assert_eq!((answer.0, &answer.1["status"], &answer.1["running"]), (200, &json!("ok"), &json!(2)));
        worker.signal("TERM");
        says(&worker, "stopping").await;
        assert!(!ready.exists());
        let answer = health(&address).await;
        assert_eq!((answer.0, &answer.1["status"]), (503, &json!("stopping")));
        world.effects.open_the_gate();
        assert_eq!(worker.ended(), Some(0));
        let states = world.records().await.into_iter().map(|(id, record)| (id, record.state)).collect::<BTreeMap<_, _>>();
        assert_eq!(states.values().collect::<Vec<_>>(), ["succeeded"; 2], "{states:?}");
        let left = world.messages().await;
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left[0].receives, 0, "it was never received");
    });
}

#[test]
fn a_job_that_outlives_its_worker_goes_on_elsewhere_and_loses_no_attempt() {
    World::setup().test(async |world| {
        let worker = start(world, &[]);
        world
            .send_all(&[
                world.probe("waits", &json!({"act": {"wait_for": world.effects.gate()}})),
                world.probe("saves", &json!({"act": "resume"})),
            ])
            .await;
        runs(world, 2).await;
        wait::until("the checkpoint is stored", PATIENCE, async || {
            let item = world.item("saves").await;
            if item.contains_key("checkpoint") { Ok(()) } else { Err(format!("{item:?}")) }
        })
        .await;
        worker.signal("INT");
        says(&worker, "stopping").await;
        worker.signal("INT");
        assert_eq!(worker.ended(), Some(0));
        for id in ["waits", "saves"] {
            let record = world.record(id).await.expect("a record");
            assert_eq!((&*record.state, record.attempts), ("queued", 0), "{record:?}");
        }
        world.effects.open_the_gate();
        let worker = start(world, &["--drain"]);
        assert_eq!(worker.ended(), Some(0), "the messages are visible at once");
        for id in ["waits", "saves"] {
            let record = world.record(id).await.expect("a record");
            assert_eq!((&*record.state, record.attempts), ("succeeded", 1), "{record:?}");
            assert_eq!(world.effects.runs_of(id).len(), 2);
        }
    });
}

#[test]
fn a_worker_that_drains_ends_after_the_last_job_and_its_children() {
    World::setup().test(async |world| {
        let mut jobs: Vec<_> = (0..25).map(|number| world.probe(&format!("job-{number}"), &json!({}))).collect();
        jobs.push(world.probe("parent", &json!({"act": {"enqueue_to": "probes"}})));
        world.send_all(&jobs).await;
        assert_eq!(start(world, &["--drain"]).ended(), Some(0));
        let records = world.records().await;
        assert_eq!(records.len(), 27);
        assert!(records.contains_key("parent-child"));
        assert!(records.values().all(|record| record.state == "succeeded"), "{records:#?}");
        assert_eq!(world.messages().await.len(), 0, "all are deleted");
    });
}

#[test]
fn a_worker_recycles_itself_after_so_many_jobs_or_so_much_memory() {
    World::setup().test(async |world| {
        world.send_all(&(0..7).map(|number| world.probe(&format!("job-{number}"), &json!({}))).collect::<Vec<_>>()).await;
        assert_eq!(start(world, &["--max-jobs", "3"]).ended(), Some(0));
        assert_eq!(world.effects.runs().len(), 3);
        assert_eq!(world.messages().await.iter().filter(|message| message.receives == 0).count(), 4);
        let worker = start(world, &["--max-memory", "1", "--concurrency", "1"]);
        assert_eq!(worker.ended(), Some(0));
        says(&worker, "the maximum memory is reached").await;
        assert_eq!(world.effects.runs().len(), 4);
    });
}

#[test]
fn a_job_of_a_killed_worker_starts_again_once_its_message_is_visible() {
    World::setup().test(async |world| {
        let mut worker = start(world, &["--visibility", "15s"]);
        world.send(world.probe("a", &json!({"act": {"wait_for": world.effects.gate()}}))).await;
        runs(world, 1).await;
        worker.kill();
        world.effects.open_the_gate();
        let _other = start(world, &["--visibility", "15s"]);
        let record = world.record_in("a", "succeeded").await;
        assert_eq!((record.attempts, world.effects.runs().len()), (2, 2));
    });
}

#[test]
fn a_message_stays_invisible_while_its_job_runs() {
    World::setup().test(async |world| {
        let _worker = start(world, &["--visibility", "15s"]);
        let orders = json!({"act": {"wait_for": world.effects.gate()}});
        world.send_all(&[world.probe("a", &orders), world.job("quiet", "b", &orders)]).await;
        let beats = || world.proxy.passed("ChangeMessageVisibility").len();
        wait::until(
            "both messages were kept for twice their time",
            PATIENCE,
            async || {
                if beats() >= 8 { Ok(()) } else { Err(beats().to_string()) }
            },
        )
        .await;
        world.effects.open_the_gate();
        world.record_in("a", "succeeded").await;
        world.drained().await;
        assert_eq!(world.effects.runs().len(), 2);
        let receives = world.proxy.passed("ReceiveMessage").len();
        assert!(receives < 20, "an idle worker asks rarely: {receives}");
    });
}

#[test]
fn a_job_that_blocks_its_thread_ends_the_worker_but_not_the_other_jobs() {
    World::setup().test(async |world| {
        let worker = start(world, &[]);
        world.send(world.probe("patient", &json!({"act": {"wait_for": world.effects.gate()}}))).await;
        runs(world, 1).await;
        world.send(world.job("hasty", "blocked", &json!({"act": "block", "until": 2}))).await;
        says(&worker, "a job blocks its thread").await;
        assert_eq!(worker.ended(), Some(1));
        world.effects.open_the_gate();
        let _other = start(world, &[]);
        let patient = world.record_in("patient", "succeeded").await;
        assert_eq!((patient.attempts, world.effects.runs_of("patient").len()), (1, 2), "it was interrupted, and lost no attempt");
        assert_eq!(world.record("blocked").await.expect("a record").history[0].kind, "timeout");
    });
}

#[test]
fn several_queues_are_polled_in_their_order() {
    World::setup().test(async |world| {
        let (_, other, _) = world.other_queues().await;
        let urgent = world.queues.url.replace("probes", &other);
        let send = async |url: &str, id: &str| {
            let send = world.account.sqs.send_message().queue_url(url).message_body(world.probe(id, &json!({})).to_string());
            send.send().await.expect("the queue takes a message");
        };
        for number in 0..5 {
            send(&world.queues.url, &format!("usual-{number}")).await;
            send(&urgent, &format!("urgent-{number}")).await;
        }
        let options = ["--queue", &other, "--queue", "probes", "--order", "strict", "--concurrency", "1", "--drain"];
        assert_eq!(start(world, &options).ended(), Some(0));
        let ids = world.effects.ids();
        assert!(ids[..5].iter().all(|id| id.starts_with("urgent")), "{ids:?}");
        assert_eq!(ids.len(), 10);
    });
}

#[test]
fn a_wrong_setting_or_a_missing_queue_ends_the_worker_with_one_sentence() {
    World::setup().test(async |world| {
        let said = |options: &[&str]| {
            let worker = start(world, options);
            let status = worker.ended();
            (status, worker.printed().join("\n"))
        };
        let (status, printed) = said(&["--queue", "nowhere"]);
        assert_eq!(status, Some(1));
        assert!(printed.contains("queue nowhere"), "{printed}");
        let (status, printed) = said(&["--queue", "probes", "--queue", &world.queues.url]);
        assert_eq!(status, Some(1));
        assert!(printed.contains("queue probes is named twice"), "{printed}");
        let (status, printed) = said(&["--visibility", "1s"]);
        assert_eq!(status, Some(1));
        assert!(printed.contains("set it to 15 s to 12 hours"), "{printed}");
        let (status, printed) = said(&["--drian"]);
        assert_eq!(status, Some(2));
        assert!(printed.contains("'--drain'"), "{printed}");
        let (status, printed) = said(&["--help"]);
        assert_eq!(status, Some(0));
        assert!(printed.contains("SIGTERM"), "{printed}");
    });
}
