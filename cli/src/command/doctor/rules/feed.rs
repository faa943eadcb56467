//! Rules about the event source mapping of a queue.

use super::{Findings, queue::set};
use crate::{
    command::doctor::facts::{Mapping, Queue, Stream, System},
    time::brief,
};

/// The number of function timeouts in a visibility timeout.
const VISIBILITY: u64 = 6;

impl Findings<'_> {
    /// Checks the event source mappings of the function that publishes events.
    pub(super) fn streams(&mut self, system: &System) {
        for Stream { id, function, state, last_result } in &system.streams {
            let is_on = state != "Disabled" && state != "Disabling";
            let (what, remedy) = if !is_on {
                let what = format!("its event source mapping of the stream of table {} is {}", system.jobs.name, state.to_lowercase());
                (what, format!("`aws lambda update-event-source-mapping --uuid {id} --enabled`"))
            } else if last_result.starts_with("PROBLEM") {
                (format!("its last batch of changes was not processed: {last_result}"), format!("see the log of {function}, and its role"))
            } else {
                continue;
            };
            let why = "events are late, and are lost after 24 hours";
            self.add("events_stopped", &format!("function {function}"), what, why, remedy);
        }
    }

    /// Checks the event source mapping and the function of a queue.
    pub(super) fn feed(&mut self, queue: &Queue, system: &System) {
        let at = format!("queue {}", queue.name);
        let Some(Mapping { id, state, reports, batch, window, function, qualifier }) = &queue.mapping else {
            if !system.knows_mappings {
                return;
            }
            let remedy = format!("deploy its function, then `sqjobs queue create {} --function FUNCTION`", queue.base());
            self.add(
                "mapping_missing",
                &at,
                "it feeds no function",
                "its jobs wait until SQS deletes them, unless a worker outside Lambda receives them",
                remedy,
            );
            return;
        };
        if state != "Enabled" {
            let remedy = format!("`sqjobs queue resume {}`", queue.short);
            self.add(
                "mapping_disabled",
                &at,
                format!("its event source mapping to {function} is {}", state.to_lowercase()),
                "its jobs wait",
                remedy,
            );
        }
        if !reports {
            let why = "Lambda deletes all messages of a batch, including those that should be retried";
            let remedy = format!("`aws lambda update-event-source-mapping --uuid {id} --function-response-types ReportBatchItemFailures`");
            self.add("reports_missing", &at, "its event source mapping does not accept partial batch responses", why, remedy);
        }
        let Some(known) = system.functions.get(function) else { return };
        let Some(function) = known else {
            let target = qualifier.iter().fold(function.clone(), |name, qualifier| format!("{name}:{qualifier}"));
            let remedy = format!("deploy it, then `sqjobs queue create {} --function {function}`", queue.base());
            self.add(
                "function_missing",
                &at,
                format!("it feeds {target}, which does not exist"),
                "its jobs wait until SQS deletes them",
                remedy,
            );
            return;
        };
        let least = function.timeout * u32::try_from(VISIBILITY).unwrap_or(1) + *window;
        if queue.visibility < least {
            let what = format!(
                "its visibility timeout is {} s, but must be at least {} s: {VISIBILITY} times the timeout of {} ({} s){}",
                queue.visibility.as_secs(),
                least.as_secs(),
                function.name,
                function.timeout.as_secs(),
                if window.is_zero() { String::new() } else { format!(" plus the batching window ({} s)", window.as_secs()) }
            );
            let why = "SQS may deliver a message again while its batch still runs, or while Lambda still retries the batch";
            self.add("visibility_short", &at, what, why, set(&queue.url, "VisibilityTimeout", &least.as_secs().to_string()));
        }
        if *window >= function.timeout && !window.is_zero() || *batch > 10 && window.is_zero() {
            let (what, why) = if window.is_zero() {
                (format!("its batch size is {batch}, but it has no batching window"), "without a window, a batch has at most 10 messages")
            } else {
                let window = format!("its batching window is {}, but must be shorter than the timeout of", brief(*window));
                (
                    format!("{window} {} ({})", function.name, brief(function.timeout)),
                    "a job can wait for its batch as long as the timeout of the function, or longer",
                )
            };
            let remedy = format!(
                "`aws lambda update-event-source-mapping --uuid {id} --batch-size 10 --maximum-batching-window-in-seconds 0`, or set a \
                 window that is shorter than the timeout of the function"
            );
            self.add("batch_window", &at, what, why, remedy);
        }
        self.function(function, queue, system);
    }
}
