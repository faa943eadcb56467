//! Measures one subject under one condition.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use crate::{
    answerer::{Answerer, Exchange, depth},
    event::{self, Scenario},
    process::Process,
    runtime_api::{Invocation, RuntimeApi},
    subject::{Built, Conditions, Subject},
};

/// Measurements of the warm invocations of one process.
#[derive(Debug)]
pub(crate) struct Warm {
    /// Median wall time of an invocation.
    pub(crate) wall: Duration,
    /// Mean CPU time of an invocation.
    pub(crate) cpu: Duration,
    /// Requests of the invocation that made the fewest, and the length of their longest sequential chain.
    pub(crate) requests: Vec<Exchange>,
    pub(crate) depth: usize,
}

/// Measurements of the first invocation of a process.
#[derive(Debug)]
pub(crate) struct Cold {
    /// Time from the start of the process until it requests an event.
    pub(crate) init: Duration,
    /// Time from there until its first response.
    pub(crate) first: Duration,
    /// CPU time of both.
    pub(crate) cpu: Duration,
    /// Peak memory until the first response, in bytes.
    pub(crate) rss: u64,
}

impl Warm {
    /// Returns the requests as text, such as `1 BatchGetItem, 2 BatchExecuteStatement`.
    pub(crate) fn operations(&self) -> String {
        listed(&operations(&self.requests))
    }
}

impl Cold {
    pub(crate) fn wall(&self) -> Duration {
        self.init + self.first
    }
}

/// Number of warm-up invocations, and number of measured invocations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Invocations {
    pub(crate) before: usize,
    pub(crate) counted: usize,
}

/// A process and the servers that it uses.
struct Bench {
    api: RuntimeApi,
    process: Process,
}

impl Bench {
    async fn start(subject: Subject, built: &Built, aws: &Answerer, conditions: Conditions<'_>) -> Self {
        let api = RuntimeApi::start().await;
        let process = subject.start(built, &api, aws, conditions);
        Self { api, process }
    }

    async fn invoke(&mut self, event: axum::body::Bytes, failures: usize) -> Result<Invocation, String> {
        let invocation = self.api.invoke(event).await?;
        let response: Value = serde_json::from_slice(&invocation.response).map_err(|error| error.to_string())?;
        let reported = match &response["batchItemFailures"] {
            Value::Array(failures) => Some(failures.len()),
            // A response without failures may omit the list.
            Value::Null if response.is_object() => Some(0),
            _ => None,
        };
        if reported != Some(failures) {
            return Err(format!("{failures} messages should come back: {response}"));
        }
        Ok(invocation)
    }
}

/// Invokes a warm process repeatedly.
///
/// # Errors
///
/// When the subject gives an unexpected response.
pub(crate) async fn warm(
    subject: Subject,
    scenario: Scenario,
    latency: Duration,
    invocations: Invocations,
    built: &Built,
    conditions: Conditions<'_>,
) -> Result<Warm, String> {
    let aws = Answerer::start(latency, conditions.tls).await;
    let mut bench = Bench::start(subject, built, &aws, conditions).await;
    bench.api.polled().await?;
    bench.invoke(event::seed(), 0).await?;
    for number in 0..invocations.before {
        bench.invoke(scenario.event(number), scenario.failures()).await?;
    }
    let cpu_before = bench.process.cpu();
    let (mut walls, mut requests) = (Vec::new(), None);
    for number in 0..invocations.counted {
        aws.take();
        walls.push(bench.invoke(scenario.event(invocations.before + number), scenario.failures()).await?.wall);
        // On a busy machine, jobs that end at the same time may not be recorded in one request.
        let made = aws.take();
        requests = requests.filter(|fewest: &Vec<_>| fewest.len() <= made.len()).or(Some(made));
    }
    let cpu = bench.process.cpu().saturating_sub(cpu_before) / u32::try_from(invocations.counted).unwrap_or(u32::MAX);
    let requests = requests.unwrap_or_default();
    Ok(Warm { wall: median(walls), cpu, depth: depth(&requests), requests })
}

/// Starts a process and sends it a batch of ten.
///
/// # Errors
///
/// When the subject gives an unexpected response.
pub(crate) async fn cold(subject: Subject, built: &Built, conditions: Conditions<'_>) -> Result<Cold, String> {
    let aws = Answerer::start(Duration::ZERO, conditions.tls).await;
    let mut bench = Bench::start(subject, built, &aws, conditions).await;
    let polled = bench.api.polled().await?;
    let invocation = bench.invoke(Scenario::First.event(0), 0).await?;
    let first = invocation.responded - polled;
    Ok(Cold { init: polled - bench.process.started, first, cpu: bench.process.cpu(), rss: bench.process.peak_rss() })
}

/// Counts the requests of each operation.
pub(crate) fn operations(requests: &[Exchange]) -> BTreeMap<String, usize> {
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    for exchange in requests {
        *counts.entry(exchange.operation.clone()).or_default() += 1;
    }
    counts
}

pub(crate) fn listed(operations: &BTreeMap<String, usize>) -> String {
    operations.iter().map(|(operation, count)| format!("{count} {operation}")).collect::<Vec<_>>().join(", ")
}

/// Returns the median.
pub(crate) fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).expect("numbers can be compared"));
    values[values.len() / 2]
}

/// Converts a duration to milliseconds.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
