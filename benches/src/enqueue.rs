//! What it takes to enqueue many jobs.

use std::{path::PathBuf, time::Duration};

use crate::{
    answerer::Answerer,
    process::Process,
    subject::{Built, Subject, variables},
};

/// Jobs that are enqueued at a time.
pub(crate) const JOBS: usize = 10_000;

/// What a producer's process took from its start to its end.
#[derive(Debug)]
pub(crate) struct Enqueued {
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
    pub(crate) requests: usize,
}

impl Enqueued {
    /// Messages for each second of CPU.
    pub(crate) fn rate(&self) -> f64 {
        f64::from(u32::try_from(JOBS).unwrap_or(u32::MAX)) / self.cpu.as_secs_f64()
    }
}

/// Runs a producer to its end.
///
/// # Errors
///
/// When it has not sent everything.
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
        Subject::TypeScript => None,
    }
}
