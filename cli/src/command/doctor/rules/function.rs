//! Rules about a function: its role, its variables and its version.

use sqjobs::Priority;

use super::Findings;
use crate::{
    command::{
        doctor::facts::{Queue, System},
        function::{self, Function},
    },
    place::Place,
    shell::shell,
};

impl Findings<'_> {
    pub(super) fn function(&mut self, function: &Function, queue: &Queue, system: &System) {
        let at = format!("function {}", function.name);
        if system.loop_detection.contains(&function.name) {
            let remedy = format!("`aws lambda put-function-recursion-config --function-name {} --recursive-loop Allow`", function.name);
            let why = "if each job enqueues another one, Lambda stops this chain after about 16 jobs; the library allows 100";
            self.add("recursive_loop", &at, "its recursive loop detection is on", why, remedy);
        }
        if let Some(runs) = system.unreleased.get(&function.name) {
            let what = format!("version {runs} runs, but newer code or settings are deployed");
            let why = "jobs do not use the newest deployment: it was not released, or it was rolled back";
            self.add("unreleased", &at, what, why, format!("`sqjobs function release {}`", function.name));
        }
        let repair = format!("`sqjobs queue create {} --function {}`, or `terraform apply`", queue.base(), function.name);
        let repair = self.repair(function, repair);
        self.role(&at, &queue.missing_rights, &repair);
        self.dependents(function, queue);
        // One function reads the queues of all priorities. Its variables name the queue of the default priority.
        let expected = if queue.shares_dlq() { Priority::Default.queue(&queue.name) } else { queue.name.clone() };
        let dlqs: Vec<_> = queue.dlq.iter().map(|dlq| &*dlq.name).collect();
        self.variables(function, &function::variables(&system.place, Some(&expected), &dlqs), &repair);
    }

    /// Checks that a function may send to the queues of the jobs that wait for its jobs.
    fn dependents(&mut self, function: &Function, queue: &Queue) {
        let Some(id) = queue.denied.values().next() else { return };
        let (name, names) = (&function.name, queue.denied.keys().cloned().collect::<Vec<_>>().join(", "));
        let queues = if queue.denied.len() == 1 { "queue" } else { "the queues" };
        let what = format!("its role does not allow it to send to {queues} {names}, but jobs there wait for its jobs, such as {id}");
        let why = "the function cannot send the messages of these jobs when their wait ends; the beater sends them, up to a minute later";
        let prefix = &*self.place.prefix;
        let options = queue.denied.keys().map(|name| format!(" --enqueues-to {}", shell(name.strip_prefix(prefix).unwrap_or(name))));
        let remedy = format!(
            "`sqjobs queue create {} --function {name}{}`, with an --enqueues-to for each other queue to which its jobs send, because the \
             command replaces the list; or add the queues to `enqueues_to` in Terraform",
            queue.base(),
            options.collect::<String>()
        );
        let remedy = self.repair(function, remedy);
        self.add("dependents_denied", &format!("function {name}"), what, why, remedy);
    }

    /// Checks the variables of a function. Of URLs, it compares the names of the queues.
    pub(super) fn variables(&mut self, function: &Function, expected: &[(&str, String)], repair: &str) {
        let own = Place::of(&function.environment);
        let at = format!("function {}", function.name);
        for (name, expected) in expected.iter().filter(|(name, expected)| !(expected.is_empty() && name.ends_with("_URL"))) {
            let named = own.settings().into_iter().find(|setting| setting.variable == *name).map(|setting| setting.value);
            let is_table = named.is_some() && *name != "SQJOBS_PREFIX";
            let url = || function.environment.get(*name).map(|value| value.rsplit(['/', ':']).next().unwrap_or(value).to_owned());
            let value = named.or_else(url);
            if value.as_ref() == Some(expected) {
                continue;
            }
            if let Some(table) = value.as_ref().filter(|table| is_table && !table.starts_with(&own.prefix)) {
                let what = format!("{name} is \"{table}\", but should start with the prefix \"{}\"", own.prefix);
                let why = "environments that share a table discard each other's jobs as duplicates, and fire each other's schedules";
                let option = name.trim_start_matches("SQJOBS_").to_lowercase().replace('_', "-");
                let remedy = format!(
                    "move to table {expected}, as `docs/environments.md` describes: `sqjobs table create`, then {repair}. If no other environment \
                     uses table {table}, you can keep it instead: give each command --{option} {table}"
                );
                self.add("table_unprefixed", &at, what, why, remedy);
                continue;
            }
            let value = value.map_or("not set".into(), |value| format!("\"{value}\""));
            let why = "the function uses other queues or tables than this environment";
            self.add("environment", &at, format!("{name} is {value}, but must be \"{expected}\""), why, repair);
        }
    }

    /// Returns the remedy that sets the variables and rights of a function. If its variables name another environment, the operator checks
    /// them first.
    pub(super) fn repair(&self, function: &Function, repair: String) -> String {
        match function.environment_other_than(self.place) {
            Some(_) => format!(
                "if the variables of the function are right, run the doctor with the --prefix, --table and --schedules-table of its \
                 environment; otherwise delete its variables SQJOBS_PREFIX, SQJOBS_TABLE and SQJOBS_SCHEDULES_TABLE, then {repair}"
            ),
            None => repair,
        }
    }

    pub(super) fn role(&mut self, at: &str, missing_rights: &[String], repair: &str) {
        if let [first, others @ ..] = missing_rights {
            let more = match others.len() {
                0 => String::new(),
                1 => ", and 1 more permission".to_owned(),
                more => format!(", and {more} more permissions"),
            };
            let why = "the function cannot run jobs or cannot write their records, so jobs are retried or run again";
            self.add("role_denies", at, format!("its role does not allow {first}{more}"), why, repair);
        }
    }
}
