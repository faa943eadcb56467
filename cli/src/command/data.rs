//! The data of jobs, which may be private: their arguments, results and notes.

use serde_json::Value;

/// The fields of a record that contain data. The arguments are in the envelope.
const DATA: [&str; 6] = ["envelope", "message_attributes", "meta", "progress", "checkpoint", "result"];

/// Removes the data from a record, and returns the names of the removed fields.
pub(super) fn remove_data(record: &mut Value) -> Vec<&'static str> {
    let Some(fields) = record.as_object_mut() else { return Vec::new() };
    DATA.into_iter().filter(|name| fields.remove(*name).is_some()).collect()
}
