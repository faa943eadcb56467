//! The arguments of the job.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A payload and where to deliver it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Webhook {
    /// The receiver, over `https`.
    pub(crate) url: String,
    /// What is sent, as compact JSON.
    pub(crate) payload: Value,
    /// Headers besides those of the delivery itself.
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
