//! Runs all measurements of the report.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use crate::{
    decide::{Decided, decide},
    enqueue::{Enqueued, enqueue},
    event::Scenario,
    framework::{self, Framework, framework},
    measure::{Cold, Invocations, Warm, cold, ms, warm},
    process::Share,
    rounds::{Ratio, Rounds},
    subject::{Built, Conditions, Subject},
    tick::{Load, Ticks, ticks},
    tls::Tls,
};

/// Number of rounds of each measurement.
const ROUNDS: usize = 5;
const COLD_ROUNDS: usize = 15;
const TICKS: usize = 10;
/// A function of 128 MB gets one `PARTS`th of a CPU.
const PARTS: u64 = 14;

/// All measurements.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) batches: Vec<Batches>,
    /// Ten first deliveries, with one log line for each job.
    pub(crate) logged: Rounds<Warm>,
    /// Ten first deliveries over HTTPS.
    pub(crate) over_tls: Rounds<Warm>,
    pub(crate) cold: Rounds<Cold>,
    pub(crate) cold_over_tls: Rounds<Cold>,
    /// Ten first deliveries at a fourteenth of a CPU.
    pub(crate) share: Option<Shared>,
    pub(crate) packages: Vec<Package>,
    pub(crate) framework: Vec<Framework>,
    pub(crate) enqueued: Rounds<Enqueued>,
    pub(crate) traced: Traced,
    pub(crate) beater: Beater,
}

/// Measurements with traces, beside those without.
#[derive(Debug)]
pub(crate) struct Traced {
    /// Ten first deliveries.
    pub(crate) first: Rounds<Warm>,
    pub(crate) cold: Rounds<Cold>,
    pub(crate) packages: Vec<Package>,
}

/// Measurements of the beater.
#[derive(Debug)]
pub(crate) struct Beater {
    pub(crate) ticks: Vec<Ticks>,
    pub(crate) decided: Decided,
}

/// One scenario at one latency.
#[derive(Debug)]
pub(crate) struct Batches {
    pub(crate) scenario: Scenario,
    pub(crate) latency_ms: u64,
    pub(crate) rounds: Rounds<Warm>,
}

/// Measurements with a small share of a CPU.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) batches: Vec<Batches>,
    pub(crate) cold: Rounds<Cold>,
}

/// A deployment package.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Package {
    pub(crate) subject: Subject,
    pub(crate) zip: u64,
    /// Size of the program; `None` if the package is not a single program.
    pub(crate) program: Option<u64>,
}

impl Results {
    /// Returns the batches of this scenario at this latency.
    pub(crate) fn batch(&self, scenario: Scenario, latency_ms: u64) -> Option<&Rounds<Warm>> {
        let same = |batches: &&Batches| batches.scenario == scenario && batches.latency_ms == latency_ms;
        self.batches.iter().find(same).map(|batches| &batches.rounds)
    }

    /// Returns ten first deliveries at this latency.
    pub(crate) fn first(&self, latency_ms: u64) -> Option<&Rounds<Warm>> {
        self.batch(Scenario::First, latency_ms)
    }

    /// Returns the wall times of ten first deliveries in milliseconds, by latency.
    pub(crate) fn walls(&self, subject: Subject) -> Vec<(f64, f64)> {
        let first = self.batches.iter().filter(|batches| batches.scenario == Scenario::First);
        let points = first.filter_map(|batches| {
            let latency = f64::from(u32::try_from(batches.latency_ms).ok()?);
            Some((latency, batches.rounds.median(subject, wall)?))
        });
        points.collect()
    }

    pub(crate) fn zip_ratio(&self, of: Subject, to: Subject) -> Option<Ratio> {
        let zip = |subject| self.packages.iter().find(|package| package.subject == subject).map(|package| package.zip);
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
        let ratio = zip(of)? as f64 / zip(to)? as f64;
        Some(Ratio { median: ratio, least: ratio, most: ratio })
    }
}

impl Batches {
    pub(crate) fn title(&self) -> String {
        let mut title = self.scenario.title().to_owned();
        title[..1].make_ascii_uppercase();
        title
    }
}

/// Runs all measurements.
///
/// # Errors
///
/// When a subject gives an unexpected response.
pub(crate) async fn run(built: &Built, target: &Path) -> Result<Results, String> {
    let subjects: Vec<_> = Subject::ALL.into_iter().filter(|subject| subject.is_there(built)).collect();
    let plain = Conditions::default();
    let tls = Tls::new(target);
    let over_tls = Conditions { tls: Some(&tls), ..plain };
    let logged = Conditions { logs: true, ..plain };
    let (packages, enqueued) = (packages(built, target)?, enqueued(&subjects, built).await?);
    let beater = beater(built).await?;
    let records = [1, 10, 100, 1000, 10_000];
    let framework =
        records.into_iter().map(|records| framework(&framework::program(), records, framework::Metrics::Off)).collect::<Result<_, _>>()?;
    let mut all = Vec::new();
    for latency_ms in [0, 5, 20] {
        for scenario in Scenario::ALL {
            eprintln!("{} at {latency_ms} ms", scenario.title());
            all.push(batches(&subjects, scenario, latency_ms, built, plain).await?);
        }
    }
    eprintln!("logs, TLS, cold starts");
    Ok(Results {
        batches: all,
        logged: batches(&subjects, Scenario::First, 0, built, logged).await?.rounds,
        over_tls: batches(&subjects, Scenario::First, 0, built, over_tls).await?.rounds,
        cold: Rounds::run(&subjects, COLD_ROUNDS, async |subject| cold(subject, built, plain).await).await?,
        cold_over_tls: Rounds::run(&subjects, COLD_ROUNDS, async |subject| cold(subject, built, over_tls).await).await?,
        share: shared(&subjects, built).await?,
        packages,
        framework,
        enqueued,
        traced: traced(built, target).await?,
        beater,
    })
}

