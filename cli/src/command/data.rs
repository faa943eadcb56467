//! The data of jobs, which may be private: their arguments, results, progress, checkpoints and metadata.

use serde_json::Value;

/// The fields of a record that contain data. The arguments are in the envelope.
const DATA: [&str; 6] = ["envelope", "message_attributes", "meta", "progress", "checkpoint", "result"];

/// Removes the data from a record, and returns the names of the removed fields.
pub(super) fn remove_data(record: &mut Value) -> Vec<&'static str> {
    let Some(fields) = record.as_object_mut() else { return Vec::new() };
    DATA.into_iter().filter(|name| fields.remove(*name).is_some()).collect()
}

/// Removes the data from a line of a command, which is a record or contains one. Returns the names of the removed fields.
pub(super) fn without_data(row: &mut Value) -> Vec<&'static str> {
    let mut removed = remove_data(row);
    removed.extend(row.get_mut("record").map(remove_data).unwrap_or_default());
    removed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_of_a_record_is_shown_or_left_out_on_purpose() {
        let schema: Value = serde_json::from_str(include_str!("../../output.schema.json")).expect("a schema is JSON");
        let mut record = schema["$defs"]["record"]["properties"].clone();
        let left_out = without_data(&mut record);
        assert_eq!(left_out, ["envelope", "message_attributes", "meta", "progress", "checkpoint", "result"]);
        let reviewed = "attempts blocked_on cancel_requested dependencies dependents digest dlq due enqueued_at error finished_at generation held history id lease_until listed listed_at max_attempts message_group name owner parent_id purge_at queue root_id run_at runs snoozes started_at state tags trace_id";
        for name in record.as_object().expect("fields").keys() {
            assert!(reviewed.split(' ').any(|field| field == name), "{name} is a new field of a record: is it data of the job?");
        }
        let mut job = json!({"id": "a", "record": {"id": "a", "result": 1}});
        assert_eq!(without_data(&mut job), ["result"]);
        assert_eq!(job, json!({"id": "a", "record": {"id": "a"}}));
    }
}
