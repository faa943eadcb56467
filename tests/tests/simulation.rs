//! Runs jobs with all kinds of faults in virtual time. The program `simulate` of this crate does the same for a million jobs.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqjobs::{
    Arguments, Context, Enqueue, Job, JobError, Policy, StoreFailure, Worker,
    testing::simulation::{Faults, Simulated, Simulation},
};
use sqjobs_tests::simulated::{graph, jobs, sharing, whole, worker};

fn run(simulation: Simulation, seed: u64) -> Simulated {
    simulation.run(worker, jobs(seed, 6))
}

/// Returns the flaws of these seeds, each with its seed.
fn flaws(seeds: impl Iterator<Item = u64>) -> Vec<String> {
    seeds.flat_map(|seed| run(Simulation::new(seed), seed).flaws().into_iter().map(move |flaw| format!("seed {seed}: {flaw}"))).collect()
}

#[test]
fn a_thousand_seeds_lose_nothing_double_nothing_and_leave_nothing_behind() {
    std::panic::set_hook(Box::new(|_| {})); // jobs panic as planned; suppress their messages
    let halves = std::thread::scope(|scope| {
        let other = scope.spawn(|| flaws((1..1000).step_by(2)));
        [flaws((0..1000).step_by(2)), other.join().expect("no seed panics")]
    });
    drop(std::panic::take_hook());
    assert_eq!(halves.concat(), Vec::<String>::new());
}

#[test]
fn jobs_that_wait_for_each_other_start_neither_early_nor_never() {
    let flaws = (0..60).flat_map(|seed| {
        let (simulation, jobs) = graph(seed);
        let ended = simulation.run(worker, jobs);
        ended.flaws().into_iter().map(move |flaw| format!("graph {seed}: {flaw}"))
    });
    assert_eq!(flaws.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn workflows_run_each_job_once_and_start_none_early_or_never() {
    let flaws = (0..20).flat_map(|seed| {
        let (simulation, jobs) = whole(seed);
        let ended = simulation.run(worker, jobs);
        ended.flaws().into_iter().map(move |flaw| format!("workflow {seed}: {flaw}"))
    });
    assert_eq!(flaws.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn jobs_that_share_keys_never_exceed_a_limit_and_all_end() {
    let flaws = (0..60).flat_map(|seed| {
        let (simulation, jobs) = sharing(seed);
        let ended = simulation.run(worker, jobs);
        ended.flaws().into_iter().map(move |flaw| format!("keys {seed}: {flaw}"))
    });
    assert_eq!(flaws.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_seed_gives_the_same_run_each_time() {
    let course = |seed| {
        let ended = run(Simulation::new(seed), seed);
        (ended.course, ended.took, ended.faults)
    };
    for seed in 0..5 {
        assert_eq!(course(seed), course(seed));
        assert_ne!(course(seed), course(seed + 1));
    }
}

/// Fails permanently after a moment.
#[derive(Debug, Serialize, Deserialize)]
struct Hopeless;

impl Arguments for Hopeless {
    const NAME: &'static str = "hopeless";
}

impl Job for Hopeless {
    type Output = ();

    async fn run(&self, _ctx: &Context) -> Result<(), JobError> {
        tokio::time::sleep(Duration::from_secs(9)).await;
        Err(JobError::fatal("as planned"))
    }
}

#[test]
fn a_job_without_a_message_gets_its_dead_letter_from_a_beater() {
    // The job is filed. Its deleted message is delivered once more when the job is due, before a beater sends it, and is then
    // gone. The process dies before it sends the dead letter.
    let faults = || {
        let mut faults = Faults::NONE;
        (faults.late_delete, faults.delay, faults.crash) = (1.0, 0.3, 0.5);
        faults
    };
    let due = Duration::from_mins(51);
    let flaws = (0..30).flat_map(|seed| {
        let jobs = (0..40).map(|number| Enqueue::named("hopeless", serde_json::Value::Null).id(format!("job-{number}")).delay(due));
        let ended = Simulation::new(seed).faults(faults()).run(|| Worker::new(()).job::<Hopeless>(), jobs);
        ended.flaws().into_iter().map(move |flaw| format!("seed {seed}: {flaw}"))
    });
    assert_eq!(flaws.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_simulation_without_faults_has_no_flaws() {
    let ended = run(Simulation::new(1).faults(Faults::NONE), 1);
    assert_eq!(ended.faults, 0);
    assert!(ended.flaws().is_empty());
}

/// Runs even without a lease.
#[derive(Debug, Serialize, Deserialize)]
struct Reckless;

impl Arguments for Reckless {
    const NAME: &'static str = "reckless";
}

impl Job for Reckless {
    const POLICY: Policy = Policy::new().on_store_failure(StoreFailure::Run);
    type Output = ();

    async fn run(&self, _ctx: &Context) -> Result<(), JobError> {
        tokio::time::sleep(Duration::from_secs(20)).await;
        Ok(())
    }
}

#[test]
fn a_run_without_a_lease_is_found_and_shrunk() {
    let flaws = |simulation: &Simulation| {
        let jobs = (0..6).map(|number| Enqueue::named("reckless", serde_json::Value::Null).id(format!("job-{number}")));
        simulation.run(|| Worker::new(()).job::<Reckless>(), jobs).flaws()
    };
    let fails = |simulation: &Simulation| flaws(simulation).iter().any(|flaw| flaw.contains("two runners"));
    // Half of the table's responses are lost, and each message is delivered twice.
    let mut faults = Faults::default();
    (faults.lost_request, faults.duplicate) = (0.5, 1.0);
    let found = (0..200).map(|seed| Simulation::new(seed).faults(faults)).find(fails).expect("one of two hundred fails");
    let small = found.shrink(fails);
    assert!(fails(&small), "it still fails: {small}");
    assert!(small.to_string().len() < found.to_string().len() || small == found, "{small}");
}
