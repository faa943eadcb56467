//! Finds the faults of a system, with their consequences and remedies.

mod beater;
mod feed;
mod function;
mod queue;
mod tables;
mod work;

use serde::Serialize;

use super::facts::System;
use crate::place::Place;

/// A fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::command::doctor) struct Finding {
    /// The rule that is broken.
    pub(in crate::command::doctor) rule: &'static str,
    /// The part that breaks it, such as a queue.
    pub(in crate::command::doctor) at: String,
    /// The fault in words.
    pub(in crate::command::doctor) what: String,
    /// The consequence.
    pub(in crate::command::doctor) why: &'static str,
    /// The remedy.
    pub(in crate::command::doctor) remedy: String,
}

/// Returns all faults of a system.
pub(in crate::command::doctor) fn findings(system: &System) -> Vec<Finding> {
    let mut found = Findings { found: Vec::new(), place: &system.place };
    found.tables(&system.jobs, &system.schedules);
    found.shared(system);
    for queue in &system.queues {
        found.queue(queue);
        found.feed(queue, system);
    }
    found.streams(system);
    found.beater(&system.beater, system);
    found.work(system);
    found.found
}

struct Findings<'a> {
    found: Vec<Finding>,
    /// The place that the commands of a remedy must name.
    place: &'a Place,
}

impl Findings<'_> {
    fn add(&mut self, rule: &'static str, at: &str, what: impl Into<String>, why: &'static str, remedy: impl Into<String>) {
        let remedy = self.place.with_options(&remedy.into());
        let finding = Finding { rule, at: at.to_owned(), what: what.into(), why, remedy };
        // A function that reads several queues is checked for each.
        if !self.found.contains(&finding) {
            self.found.push(finding);
        }
    }
}
