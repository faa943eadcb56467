//! Metrics of functions and beaters: lines in the embedded metric format of CloudWatch, on standard output.
//!
//! A batch of one job name writes one line, and a tick writes one line. A batch with more names writes a line for each name, because a line
//! has one value for each member. It also writes a line for each further hundred durations of one name, because an array has at most a
//! hundred values. Figures that are zero are left out: CloudWatch bills each metric by the hours in which it has values.
//!
//! The figures of a batch are written before the response. A process that is killed writes no line for its batch.
//!
//! The crates were examined. `metrics_cloudwatch_embedded` is a global recorder under the facade `metrics`, and `metrique` derives a format
//! from structs. Both need several crates more, and neither writes the durations of a batch under two sets of dimensions with less code than
//! [`emf`].

mod batch;
mod emf;
mod requests;
mod tick;

use std::{
    fmt,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use self::emf::{Group, Line};
pub(crate) use self::{
    batch::{BatchMeter, Outcome},
    requests::{Counts, Requests},
    tick::Tick,
};

/// Writes the lines of one process.
pub(crate) struct Metrics {
    /// The requests since the last line.
    requests: Arc<Requests>,
    /// `true` after the first line.
    is_warm: AtomicBool,
    write: Box<dyn Fn(&str) + Send + Sync>,
}

impl Metrics {
    /// Creates metrics that are written to standard output.
    #[cfg_attr(not(feature = "lambda"), expect(dead_code, reason = "only functions write metrics"))]
    pub(crate) fn to_stdout() -> Self {
        // One call for each line, so that no other line gets into it. If standard output is closed, nobody reads the metrics.
        Self::new(|line| drop(io::stdout().write_all(line.as_bytes())))
    }

    /// Creates metrics whose lines, each with its line end, are passed to `write`.
    pub(crate) fn new(write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { requests: Arc::default(), is_warm: AtomicBool::new(false), write: Box::new(write) }
    }

    /// Returns the counter for the requests of this process.
    #[cfg_attr(not(feature = "lambda"), expect(dead_code, reason = "only functions write metrics"))]
    pub(crate) fn requests(&self) -> Arc<Requests> {
        Arc::clone(&self.requests)
    }

    /// Writes the lines of a batch.
    pub(crate) fn batch(&self, meter: &BatchMeter, request_id: &str) {
        for line in meter.lines(&self.process(), request_id) {
            self.line(&line);
        }
    }

    /// Writes the line of a tick of the beater `name`. `None`: the tick could not read a table.
    #[cfg_attr(not(any(feature = "lambda", test)), expect(dead_code, reason = "without Lambda nothing ticks"))]
    pub(crate) fn tick(&self, name: &str, tick: Option<&Tick>, at: jiff::Timestamp, request_id: &str) {
        self.line(&tick::line(name, tick, at, &self.process(), request_id));
    }

    /// Returns the metrics of the process since the last line: its cold start and its requests.
    fn process(&self) -> Process {
        Process { is_cold: !self.is_warm.swap(true, Ordering::SeqCst), requests: self.requests.take() }
    }

    fn line(&self, line: &Line<'_>) {
        (self.write)(&line.to_text());
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("requests", &self.requests).finish_non_exhaustive()
    }
}

/// The figures of a process since its last line.
struct Process {
    is_cold: bool,
    requests: Counts,
}

impl Process {
    fn add_to(&self, group: &mut Group) {
        let Counts { store, store_errors, queue, queue_errors } = self.requests;
        group.count("ColdStarts", u64::from(self.is_cold));
        group.count("StoreRequests", store);
        group.count("StoreErrors", store_errors);
        group.count("QueueRequests", queue);
        group.count("QueueErrors", queue_errors);
    }
}
