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
            let why = "without it schedules do not fire, and jobs that wait for more than 15 minutes are not sent";
            let name = &beater.name;
            let remedy = format!(
                "deploy it, for example with {}, then run `sqjobs schedule beater {name}`; if it has another name: `sqjobs doctor --beater FUNCTION`",
                deploy(name)
            );
            self.add("beater_missing", &at, what, why, remedy);
            return;
        };
        let repair = self.repair(function, format!("`sqjobs schedule beater {}`, or `terraform apply`", beater.name));
        if !beater.is_invoked {
            let why = "schedules do not fire, and jobs that wait for more than 15 minutes are not sent in time";
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
        let named = dlqs.split_whitespace().filter_map(|url| url.rsplit('/').next());
        let seen: BTreeSet<_> = listed.iter().map(String::as_str).chain(named).collect();
        let missing: Vec<_> = system.fed_queues().map(|(_, dlq)| dlq).filter(|dlq| !seen.contains(&*dlq.name)).collect();
        if let [first, ..] = missing[..] {
            let what = format!("its list lacks {} of the dead-letter queues, such as {}", missing.len(), first.name);
            let why = "a message that SQS moves there gets no reason, and the record of its job does not show its end";
            self.add("beater_dlqs", &at, what, why, repair);
        }
    }
}
