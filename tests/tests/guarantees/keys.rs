//! Jobs that share keys, in deployed functions.

use std::{
    collections::BTreeSet,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use jiff::ToSpan;
use serde_json::{Value, json};
use sqjobs::{Client, Clock, Enqueue, Enqueued, Keys, OnConflict, queue::Sqs};

use crate::{
    cli::sqjobs,
    due::now,
    function::Function,
    producer::python,
    proxy::{Fault, Hold},
    wait,
    world::{PATIENCE, World},
};

/// Returns the message of a probe with keys.
fn keyed(world: &World, id: &str, orders: &Value, keys: &Value) -> Value {
    with_fields(world.probe(id, orders), keys)
}

fn with_fields(mut message: Value, keys: &Value) -> Value {
    message["needs"] = json!(["keys"]);
    for (field, value) in keys.as_object().expect("fields") {
        message[field] = value.clone();
    }
    message
}

fn client(world: &World) -> Client {
    let queue = Sqs::new(world.account.sqs.clone());
    Client::new(Arc::new(queue), Arc::new(world.store()), Clock::system(), "")
}

/// Returns the ids of the jobs in this state.
async fn in_state(world: &World, state: &str) -> BTreeSet<String> {
    world.records().await.into_iter().filter(|(_, record)| record.state == state).map(|(id, _)| id).collect()
}

#[test]
fn no_more_jobs_than_the_limit_run_at_a_time() {
    World::setup().visibility_s(720).test(async |world| {
        world.deploy(&Function::probe().timeout(Duration::from_mins(2))).await;
        let orders = json!({"act": {"wait_for": world.effects.gate()}});
        let ids: Vec<_> = (0..6).map(|number| format!("job-{number}")).collect();
        let limit = json!({"limit_key": "service", "limit": 2});
        let jobs: Vec<_> = ids.iter().map(|id| keyed(world, id, &orders, &limit)).collect();
        world.send_all(&jobs).await;
        wait::until("four jobs wait", PATIENCE, async || {
            let blocked = in_state(world, "blocked").await;
            if blocked.len() == 4 { Ok(()) } else { Err(format!("{blocked:?}")) }
        })
        .await;
        assert_eq!(world.effects.ids().len(), 2, "the others do not run");
        let blocked = in_state(world, "blocked").await;
        let first = blocked.first().expect("a job").clone();
        let explained = sqjobs(world, &["explain", &first]).yes();
        assert!(explained.contains("It waits for the limit key service: 2 of 2 jobs hold it, by \"job-"), "{explained}");
        let waiting = sqjobs(world, &["list", "--key", "service", "--json"]).json();
        assert_eq!(waiting.iter().map(|job| job["id"].as_str().unwrap_or_default().to_owned()).collect::<BTreeSet<_>>(), blocked);
        let shown = sqjobs(world, &["limit", "list", "--json"]).json();
        assert_eq!(
            (&shown[0]["key"], &shown[0]["limit"], shown[0]["waiting"].as_array().map(Vec::len)),
            (&json!("service"), &json!(2), Some(4))
        );
        // An operator lets a third job run.
        let set = sqjobs(world, &["limit", "set", "service", "3"]).yes();
        assert!(set.starts_with("limit key service: 3 jobs run at a time (set by an operator; the jobs declare 2)"), "{set}");
        wait::until("a third job runs", PATIENCE, async || match world.effects.ids().len() {
            3 => Ok(()),
            runs => Err(format!("{runs} runs")),
        })
        .await;
        assert_eq!(in_state(world, "blocked").await.len(), 3);
        world.effects.open_the_gate();
        for id in &ids {
            let record = world.record_in(id, "succeeded").await;
            assert_eq!(record.attempts as usize, world.effects.runs_of(id).len(), "{id} spent an attempt by waiting");
        }
        world.drained().await;
        let shown = sqjobs(world, &["limit", "clear", "service", "--json"]).json();
        assert_eq!((&shown[0]["holders"], &shown[0]["waiting"], &shown[0]["set"]), (&json!([]), &json!([]), &Value::Null));
        assert!(sqjobs(world, &["limit", "show", "nobody"]).no().contains("no job has used the limit key or the rate key nobody"));
    });
}

#[test]
fn functions_that_share_a_rate_never_start_more_than_it_allows() {
    World::setup().visibility_s(720).test(async |world| {
        world.deploy(&Function::probe()).await;
        let queues = world.deploy_with_queues(Function::adder()).await;
        let beater = Function::beater();
        world.deploy_beater(&beater).await;
        let interval = Duration::from_millis(500);
        let rate = json!({"rate_key": "service", "rate": {"limit": 2, "period_s": 1}, "needs": ["rates"]});
        let [probes, adders] = ["probe", "adder"].map(|name| (0..6).map(move |number| format!("{name}-{number}")).collect::<Vec<_>>());
        for (probe, adder) in probes.iter().zip(&adders) {
            world.send(keyed(world, probe, &json!({}), &rate)).await;
            let message = with_fields(json!({"name": "adder", "id": adder, "args": [1, 2]}), &rate);
            world.account.sqs.send_message().queue_url(&queues.url).message_body(message.to_string()).send().await.expect("it is sent");
        }
        let mut starts = Vec::new();
        wait::until("each job ends", 2 * PATIENCE, async || {
            world.tick(&beater, Clock::system().now()).await;
            match in_state(world, "succeeded").await.len() {
                12 => Ok(()),
                ended => Err(format!("{ended} have succeeded")),
            }
        })
        .await;
        for id in probes.iter().chain(&adders) {
            let record = world.record_in(id, "succeeded").await;
            assert_eq!((record.attempts, record.generation), (1, 1), "{id}");
            starts.extend(record.started_at);
        }
        world.drained().await;
        for id in &probes {
            assert_eq!(world.effects.runs_of(id).len(), 1, "{id}");
        }
        starts.sort_unstable();
        assert_eq!(starts.len(), 12);
        for (first, earlier) in starts.iter().enumerate() {
            for (count, later) in (0_u32..).zip(&starts[first..]) {
                // A record names the instant after the write that uses up the rate. That write takes less than an interval.
                let elapsed = later.duration_since(*earlier).unsigned_abs() + interval;
                assert!(elapsed >= interval * count, "{} starts between {earlier} and {later}", count + 1);
            }
        }
    });
}

#[test]
fn an_operator_sets_and_clears_the_rate_of_a_key_for_which_jobs_wait() {
    World::setup().visibility_s(720).test(async |world| {
        world.deploy(&Function::probe()).await;
        let set = sqjobs(world, &["limit", "set", "mail", "1/1h", "--burst", "1"]).yes();
        assert_eq!(set, "rate key mail: 1/1h (set by an operator); 0 wait\n");
        let args = world.probe("", &json!({}))["args"].to_string();
        for id in ["a", "b"] {
            let enqueue = ["enqueue", "probe", &args, "--queue", "probes", "--id", id];
            sqjobs(world, &[&enqueue[..], &["--rate-key", "mail", "--rate", "50/1s", "--burst", "9"]].concat()).yes();
            let state = if id == "a" { "succeeded" } else { "blocked" };
            world.record_in(id, state).await;
        }
        let explained = sqjobs(world, &["explain", "b"]).yes();
        assert!(explained.contains("It waits for the rate key mail, which allows 1 attempt in 1h. Jobs before it: 0."), "{explained}");
        let [rates, waits] = [&["limit", "list", "--json"][..], &["stats", "--json"]].map(|list| sqjobs(world, list).json());
        let declared = json!({"limit": 50, "period_s": 1.0, "burst": 9});
        let set = json!({"limit": 1, "period_s": 3600.0, "burst": 1});
        assert_eq!(rates, [json!({"kind": "rate", "key": "mail", "rate": set, "declared": declared, "set": set, "waiting": ["b"]})]);
        let waits: Vec<_> = waits.iter().filter(|line| line["queue"].is_null()).collect();
        assert_eq!((waits.len(), &waits[0]["waits_for"], &waits[0]["jobs"]), (1, &json!("the rate key mail"), &json!(1)));
        assert!(sqjobs(world, &["stats"]).yes().contains("rate key mail  1"));
        assert!(!sqjobs(world, &["stats", "probes"]).yes().contains("mail"));
        let shown = sqjobs(world, &["limit", "show", "mail"]).yes();
        assert_eq!(shown, "rate key mail: 1/1h (set by an operator; the jobs declare 50/1s, burst 9); 1 wait\nwaits  b\n");
        // A limit key with this name is another key.
        let paused = sqjobs(world, &["limit", "set", "mail", "0"]);
        assert!(paused.said.contains("To set the rate key with this name, write a rate such as 5/1s"), "{}", paused.said);
        let table = sqjobs(world, &["limit", "list"]).yes();
        let rows: Vec<Vec<_>> = table.lines().map(|row| row.split_whitespace().collect()).collect();
        assert_eq!(
            rows[1..],
            [vec!["limit", "mail", "0", "-", "0", "0", "0"], vec!["rate", "mail", "1/1h", "50/1s,", "burst", "9", "1/1h", "-", "1"]]
        );
        let cleared = sqjobs(world, &["limit", "clear", "mail"]).yes();
        assert!(
            cleared.starts_with("limit key mail: the jobs declare the limit; ") && cleared.contains("\nrate key mail: 50/1s, burst 9 (as "),
            "{cleared}"
        );
        world.record_in("b", "succeeded").await;
        assert!(sqjobs(world, &["limit", "clear", "mail"]).no().contains("no limit and no rate was set for the key mail"));
        assert!(sqjobs(world, &["limit", "set", "mail", "5", "--burst", "2"]).error().contains("--burst is for a rate"));
        assert!(sqjobs(world, &["limit", "set", "mail", "101/1s"]).error().contains("101 in 1 s is more than 100 a second"));
    });
}

#[test]
fn exclusive_jobs_run_one_by_one_wherever_functions_are_cut_off() {
    World::setup().visibility_s(6).test(async |world| {
        world.deploy(&Function::probe()).await;
        let beater = Function::beater();
        world.deploy_beater(&beater).await;
        let mut rounds = 0;
        loop {
            let ids = ["a", "b", "c"].map(|name| format!("{name}-{rounds}"));
            let key = json!({"exclusive_key": format!("customer-{rounds}"), "max_attempts": 9});
            world.proxy.cut_after(rounds);
            world.send_together(&ids.each_ref().map(|id| keyed(world, id, &json!({}), &key))).await;
            rounds += 1;
            let mut was_cut = false;
            wait::until("each job ends", 2 * PATIENCE, async || {
                was_cut |= world.proxy.mend_if_cut();
                if was_cut {
                    world.tick(&beater, Clock::system().now()).await;
                }
                for id in &ids {
                    let state = world.record(id).await.map(|record| record.state);
                    if state.as_deref() != Some("succeeded") {
                        return Err(format!("{id} is {state:?}"));
                    }
                }
                Ok(())
            })
            .await;
            for id in &ids {
                let seen = world.effects.runs_of(id).len();
                // A process that cannot record its success repeats the body.
                assert!(seen == 1 || was_cut && seen == 2, "{id} ran {seen} times");
            }
            if !was_cut {
                break;
            }
        }
        world.proxy.mend();
        world.drained().await;
        assert!(rounds > 8, "{rounds} places to die");
    });
}

#[test]
fn of_two_hundred_enqueues_with_one_unique_key_one_job_runs() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        // The first job stays unfinished until an operator lets it start.
        sqjobs(world, &["limit", "set", "gate", "0"]).yes();
        let args = world.probe("", &json!({}))["args"].clone();
        let client = client(world);
        let jobs = (0..120).map(|number| {
            let job = Enqueue::named("probe", args.clone()).queue("probes").id(format!("rust-{number}"));
            client.enqueue_one(job.keys(Keys::new().unique("report").limit("gate", 1)))
        });
        let answers = join_all(jobs).await;
        python(world, &["unique", &args.to_string(), "70"]);
        for number in 0..10 {
            let id = format!("command-{number}");
            let refused =
                sqjobs(world, &["enqueue", "probe", &args.to_string(), "--queue", "probes", "--id", &id, "--unique-key", "report"]).no();
            assert!(refused.contains("is not enqueued: job ") && refused.contains("holds its unique key"), "{refused}");
        }
        let told = answers.into_iter().filter(|answer| answer.as_ref().is_ok_and(|sent| sent.holder.is_some())).count();
        assert!(told > 100, "{told} producers were told of the holder");
        wait::until("all others are dropped", PATIENCE, async || match in_state(world, "cancelled").await.len() {
            199 => Ok(()),
            dropped => Err(format!("{dropped} are dropped")),
        })
        .await;
        assert_eq!(world.effects.ids().len(), 0);
        sqjobs(world, &["limit", "clear", "gate"]).yes();
        wait::until("it runs", PATIENCE, async || match in_state(world, "succeeded").await.len() {
            1 => Ok(()),
            ended => Err(format!("{ended} have succeeded")),
        })
        .await;
        world.drained().await;
        assert_eq!(world.effects.ids().len(), 1);
        let next = Enqueue::named("probe", args).queue("probes").id("next").keys(Keys::new().unique("report"));
        assert_eq!(client.enqueue_one(next).await.expect("it is enqueued").holder, None);
        world.record_in("next", "succeeded").await;
        assert_eq!(world.effects.ids().len(), 2);
    });
}

