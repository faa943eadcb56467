//! A message in a queue, as the stack's inspection page shows it.

use std::collections::BTreeMap;

use serde_json::Value;

/// A message, visible or not.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) body: String,
    pub(crate) receives: u64,
    /// The instant at which it becomes or became visible, in seconds since the epoch.
    pub(crate) visible_at: i64,
    /// Values of its text attributes.
    pub(crate) attributes: BTreeMap<String, String>,
}

impl Message {
    pub(crate) fn from_shown(shown: &Value) -> Self {
        let attributes = shown["MessageAttributes"].as_object().cloned().unwrap_or_default();
        Self {
            body: shown["Body"].as_str().unwrap_or_default().to_owned(),
            receives: shown["ReceiveCount"].as_u64().unwrap_or_default(),
            visible_at: shown["VisibleAt"].as_i64().unwrap_or_default(),
            attributes: attributes.into_iter().filter_map(text).collect(),
        }
    }

    /// Returns the value of an attribute, or an empty text if it is missing.
    pub(crate) fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

fn text((name, value): (String, Value)) -> Option<(String, String)> {
    let text = value["StringValue"].as_str()?.to_owned();
    Some((name, text))
}
