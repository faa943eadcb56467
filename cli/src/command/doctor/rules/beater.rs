//! Rules about the beater.

use std::collections::BTreeSet;

use super::Findings;
use crate::command::{
    beater::deploy,
    doctor::facts::{Beater, System},
    function,
};

impl Findings<'_> {
    pub(super) fn beater(&mut self, beater: &Beater, system: &System) {
        let at = format!("function {}", beater.name);
        let Some(known) = system.functions.get(&beater.name) else { return };
        let Some(function) = known else {
            let what = "there is no such function, and no EventBridge rule invokes another beater of this environment each minute";
            let why = "without a beater, schedules do not fire, and jobs that are delayed by more than 15 minutes never run";
            let name = &beater.name;
            let remedy = format!(
                "deploy a beater, for example with {}, then run `sqjobs schedule beater {name}`. If your beater has another name, run `sqjobs \
                 doctor --beater FUNCTION`",
                deploy(name)
            );
            self.add("beater_missing", &at, what, why, remedy);
            return;
        };
        let repair = self.repair(function, format!("`sqjobs schedule beater {}`, or `terraform apply`", beater.name));
        if !beater.is_invoked {
            let why = "schedules do not fire, and jobs that are delayed by more than 15 minutes are not sent in time";
            self.add(
                "beater_asleep",
                &at,
                "no EventBridge rule invokes it each minute, or the function does not allow EventBridge to invoke it",
                why,
                &*repair,
            );
        }
        self.role(&at, &beater.missing_rights, &repair);
        self.variables(function, &function::variables(&system.place, None, &[]), &repair);
        let Some(listed) = &beater.listed else { return };
        let dlqs = function.environment.get("SQJOBS_DLQ_URL").map(String::as_str).unwrap_or_default();
        let in_variable = dlqs.split_whitespace().filter_map(|url| url.rsplit('/').next());
        let seen: BTreeSet<_> = listed.iter().map(String::as_str).chain(in_variable).collect();
        let missing: Vec<_> = system.fed_queues().map(|(_, dlq)| dlq).filter(|dlq| !seen.contains(&*dlq.name)).collect();
        if let [first, ..] = missing[..] {
            let what =
                format!("it does not read all dead-letter queues: {} are missing from its list, such as {}", missing.len(), first.name);
            let why =
                "if SQS moves a message to such a queue, no beater adds the reason, and the record does not show that the job has ended";
            self.add("beater_dlqs", &at, what, why, repair);
        }
    }
}
