//! Fields of a schedule, and suggestions for unknown fields.

use serde_json::Value;
use sqjobs::Entry;

/// The fields that `list --json` adds to those of an entry. A line of a file may have them; only `paused` has an effect.
const ADDED: [&str; 5] = ["paused", "from_code", "overridden", "next_fire", "status"];
/// The minimum Jaro similarity at which a field is suggested for a name.
const ALIKE: f64 = 0.7;

fn fields() -> impl Iterator<Item = &'static str> {
    Entry::FIELDS.into_iter().chain(ADDED)
}

/// Returns an error about the first unknown field, with a suggestion. A schedule that lacks a field would be wrong at each fire.
pub(super) fn unknown_field(row: &Value) -> Option<String> {
    let field = row.as_object()?.keys().find(|field| fields().all(|known| known != *field))?;
    Some(format!("a schedule has no field {field:?}; {}", suggestion(field)))
}

/// Suggests a field for an unknown one.
pub(crate) fn suggestion(field: &str) -> String {
    let likeness = |known: &str| if known.contains(field) { 1.0 } else { strsim::jaro(field, known) };
    let nearest = fields().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    match nearest.filter(|nearest| likeness(nearest) > ALIKE) {
        Some(nearest) => format!("did you mean {nearest:?}?"),
        None => format!("the fields of a schedule are {}.", fields().collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn the_fields_of_a_line_are_those_that_a_list_prints() {
        let schema: Value = serde_json::from_str(include_str!("../../../output.schema.json")).expect("JSON");
        let printed: BTreeSet<_> = schema["$defs"]["schedule list"]["properties"].as_object().expect("an object").keys().cloned().collect();
        assert_eq!(printed, fields().map(str::to_owned).collect());
    }

    #[test]
    fn an_unknown_field_of_a_schedule_is_named_with_the_one_that_is_meant() {
        let suggestion = [
            ("tz", "timezone"),
            ("zone", "timezone"),
            ("argz", "args"),
            ("max_attemps", "max_attempts"),
            ("catchup", "catch_up"),
            ("every", "every_s"),
        ];
        for (wrong, right) in suggestion {
            let message = unknown_field(&json!({"id": "a", wrong: 1})).expect("it is unknown");
            assert_eq!(message, format!("a schedule has no field {wrong:?}; did you mean {right:?}?"));
        }
        let message = unknown_field(&json!({"colour": "red"})).expect("it is unknown");
        assert!(message.contains("no field \"colour\"; the fields of a schedule are id, cron, "), "{message}");
        assert_eq!(unknown_field(&json!({"id": "a", "args": [], "status": "due"})), None);
    }
}
