//! The arguments of the job.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A payload and its destination.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Webhook {
    /// The URL of the receiver, with `https`.
    pub(crate) url: String,
    /// The payload, sent as compact JSON.
    pub(crate) payload: Value,
    /// Additional headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_misspelt_argument_is_rejected_instead_of_ignored() {
        let arguments = json!({"url": "https://example.com/", "payload": {}, "header": {"x-team": "blue"}});
        assert!(serde_json::from_value::<Webhook>(arguments).is_err());
    }
}
