//! The beater: what one tick takes.

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

/// Ticks before those that count, and those.
const BEFORE: usize = 3;

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    Nothing,
    /// Ten thousand schedules, of which two hundred are due.
    Schedules,
    /// Five thousand jobs whose time has come.
    Jobs,
}

/// What a tick took.
#[derive(Debug)]
pub(crate) struct Ticks {
    pub(crate) load: Load,
    /// Mean CPU time.
    pub(crate) cpu: Duration,
    /// Median wall time.
    pub(crate) wall: Duration,
    /// The requests of the last.
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

    /// What the beater answers of a warm tick.
    fn done(self) -> (&'static str, usize) {
        match self {
            Self::Nothing => ("fired", 0),
            Self::Schedules => ("fired", 200),
            Self::Jobs => ("sent", 5_000),
        }
    }
}

/// Wakes a warm beater minute by minute, against AWS that answers at once.
///
/// # Errors
///
/// When a tick does not do what there is to do.
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