#[test]
fn changes_of_keys_whose_answers_are_lost_are_repeated() {
    World::setup().test(async |world| {
        for part in ["set_add", "set_delete", "purge_at"] {
            for fault in [Fault::swallow("BatchExecuteStatement", part), Fault::refuse("BatchExecuteStatement", part)] {
                world.proxy.arm(fault);
            }
        }
        let key = json!({"limit_key": "service", "limit": 1});
        world.send_all(&["a", "b", "c"].map(|id| keyed(world, id, &json!({}), &key))).await;
        world.deploy(&Function::probe()).await;
        for id in ["a", "b", "c"] {
            world.record_in(id, "succeeded").await;
            assert_eq!(world.effects.runs_of(id).len(), 1);
        }
        assert!(world.proxy.is_spent(), "each fault happened");
    });
}

#[test]
fn a_redriven_job_waits_for_the_key_that_it_lost_when_it_failed() {
    World::setup().visibility_s(720).test(async |world| {
        world.deploy(&Function::probe().timeout(Duration::from_mins(2))).await;
        for (kind, key) in [("limit", json!({"limit_key": "service", "limit": 1})), ("exclusive", json!({"exclusive_key": "customer"}))] {
            let [first, second] = ["a", "b"].map(|name| format!("{name}-{kind}"));
            let [mended, gate] = ["mended", "gate"].map(|name| world.effects.file().with_file_name(format!("{name}-{kind}")));
            let mut failing = keyed(world, &first, &json!({"act": {"fail_until": mended}}), &key);
            failing["max_attempts"] = json!(1);
            world.send(failing).await;
            world.record_when(&first, "is dead-lettered", |record| record.dlq.as_deref() == Some("sent")).await;
            world.drained().await;
            world.send(keyed(world, &second, &json!({"act": {"wait_for": gate}}), &key)).await;
            world.record_in(&second, "running").await;
            fs::write(&mended, "").expect("the file can be written");
            let letters = world.dead_letters().await;
            let letter = letters.iter().find(|letter| letter.attribute("sqjobs.id") == first).expect("a dead letter");
            world.redrive(letter).await;
            world.record_in(&first, "blocked").await;
            assert_eq!(world.effects.runs_of(&first).len(), 1, "it does not run beside {second}");
            fs::write(&gate, "").expect("the file can be written");
            let [first, second] = [world.record_in(&first, "succeeded").await, world.record_in(&second, "succeeded").await];
            assert_eq!((first.attempts, second.attempts), (1, 1), "an attempt was spent by waiting");
            world.drained().await;
        }
        assert_eq!(world.effects.runs().len(), 6);
        let shown = sqjobs(world, &["limit", "show", "service", "--json"]).json();
        assert_eq!((&shown[0]["holders"], &shown[0]["waiting"]), (&json!([]), &json!([])), "a slot is left");
    });
}

