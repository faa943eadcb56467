//! The beater: enqueues the jobs of schedules, and sends waiting jobs when they are due.

#![cfg_attr(not(any(feature = "lambda", test)), expect(dead_code, reason = "without Lambda nothing ticks"))]

mod dlqs;
mod entry;
#[cfg(feature = "events")]
mod events;
mod fire;
mod hand_over;
#[cfg(feature = "lambda")]
mod lambda;
mod letters;
mod part;
mod plan;
mod repair;
pub(crate) mod rows;
mod schedules;
#[cfg(test)]
mod tests;
mod tick;

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use jiff::Timestamp;

use self::rows::{Row, Rows};
#[cfg(any(test, feature = "simulation"))]
pub(crate) use self::{dlqs::Dlqs, part::Ports, tick::tick};
pub use self::{
    entry::{CatchUp, Entry},
    schedules::{Scheduled, Schedules},
};
pub(crate) use self::{hand_over::hand_over, part::Due};
use crate::{Clock, Error};

/// Number of fires that a preview shows for each entry.
const SHOWN: usize = 5;

/// The function that EventBridge invokes each minute. Invocations may overlap, be late, or be duplicated.
///
/// It enqueues the jobs of its entries and of all other rows in the schedules' table. It also sends the jobs that wait longer
/// than a queue can delay: for example, a job with a `run_at` in a week or a retry in an hour. These jobs wait in the table's due
/// index, and start in the second in which they are due.
#[derive(Debug, Default)]
#[must_use = "a beater does nothing until it runs"]
pub struct Beater {
    entries: Vec<Entry>,
}

impl Beater {
    /// Creates a beater that sends due jobs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a schedule. Each new version of this function writes its schedules into the table, and removes those that are no longer
    /// in the code.
    pub fn entry(mut self, entry: Entry) -> Self {
        self.entries.push(entry);
        self
    }

    /// Runs as a Lambda function. Outside Lambda it prints the next fires of its entries, and marks the days on which clocks change.
    ///
    /// # Errors
    ///
    /// When an entry or a setting is wrong. The error names it.
    #[cfg_attr(not(feature = "lambda"), expect(clippy::unused_async, reason = "with Lambda it is not"))]
    pub async fn run(self) -> Result<(), Error> {
        self.check()?;
        #[cfg(feature = "lambda")]
        if crate::config::in_lambda() {
            return lambda::serve(self).await;
        }
        let shown = self.preview(Clock::system().now())?;
        io::stdout().write_all(shown.as_bytes()).map_err(|error| Error::process("cannot write to standard output", error))
    }

    fn check(&self) -> Result<(), Error> {
        let mut ids = BTreeSet::new();
        for entry in &self.entries {
            entry.check()?;
            if !ids.insert(entry.id()) {
                return Err(Error::config(format!("two entries have the id {:?}; give each its own", entry.id())));
            }
        }
        Ok(())
    }

    fn preview(&self, now: Timestamp) -> Result<String, Error> {
        let mut text = String::new();
        for entry in &self.entries {
            let timetable = entry.timetable(now)?;
            text.extend([entry.id(), ": ", &timetable.to_string(), "\n"]);
            text.extend(timetable.preview(now).take(SHOWN).map(|fire| format!("  {fire}\n")));
        }
        Ok(text)
    }

    /// Writes the entries into the table if they differ. If the entry of a row is no longer in the code, marks the row for deletion,
    /// unless the row was changed by hand.
    async fn settle(&self, rows: &dyn Rows, now: Timestamp) -> Result<(), Error> {
        for entry in &self.entries {
            let settled = |row: Option<Row>| match row {
                Some(row) if row.entry == *entry && row.from_code && !row.overridden && !row.deleted => Ok(row),
                Some(row) => Ok(Row { from_code: true, overridden: false, ..row.put(entry.clone(), now) }),
                None => Ok(Row { from_code: true, ..Row::new(entry.clone(), now) }),
            };
            schedules::edit(rows, entry.id(), settled).await?;
        }
        let is_gone = |row: &Row| row.from_code && !row.deleted && self.entries.iter().all(|entry| entry.id() != row.entry.id());
        let found = rows.all().await.map_err(schedules::unanswered)?;
        for gone in found.into_iter().flatten().filter(is_gone) {
            let left = |row: Option<Row>| {
                let row = row.unwrap_or_else(|| gone.clone());
                // A row that was changed by hand stays, and no longer belongs to the code.
                let left = if row.overridden { Row { from_code: false, overridden: false, ..row } } else { Row { deleted: true, ..row } };
                Ok(left.looked_at(now))
            };
            schedules::edit(rows, gone.entry.id(), left).await?;
        }
        Ok(())
    }
}
