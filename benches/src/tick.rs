//! Measures one tick of the beater.

use std::{collections::BTreeMap, time::Duration};

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use sqjobs::Clock;

use crate::{
    answerer::Answerer,
    clockwork::Clockwork,
    measure::{median, operations},
    process::Process,
    runtime_api::RuntimeApi,
    subject::{Built, variables},
};

/// Number of warm-up ticks.
const BEFORE: usize = 3;

/// The work of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    Nothing,
    /// Ten thousand schedules, of which two hundred are due.
    Schedules,
    /// Five thousand due jobs.
    Jobs,
}

/// Measurements of the ticks.
#[derive(Debug)]
pub(crate) struct Ticks {
    pub(crate) load: Load,
    /// Mean CPU time of a tick.
    pub(crate) cpu: Duration,
    /// Median wall time of a tick.
    pub(crate) wall: Duration,
    /// Requests of the last tick.
    pub(crate) requests: BTreeMap<String, usize>,
}

impl Load {
    pub(crate) const ALL: [Self; 3] = [Self::Nothing, Self::Schedules, Self::Jobs];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Nothing => "a tick with nothing due",
            Self::Schedules => "a tick with 200 of 10,000 schedules due",
            Self::Jobs => "a tick with 5,000 due jobs",
        }
    }

    fn clockwork(self) -> Clockwork {
        match self {
            Self::Nothing => Clockwork::new(0, 0, 0),
            Self::Schedules => Clockwork::new(0, 10_000, 200),
            Self::Jobs => Clockwork::new(5_000, 0, 0),
        }
    }

    /// Returns the field and the count that a warm tick must report.
    fn done(self) -> (&'static str, usize) {
        match self {
            Self::Nothing => ("fired", 0),
            Self::Schedules => ("fired", 200),
            Self::Jobs => ("sent", 5_000),
        }
    }
}

/// Invokes a warm beater for consecutive minutes; the simulated AWS answers without delay.
///
/// # Errors
///
/// When a tick does not do all of its work.
pub(crate) async fn ticks(load: Load, counted: usize, built: &Built) -> Result<Ticks, String> {
    let aws = Answerer::start(Duration::ZERO, None).await;
    aws.wind(load.clockwork());
    let mut api = RuntimeApi::start().await;
    let mut variables = variables(&aws);
    variables.push(("AWS_LAMBDA_RUNTIME_API", api.authority()));
    variables.push(("RUST_LOG", "warn".into()));
    let process = Process::start(&built.programs.join("beater"), &[], variables, None);
    api.polled().await?;
    let start = Clock::system().now();
    let (mut walls, mut cpu, mut requests) = (Vec::new(), Duration::ZERO, BTreeMap::new());
    for number in 0..BEFORE + counted {
        aws.take();
        let before = process.cpu();
        let (report, wall) = tick(&mut api, start + i64::try_from(number).unwrap_or(0).minutes()).await?;
        if number >= BEFORE {
            let (what, count) = load.done();
            if report[what] != json!(count) || report["failed"] != json!(0) {
                return Err(format!("{count} should be {what}: {report}"));
            }
            walls.push(wall);
            cpu += process.cpu().saturating_sub(before);
            requests = operations(&aws.take());
        }
    }
    Ok(Ticks { load, cpu: cpu / u32::try_from(counted).unwrap_or(u32::MAX), wall: median(walls), requests })
}

async fn tick(api: &mut RuntimeApi, at: Timestamp) -> Result<(Value, Duration), String> {
    let event = json!({"detail-type": "Scheduled Event", "time": at}).to_string();
    let invocation = api.invoke(event.into()).await?;
    let report = serde_json::from_slice(&invocation.response).map_err(|error| error.to_string())?;
    Ok((report, invocation.wall))
}
