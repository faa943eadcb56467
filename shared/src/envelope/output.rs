//! References to the outputs of other jobs in the arguments of a job.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Envelope, LINK, Unreadable, excerpt};

/// The feature that a worker needs for these references.
pub(super) const FEATURE: &str = "outputs";
/// The only key of a reference.
const KEY: &str = "$output";

/// The remedy for a reference in a message that does not name the feature.
const NEEDS: &str = r#"add "needs": ["outputs"] to the message if "$output" stands for the result of a job"#;

/// Returns a reference to the output of another job, for the arguments of a job that waits for it: `{"$output": id}`.
///
/// Before the job runs, its function replaces the reference by the result of the other job, or by `null` if there is no result. Inside a
/// workflow, `id` is the id within the workflow.
///
/// ```
/// use serde_json::json;
/// use sqjobs::{Enqueue, output};
///
/// let resize = Enqueue::named("resize", json!({"image": output("fetch-7"), "width": 200})).after(["fetch-7"]);
/// assert_eq!(resize.envelope().args["image"], json!({"$output": "fetch-7"}));
/// ```
pub fn output(id: &str) -> Value {
    json!({ KEY: id })
}

/// Returns the id in a reference.
fn referred(value: &Value) -> Option<&str> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    object.get(KEY)?.as_str()
}

fn collect<'a>(value: &'a Value, ids: &mut BTreeSet<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, ids)),
        Value::Object(object) => match referred(value) {
            Some(id) => drop(ids.insert(id)),
            None => object.values().for_each(|value| collect(value, ids)),
        },
        _ => {}
    }
}

fn replace(value: &mut Value, with: &impl Fn(&str) -> Value) {
    if let Some(id) = referred(value) {
        *value = with(id);
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, with)),
        Value::Object(object) => object.values_mut().for_each(|value| replace(value, with)),
        _ => {}
    }
}

/// Returns the id of a job of a workflow.
pub(crate) fn step_id(workflow: &str, step: &str) -> String {
    format!("{workflow}/{step}")
}

impl Envelope {
    /// Returns the ids of the jobs to whose outputs the arguments refer. Returns none if the envelope does not need the feature.
    pub(crate) fn outputs(&self) -> BTreeSet<&str> {
        if self.needs.iter().any(|need| need == FEATURE) { self.references() } else { BTreeSet::new() }
    }

    /// Adds a remedy to the flaw of arguments, if they have references and the message does not name the feature.
    pub(crate) fn explain_outputs(&self, flaw: Unreadable) -> Unreadable {
        let is_unannounced = self.outputs().is_empty() && !self.references().is_empty();
        if is_unannounced { flaw.advise(NEEDS) } else { flaw }
    }

    fn references(&self) -> BTreeSet<&str> {
        let mut ids = BTreeSet::new();
        collect(&self.args, &mut ids);
        self.kwargs.values().for_each(|value| collect(value, &mut ids));
        ids
    }

    /// Returns `true` if the arguments refer to outputs of jobs that this one waits for.
    pub(super) fn refers_to_dependencies(&self) -> bool {
        let waits = !self.depends_on.is_empty() || !self.jobs.is_empty();
        waits
            && self
                .references()
                .iter()
                .any(|id| self.depends_on.iter().any(|own| own == id) || self.jobs.iter().any(|step| step.id() == *id))
    }

    /// Checks that the job waits for the jobs to whose outputs it refers.
    ///
    /// # Errors
    ///
    /// Names the first job for which it does not wait.
    pub(crate) fn check_outputs(&self, depends_on: &[String]) -> Result<(), Unreadable> {
        // A job with many dependencies waits for nodes. Only the nodes name the jobs.
        if depends_on.iter().any(|id| id.contains(LINK)) {
            return Ok(());
        }
        match self.outputs().into_iter().find(|id| !depends_on.iter().any(|own| own == id)) {
            Some(id) => {
                let flaw = format!("it refers to the output of job {}, for which this job does not wait", excerpt(id));
                Err(Unreadable::new("args", flaw, "add the id to `depends_on`"))
            }
            None => Ok(()),
        }
    }

    /// Replaces the references to outputs by these values, or by `null`.
    pub(crate) fn with_outputs(mut self, outputs: &BTreeMap<String, Value>) -> Self {
        self.replace_references(|id| outputs.get(id).cloned().unwrap_or_default());
        self.needs.retain(|need| need != FEATURE);
        self
    }

    /// Replaces the ids in the references.
    pub(crate) fn with_renamed_outputs(mut self, rename: impl Fn(&str) -> String) -> Self {
        if self.needs.iter().any(|need| need == FEATURE) {
            self.replace_references(|id| output(&rename(id)));
        }
        self
    }

    fn replace_references(&mut self, with: impl Fn(&str) -> Value) {
        replace(&mut self.args, &with);
        self.kwargs.values_mut().for_each(|value| replace(value, &with));
    }
}
