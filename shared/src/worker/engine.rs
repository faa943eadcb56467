//! What a worker is made of once it runs.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::Instant};

use crate::{Clock, job::AnyJob, queue::Queue, stats::Counter, store::Store};

/// Runs batches of messages against a store and a queue.
pub(crate) struct Engine {
    pub(crate) jobs: Jobs,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) queue: Arc<dyn Queue>,
    /// The name of the dead-letter queue.
    pub(crate) dlq: String,
    pub(crate) clock: Clock,
    /// What is counted of its deliveries.
    pub(crate) counter: Arc<Counter>,
    /// Where bodies run, which may block; everything else runs elsewhere.
    pub(crate) bodies: Handle,
    /// The most jobs of one name at a time, whatever their policies say.
    pub(crate) max_concurrency: usize,
    /// The longest wait by visibility; what must wait longer comes back in between.
    pub(crate) hop: Duration,
    /// Whether each job is recorded, whatever its policy says.
    pub(crate) records_always: bool,
    /// For how long a message that this worker cannot run waits for one that can.
    pub(crate) parks_for: Duration,
}

/// The jobs of a worker, by name and alias.
#[derive(Clone, Default)]
pub(crate) struct Jobs(HashMap<&'static str, Arc<dyn AnyJob>>);

/// What is known of the invocation that brings a batch.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    pub(crate) request_id: String,
    /// When the platform ends it.
    pub(crate) ends_at: Instant,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The ids of the messages that must come back.
    pub(crate) failures: Vec<String>,
    /// Messages refused for good, with the reason.
    pub(crate) rejected: Vec<(String, String)>,
    /// Whether a body was left behind that blocks its thread.
    #[cfg_attr(
        not(any(feature = "lambda", feature = "simulation")),
        expect(dead_code, reason = "only Lambda freezes a process between batches")
    )]
    pub(crate) stuck: bool,
}

impl Jobs {
    pub(crate) fn add(&mut self, job: Arc<dyn AnyJob>) {
        for alias in job.aliases() {
            self.0.insert(alias, Arc::clone(&job));
        }
        self.0.insert(job.name(), job);
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<dyn AnyJob>> {
        self.0.get(name)
    }

    /// Each job once.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<dyn AnyJob>> {
        self.0.iter().filter(|(name, job)| **name == job.name()).map(|(_, job)| job)
    }
}

/// The names of the jobs, for people.
impl fmt::Display for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<_> = self.all().map(|job| job.name()).collect();
        names.sort_unstable();
        f.write_str(&names.join(", "))
    }
}