#[test]
fn a_holder_that_expires_between_two_attempts_frees_its_key() {
    World::setup().visibility_s(720).test(async |world| {
        world.deploy(&Function::probe()).await;
        let exclusive = json!({"exclusive_key": "customer"});
        let mut expiring = keyed(world, "a", &json!({"act": "fail"}), &exclusive);
        expiring["max_attempts"] = json!(100);
        expiring["expires_at"] = json!(now() + 4.seconds());
        world.send(expiring).await;
        world.record_when("a", "has failed once", |record| record.attempts > 0).await;
        world.send(keyed(world, "b", &json!({}), &exclusive)).await;
        world.record_in("b", "blocked").await;
        let expired = world.record_in("a", "expired").await;
        let next = world.record_in("b", "succeeded").await;
        assert_eq!((next.attempts, world.effects.runs_of("b").len()), (1, 1));
        assert!(next.started_at >= expired.finished_at, "it waited until the first job had expired");
        world.drained().await;
    });
}

/// Returns a job that replaces the arguments of the one with its key, and that notes its runs in this file.
fn latest(world: &World, id: &str, file: &str) -> Enqueue {
    let args = json!({"effects": world.effects.file().with_file_name(file)});
    let key = format!("report-{}", id.trim_start_matches(['a', 'b']));
    Enqueue::named("probe", args).queue("probes").id(id).keys(Keys::new().unique(key).on_conflict(OnConflict::Replace))
}