/// Measures the cost of traces.
///
/// # Errors
///
/// A subject has given an unexpected response.
pub(crate) async fn traced(built: &Built, target: &Path) -> Result<Traced, String> {
    eprintln!("traces");
    let (subjects, plain) = ([Subject::Sqjobs, Subject::Traced], Conditions::default());
    let zips = [target.join("../lambda/with-sqjobs/bootstrap.zip"), target.join("with-traces.zip")];
    let package = |(subject, zip): (&Subject, &PathBuf)| {
        Ok(Package { subject: *subject, zip: size(zip)?, program: Some(size(&subject.bootstrap(built))?) })
    };
    Ok(Traced {
        first: batches(&subjects, Scenario::First, 0, built, plain).await?.rounds,
        cold: Rounds::run(&subjects, COLD_ROUNDS, async |subject| cold(subject, built, plain).await).await?,
        packages: subjects.iter().zip(&zips).map(package).collect::<Result<_, String>>()?,
    })
}

async fn batches(
    subjects: &[Subject],
    scenario: Scenario,
    latency_ms: u64,
    built: &Built,
    conditions: Conditions<'_>,
) -> Result<Batches, String> {
    let latency = Duration::from_millis(latency_ms);
    // The hand-written handler runs the messages of a group out of order, so it does not qualify for a FIFO queue.
    let subjects: Vec<_> = subjects.iter().copied().filter(|subject| scenario != Scenario::Fifo || *subject != Subject::ByHand).collect();
    let rounds = Rounds::run(&subjects, if latency_ms == 0 { ROUNDS } else { 3 }, async |subject| {
        warm(subject, scenario, latency, invocations(subject, latency_ms), built, conditions).await
    });
    Ok(Batches { scenario, latency_ms, rounds: rounds.await? })
}

/// Measures the beater.
///
/// # Errors
///
/// When a tick does not do all of its work.
pub(crate) async fn beater(built: &Built) -> Result<Beater, String> {
    eprintln!("the beater");
    let decided = decide()?;
    let mut all = Vec::new();
    for load in Load::ALL {
        all.push(ticks(load, TICKS, built).await?);
    }
    Ok(Beater { ticks: all, decided })
}

/// Returns enough invocations to warm up the JIT of Node.js and to get a stable mean.
fn invocations(subject: Subject, latency_ms: u64) -> Invocations {
    let before = if subject == Subject::TypeScript { 150 } else { 30 };
    match latency_ms {
        0 => Invocations { before, counted: 200 },
        _ => Invocations { before: before / 10, counted: 10 },
    }
}

async fn shared(subjects: &[Subject], built: &Built) -> Result<Option<Shared>, String> {
    let Some(share) = Share::of(PARTS) else { return Ok(None) };
    eprintln!("at a share of a CPU");
    let conditions = Conditions { share: Some(&share), ..Conditions::default() };
    let mut batches = Vec::new();
    for scenario in [Scenario::First, Scenario::Redelivered, Scenario::Failing, Scenario::Mixed] {
        let few = Invocations { before: 3, counted: 10 };
        let rounds = Rounds::run(subjects, 3, async |subject| warm(subject, scenario, Duration::ZERO, few, built, conditions).await);
        batches.push(Batches { scenario, latency_ms: 0, rounds: rounds.await? });
    }
    let cold = Rounds::run(subjects, 3, async |subject| cold(subject, built, conditions).await).await?;
    Ok(Some(Shared { batches, cold }))
}

async fn enqueued(subjects: &[Subject], built: &Built) -> Result<Rounds<Enqueued>, String> {
    eprintln!("enqueueing");
    let producers: Vec<_> = subjects.iter().copied().filter(|subject| *subject != Subject::TypeScript).collect();
    Rounds::run(&producers, ROUNDS, async |subject| enqueue(subject, built).await).await
}

/// Returns the package sizes. `benches/run` leaves the zips of the Rust functions and one line for each peer.
fn packages(built: &Built, target: &Path) -> Result<Vec<Package>, String> {
    #[derive(Deserialize)]
    struct Line {
        subject: String,
        zip_bytes: u64,
    }
    let mut packages = Vec::new();
    for (subject, name) in [(Subject::Sqjobs, "with-sqjobs"), (Subject::ByHand, "by-hand")] {
        let zip = size(&target.join(format!("../lambda/{name}/bootstrap.zip")))?;
        packages.push(Package { subject, zip, program: Some(size(&subject.bootstrap(built))?) });
    }
    for line in fs::read_to_string(target.join("sizes.json")).unwrap_or_default().lines() {
        let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let subject = if line.subject == "python" { Subject::Python } else { Subject::TypeScript };
        packages.push(Package { subject, zip: line.zip_bytes, program: None });
    }
    Ok(packages)
}

fn size(file: &Path) -> Result<u64, String> {
    fs::metadata(file).map(|metadata| metadata.len()).map_err(|error| format!("{}: {error}", file.display()))
}

/// Returns the wall time of a batch in milliseconds.
pub(crate) fn wall(warm: &Warm) -> f64 {
    ms(warm.wall)
}
