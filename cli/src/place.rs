//! The place of the jobs: tables, prefix, region and account of an environment.

use std::collections::HashMap;

use clap::Args;
use sqjobs::setup;

use crate::shell::shell;

/// Where the jobs are.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where the jobs are")]
pub(crate) struct Place {
    /// The table of the records. Default: the prefix and `jobs`, such as staging-jobs.
    #[arg(long, global = true, env = "SQJOBS_TABLE", hide_env_values = true)]
    pub(crate) table: Option<String>,
    /// The table of the schedules. Default: the prefix and `schedules`, such as staging-schedules.
    #[arg(long, global = true, env = "SQJOBS_SCHEDULES_TABLE", hide_env_values = true)]
    pub(crate) schedules_table: Option<String>,
    /// The prefix of this environment, such as staging-. The names of its queues start with the prefix, and so do the default names of its
    /// tables. Give the names of queues without the prefix, and the names of functions as AWS shows them. A longer prefix that has its own
    /// tables, such as staging-eu-, is another environment: the command does not show its queues.
    #[arg(long, global = true, env = "SQJOBS_PREFIX", default_value = "", hide_env_values = true)]
    pub(crate) prefix: String,
    /// The AWS region.
    #[arg(long, global = true)]
    pub(crate) region: Option<String>,
    /// The AWS profile.
    #[arg(long, global = true)]
    pub(crate) profile: Option<String>,
    /// The URL of a local stack or another endpoint. Default: AWS.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) endpoint_url: Option<String>,
}

/// A setting by which functions and commands find a system.
pub(crate) struct Setting {
    pub(crate) option: &'static str,
    pub(crate) variable: &'static str,
    pub(crate) value: String,
    pub(crate) usual: String,
}

impl Place {
    /// Returns the place that a function with these variables uses.
    pub(crate) fn of(variables: &HashMap<String, String>) -> Self {
        let [table, schedules_table, prefix] =
            ["SQJOBS_TABLE", "SQJOBS_SCHEDULES_TABLE", "SQJOBS_PREFIX"].map(|name| variables.get(name).cloned());
        Self { table, schedules_table, prefix: prefix.unwrap_or_default(), ..Self::default() }
    }

    /// Returns the prefix of the environment. Without one, returns the prefix of its table.
    pub(crate) fn environment(&self) -> String {
        let table = self.table();
        let of_table = table.strip_suffix(&*setup::jobs_table("")).unwrap_or_default();
        if self.prefix.is_empty() { of_table.to_owned() } else { self.prefix.clone() }
    }

    /// The table of the records.
    pub(crate) fn table(&self) -> String {
        self.table.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| setup::jobs_table(&self.prefix))
    }

    /// The table of the schedules.
    pub(crate) fn schedules_table(&self) -> String {
        self.schedules_table.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| setup::schedules_table(&self.prefix))
    }

    /// Adds the options of this system to each `sqjobs` command in a text.
    pub(crate) fn with_options(&self, text: &str) -> String {
        let (options, mut whole, mut rest) = (self.options(), String::new(), text);
        while let Some((before, after)) = rest.split_once("`sqjobs ") {
            let Some((command, behind)) = after.split_once('`') else { break };
            // No option follows `--`.
            let (named, words) = command.split_at(command.find(" -- ").unwrap_or(command.len()));
            whole.extend([before, "`sqjobs ", named, &*options, words, "`"]);
            rest = behind;
        }
        whole + rest
    }

    /// Returns the options of this system that differ from the defaults.
    fn options(&self) -> String {
        self.option_words().iter().flat_map(|word| [" ".to_owned(), shell(word)]).collect()
    }

    /// Returns the words of these options.
    pub(crate) fn option_words(&self) -> Vec<String> {
        let settings = self.settings().map(|setting| (setting.option, Some(setting.value).filter(|value| *value != setting.usual)));
        let more = [("region", &self.region), ("profile", &self.profile), ("endpoint-url", &self.endpoint_url)];
        let named = settings.into_iter().chain(more.map(|(name, value)| (name, value.clone())));
        named.filter_map(|(name, value)| Some([format!("--{name}"), value?])).flatten().collect()
    }

    /// Returns the settings by which functions and commands find the system.
    pub(crate) fn settings(&self) -> [Setting; 3] {
        let setting = |option, variable, value, usual| Setting { option, variable, value, usual };
        [
            setting("table", "SQJOBS_TABLE", self.table(), setup::jobs_table(&self.prefix)),
            setting("schedules-table", "SQJOBS_SCHEDULES_TABLE", self.schedules_table(), setup::schedules_table(&self.prefix)),
            setting("prefix", "SQJOBS_PREFIX", self.prefix.clone(), String::new()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_a_system_stand_before_the_words_after_two_dashes() {
        let place = Place { prefix: "staging-".into(), ..Place::default() };
        let text = "run `sqjobs get a`, or `sqjobs cancel -- -b`";
        assert_eq!(place.with_options(text), "run `sqjobs get a --prefix staging-`, or `sqjobs cancel --prefix staging- -- -b`");
        assert_eq!(Place { prefix: "a b".into(), ..Place::default() }.with_options("`sqjobs list`"), "`sqjobs list --prefix 'a b'`");
    }
}
