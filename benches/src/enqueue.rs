//! Measures the cost of enqueueing many jobs.

use std::{path::PathBuf, time::Duration};

use crate::{
    answerer::Answerer,
    process::Process,
    subject::{Built, Subject, variables},
};

/// Number of jobs in one enqueue.
pub(crate) const JOBS: usize = 10_000;

/// Measurements of a producer's process from start to end.
#[derive(Debug)]
pub(crate) struct Enqueued {
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
    pub(crate) requests: usize,
}

impl Enqueued {
    /// Returns the messages per second of CPU time.
    pub(crate) fn rate(&self) -> f64 {
        f64::from(u32::try_from(JOBS).unwrap_or(u32::MAX)) / self.cpu.as_secs_f64()
    }
}

/// Runs a producer until it exits.
///
/// # Errors
///
/// When it did not send all messages.
pub(crate) async fn enqueue(subject: Subject, built: &Built) -> Result<Enqueued, String> {
    let aws = Answerer::start(Duration::ZERO, None).await;
    let (program, mut arguments) = producer(subject, built).ok_or("it has no producer")?;
    arguments.push(JOBS.to_string());
    let process = Process::start(&program, &arguments, variables(&aws), None);
    let started = process.started;
    let cpu = process.ended().await;
    let sent = aws.take();
    let messages: usize = sent.iter().map(|exchange| exchange.entries).sum();
    if messages != JOBS {
        return Err(format!("it has sent {messages} of {JOBS} messages"));
    }
    Ok(Enqueued { cpu, wall: started.elapsed(), requests: sent.len() })
}

fn producer(subject: Subject, built: &Built) -> Option<(PathBuf, Vec<String>)> {
    match subject {
        Subject::Sqjobs => Some((built.programs.join("enqueue-with-sqjobs"), Vec::new())),
        Subject::ByHand => Some((built.programs.join("enqueue-by-hand"), Vec::new())),
        Subject::Python => Some((built.peers.join("python/enqueue"), Vec::new())),
        Subject::TypeScript | Subject::Traced => None,
    }
}
