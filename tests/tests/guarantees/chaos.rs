//! Hundreds of jobs under constant faults: processes die, requests are lost, delayed and refused, messages are duplicated,
//! and two beaters run at once. At the end an oracle compares each record with the effects of its job.

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

use futures_util::future::{join, join_all};
use jiff::ToSpan;
use serde_json::{Value, json};

use crate::{due::now, effects::Run, function::Function, record::Record, wait, world::World};

/// Interval between two killed processes.
const KILLS: Duration = Duration::from_millis(1500);
/// One request of this many fails.
const ONE_OF: u128 = 12;
/// Maximum time for the remaining jobs after the storm.
const CALM: Duration = Duration::from_mins(10);

#[test]
fn two_hundred_jobs_in_a_storm_are_each_done_once() {
    storm(200, 40);
}

/// Run by `./check --full`.
#[test]
#[ignore = "takes minutes"]
fn five_thousand_jobs_in_a_storm_are_each_done_once() {
    storm(5_000, 500);
}

/// Runs `jobs` jobs with at least `least` faults.
fn storm(jobs: usize, least: usize) {
    World::setup().visibility_s(12).test(async |world| {
        let (function, beater) = (Function::probe().timeout(Duration::from_secs(10)), Function::beater());
        world.deploy(&function).await;
        world.deploy_beater(&beater).await;
        let ids: Vec<_> = (0..jobs).map(|number| format!("job-{number}")).collect();
        world.proxy.storm(Some(ONE_OF));
        let enqueued = enqueue(world, &ids);
        let (killed, ()) = join(rage(world, &function, &beater, least), enqueued).await;
        world.proxy.storm(None);
        let faults = killed + world.proxy.wrong();
        calm(world, &beater, &ids).await;
        world.drained().await;
        let flaws = judge(world, &ids).await;
        println!("{jobs} jobs, {faults} faults ({killed} processes killed): {} flaws", flaws.len());
        assert!(faults >= least, "only {faults} faults");
        assert!(flaws.is_empty(), "{flaws:#?}");
    });
}

/// Returns the arguments of a job: most succeed at once, others after failures, and one in ten never.
fn orders(number: usize) -> Value {
    match number % 10 {
        0 | 1 => json!({"act": "fail", "until": 2}),
        2 => json!({"act": "panic", "until": 2}),
        3 => json!({"act": "fatal"}),
        _ => json!({}),
    }
}

fn number(id: &str) -> usize {
    id.trim_start_matches("job-").parse().expect("a number")
}

/// Sends the jobs. Every fourth is sent twice; every fifth waits in the due index for the beaters.
async fn enqueue(world: &World, ids: &[String]) {
    for ids in ids.chunks(10) {
        let body = |id: &String| {
            let mut body = world.probe(id, &orders(number(id)));
            body["max_attempts"] = json!(100); // repeated kills would otherwise fail the job
            body
        };
        let (filed, sent): (Vec<_>, Vec<_>) = ids.iter().partition(|id| number(id) % 5 == 4);
        let bodies: Vec<_> = sent.iter().map(|id| body(id)).collect();
        world.send_together(&bodies).await;
        let twice: Vec<_> = sent.iter().filter(|id| number(id).is_multiple_of(4)).map(|id| body(id)).collect();
        if !twice.is_empty() {
            world.send_together(&twice).await;
        }
        let records = filed.iter().map(|id| {
            json!({
                "id": id, "name": "probe", "queue": "probes", "state": "scheduled", "max_attempts": 100, "owner": "filer",
                "run_at": now() - 1.second(), "due": format!("due#{}", number(id) % 16), "envelope": body(id).to_string(),
            })
        });
        world.plant_many(records.collect::<Vec<_>>()).await;
    }
}

/// Kills processes and invokes two beaters at once until there are enough faults. Returns the number of killed processes.
async fn rage(world: &World, function: &Function, beater: &Function, least: usize) -> usize {
    let mut killed = 0;
    let mut pause = tokio::time::interval(KILLS);
    let until = Instant::now() + CALM;
    loop {
        pause.tick().await;
        let processes = world.processes(function);
        if let Some(pid) = processes.get(killed % processes.len().max(1)) {
            let signal = Command::new("kill").args(["-9", &pid.to_string()]).status();
            killed += usize::from(signal.is_ok_and(|status| status.success()));
        }
        if killed.is_multiple_of(5) {
            for lost in join_all((0..2).map(|_| world.try_tick(beater, now()))).await.into_iter().filter_map(Result::err) {
                eprintln!("a tick has no answer: {lost}");
            }
        }
        if killed + world.proxy.wrong() >= least || Instant::now() > until {
            return killed;
        }
    }
}

/// Returns an error that lists the jobs that have not ended.
async fn ended(world: &World, ids: &[String]) -> Result<(), String> {
    let records = world.records().await;
    let is_open = |id: &&String| !records.get(*id).is_some_and(|record| matches!(record.state.as_str(), "succeeded" | "failed"));
    let open: Vec<_> = ids.iter().filter(is_open).collect();
    if open.is_empty() { Ok(()) } else { Err(format!("{} jobs are open, such as {:?}", open.len(), &open[..open.len().min(5)])) }
}

/// Waits until every job has ended, while a beater keeps ticking.
async fn calm(world: &World, beater: &Function, ids: &[String]) {
    wait::until("every job has ended", CALM, async || {
        world.tick(beater, now()).await;
        ended(world, ids).await
    })
    .await;
}

/// Returns all flaws: jobs that are lost, repeated, or in a state that their arguments do not explain.
async fn judge(world: &World, ids: &[String]) -> Vec<String> {
    let records = world.records().await;
    let mut runs: BTreeMap<String, Vec<Run>> = BTreeMap::new();
    for run in world.effects.runs() {
        runs.entry(run.id.clone()).or_default().push(run);
    }
    let letters: Vec<_> = world.dead_letters().await.iter().map(|letter| letter.attribute("sqjobs.id").to_owned()).collect();
    let judged = ids.iter().filter_map(|id| {
        let Some(record) = records.get(id) else { return Some(format!("{id} is lost")) };
        let flaw = flaw(id, record, runs.get(id).map_or(&[], Vec::as_slice), letters.contains(id));
        flaw.map(|flaw| format!("{id} {flaw}: {record:?}, {:?}", runs.get(id)))
    });
    judged.collect()
}

fn flaw(id: &str, record: &Record, runs: &[Run], has_letter: bool) -> Option<&'static str> {
    let is_fatal = orders(number(id))["act"] == "fatal";
    let claims = usize::try_from(record.generation).unwrap_or(usize::MAX);
    match (record.state.as_str(), is_fatal) {
        ("succeeded", false) | ("failed", true) => {}
        _ => return Some("ended in another state than it should"),
    }
    if is_fatal && !has_letter {
        return Some("has failed and has no dead letter");
    }
    if runs.is_empty() {
        return Some("has ended and never ran");
    }
    if runs.len() > claims {
        return Some("ran more often than it was claimed");
    }
    // A run after the end would have a higher attempt number.
    (runs.iter().map(|run| run.attempt).max() > Some(record.attempts)).then_some("ran after it had ended")
}
