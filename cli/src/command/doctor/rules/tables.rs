//! Rules about the tables.

use super::Findings;
use crate::{
    command::{
        doctor::facts::{System, Table},
        function::Function,
    },
    place::Place,
};

impl Findings<'_> {
    pub(super) fn tables(&mut self, jobs: &Table, schedules: &Table) {
        for (table, indexes) in [(jobs, &["due", "listed"][..]), (schedules, &["due"])] {
            let at = format!("table {}", table.name);
            if table.arn.is_none() {
                let why = "jobs need the table of the records, and schedules need both tables";
                self.add("table_missing", &at, "there is no such table", why, "`sqjobs table create`, or name another table with --table");
                continue;
            }
            for index in indexes.iter().filter(|index| !table.indexes.iter().any(|own| own == *index)) {
                let why = "due jobs, failed jobs or due schedules cannot be found without this index";
                self.add(
                    "index_missing",
                    &at,
                    format!("it has no index {index}"),
                    why,
                    format!("add the index {index}, as `docs/settings.md` describes"),
                );
            }
        }
        if jobs.deletes_expired == Some(false) {
            let remedy = format!(
                "`aws dynamodb update-time-to-live --table-name {} --time-to-live-specification Enabled=true,AttributeName=purge_at`",
                jobs.name
            );
            let at = format!("table {}", jobs.name);
            self.add(
                "ttl_off",
                &at,
                "its time to live is off",
                "records of ended jobs are never deleted, and their storage costs money",
                remedy,
            );
        }
    }

    /// Finds other environments that use the same tables.
    pub(super) fn shared(&mut self, system: &System) {
        let why = "environments that share a table discard each other's jobs as duplicates, and fire each other's schedules";
        let remedy = "give each environment its own tables: `docs/environments.md` describes the move";
        let [jobs, schedules, _] = system.place.settings();
        for table in [jobs.value, schedules.value] {
            let uses = |other: &&Function| Place::of(&other.environment).settings().iter().any(|own| own.value == table);
            if let Some(other) = system.others.iter().find(uses) {
                let what = format!(
                    "function {} of the environment with the prefix \"{}\" also uses it",
                    other.name,
                    Place::of(&other.environment).prefix
                );
                self.add("table_shared", &format!("table {table}"), what, why, remedy);
            }
        }
        if let Some(queue) = &system.foreign_queue {
            let what = format!("it has statistics of queue {queue}, which does not have the prefix \"{}\"", system.place.prefix);
            self.add("table_shared", &format!("table {}", system.jobs.name), what, why, remedy);
        }
    }
}