/// Returns the ids of the jobs that have run with the arguments that name this file.
fn ran(world: &World, file: &str) -> Vec<String> {
    let lines = fs::read_to_string(world.effects.file().with_file_name(file)).unwrap_or_default();
    lines.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

#[test]
fn a_claim_that_meets_a_replacement_runs_the_new_arguments_only() {
    World::setup().visibility_s(720).test(async |world| {
        let client = client(world);
        let claim = Hold::default();
        // The library sends a claim again if there is no answer for a second.
        for _ in 0..5 {
            world.proxy.arm(Fault::hold("BatchExecuteStatement", &claim));
        }
        client.enqueue_one(latest(world, "a1", "old")).await.expect("it is enqueued");
        world.deploy(&Function::probe()).await;
        claim.arrived().await;
        let second = client.enqueue_one(latest(world, "b1", "new")).await.expect("an answer");
        claim.release();
        assert_eq!((second.holder.as_deref(), second.replaced), (Some("a1"), true));
        assert_eq!(world.record_in("a1", "succeeded").await.attempts, 1);
        world.drained().await;
        assert_eq!((ran(world, "new"), ran(world, "old")), (vec!["a1".to_owned()], vec![]));
    });
}

#[test]
fn a_replacement_racing_a_claim_runs_the_old_or_the_new_arguments() {
    World::setup().visibility_s(720).test(async |world| {
        world.deploy(&Function::probe()).await;
        let client = client(world);
        let mut answers: Vec<Enqueued> = Vec::new();
        // The claim comes some tens of milliseconds after the message.
        for round in 0..60_u64 {
            client.enqueue_one(latest(world, &format!("a{round}"), "old")).await.expect("it is enqueued");
            tokio::time::sleep(Duration::from_millis(round % 12 * 4)).await;
            answers.push(client.enqueue_one(latest(world, &format!("b{round}"), "new")).await.expect("an answer"));
        }
        for round in 0..60 {
            world.record_in(&format!("a{round}"), "succeeded").await;
        }
        world.drained().await;
        let (old, new) = (ran(world, "old"), ran(world, "new"));
        let mut counts = [0; 3];
        for (round, answer) in answers.iter().enumerate() {
            let [a, b] = ["a", "b"].map(|name| format!("{name}{round}"));
            let runs = [(&old, &a), (&new, &a), (&new, &b)].map(|(ran, id)| ran.iter().filter(|other| *other == id).count());
            let (expected, answer) = match (answer.holder.as_deref(), answer.replaced) {
                (Some(holder), true) if holder == a => ([0, 1, 0], 0),
                (Some(holder), false) if holder == a => ([1, 0, 0], 1),
                // The first job had ended.
                (None, false) => ([1, 0, 1], 2),
                other => panic!("{other:?}"),
            };
            assert_eq!(runs, expected, "round {round}: {answer:?}");
            counts[answer] += 1;
        }
        println!("{} replaced, {} had started, {} had ended", counts[0], counts[1], counts[2]);
    });
}

/// Run by `./check --full`.
#[test]
#[ignore = "takes minutes: tests/deep.sh runs it"]
fn a_thousand_jobs_share_a_key_one_at_a_time() {
    share_a_key(1);
}

/// Run by `./check --full`.
#[test]
#[ignore = "takes minutes: tests/deep.sh runs it"]
fn a_thousand_jobs_share_a_key_fifty_at_a_time() {
    share_a_key(50);
}

/// Runs a thousand jobs with one limit key, of which `most` may run at a time.
fn share_a_key(most: u32) {
    const JOBS: usize = 1_000;
    World::setup().visibility_s(120).test(async |world| {
        let beater = Function::beater().timeout(Duration::from_mins(1));
        world.deploy_beater(&beater).await;
        let orders = json!({"act": {"meet": world.effects.meeting()}});
        let limit = json!({"limit_key": "service", "limit": most});
        let jobs: Vec<_> = (0..JOBS).map(|number| keyed(world, &format!("job-{number}"), &orders, &limit)).collect();
        let start = Instant::now();
        world.deploy(&Function::probe()).await;
        world.send_all(&jobs).await;
        let mut minute = 0;
        wait::until("each job ends", Duration::from_mins(15), async || {
            if start.elapsed().as_secs() / 60 >= minute {
                minute += 1;
                world.tick(&beater, Clock::system().now()).await;
            }
            match world.effects.met().len() {
                JOBS.. => Ok(()),
                ended => Err(format!("{ended} have run")),
            }
        })
        .await;
        world.drained().await;
        let took = start.elapsed();
        let ended = in_state(world, "succeeded").await;
        assert_eq!(ended.len(), JOBS);
        let met = world.effects.met();
        assert_eq!((met.len(), world.effects.runs().len()), (JOBS, JOBS), "each job runs once");
        let peak = met.iter().max().copied().unwrap_or_default();
        assert!(peak <= most, "{peak} jobs ran at a time");
        for (id, record) in world.records().await.into_iter().filter(|(id, _)| id.starts_with("job-")) {
            assert_eq!((record.attempts, record.generation), (1, 1), "{id} spent an attempt by waiting");
        }
        let shown = sqjobs(world, &["limit", "show", "service", "--json"]).json();
        assert_eq!((&shown[0]["holders"], &shown[0]["waiting"]), (&json!([]), &json!([])), "a slot or a job is left");
        let requests = world.proxy.passed("").len();
        println!("{JOBS} jobs, {most} at a time: {peak} at the most, {requests} requests of functions, {:.0} s", took.as_secs_f64());
    });
}
