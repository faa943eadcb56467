//! Items of the table, and the records that they hold.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::de::DeserializeOwned;

use crate::{envelope::told, record::Record, store::StoreError};

pub(crate) type Item = HashMap<String, AttributeValue>;

pub(crate) fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn id_of(item: &Item) -> Option<String> {
    item.get("id")?.as_s().ok().cloned()
}

pub(crate) fn record(item: Item) -> Result<Record, StoreError> {
    let id = id_of(&item).unwrap_or_default();
    if let Some(name) = spelled_out(&item) {
        return Err(StoreError::Unreadable {
            id,
            flaw: format!("{name}: its value is the default, which must be stored as an absent attribute; remove the attribute"),
        });
    }
    parse(item).map_err(|flaw| StoreError::Unreadable { id, flaw })
}

/// Reads an item, or returns its flaw without any text of the item.
pub(crate) fn parse<T: DeserializeOwned>(item: Item) -> Result<T, String> {
    let item = serde_dynamo::AttributeValue::M(serde_dynamo::Item::from(item).into());
    let read = serde_path_to_error::deserialize(serde_dynamo::Deserializer::from_attribute_value(item));
    read.map_err(|error| flaw(&error))
}

/// Returns an attribute that belongs to the version of the record, and that is present but should be absent. The condition of each write
/// requires its absence, so no write could succeed.
fn spelled_out(item: &Item) -> Option<&'static str> {
    let says_nothing = |name: &str| match item.get(name) {
        Some(AttributeValue::Null(_)) => true,
        Some(AttributeValue::N(number)) => name == "generation" && number == "0",
        Some(AttributeValue::Bool(is_set)) => name == "cancel_requested" && !is_set,
        _ => false,
    };
    ["owner", "generation", "lease_until", "dlq", "cancel_requested"].into_iter().find(|name| says_nothing(name))
}

/// Returns the invalid attribute of an item and its flaw. Leaves out all text of the item, because the text may be the result of a job.
fn flaw(error: &serde_path_to_error::Error<serde_dynamo::Error>) -> String {
    let words = error.inner().to_string();
    // These sentences of `serde_dynamo` quote at most a number.
    let is_harmless = words.starts_with("Expected ") || words.starts_with("Failed to parse '");
    let words = if is_harmless { words.to_lowercase() } else { told(&words).unwrap_or_else(|| "its form is wrong".into()) };
    match error.path().to_string().as_str() {
        "." => words,
        path => format!("{path}: {words}"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{Dependencies, Dlq, Failure, KeyRate, Past, Place, Rate};

    /// A record with every attribute.
    pub(in super::super) fn full() -> Record {
        let (at, text) = (Some(crate::clock::from_millis(1)), || Some("x".to_owned()));
        let failure = Failure { kind: "error".into(), message: "it broke".into(), at };
        Record {
            id: "a".into(),
            generation: 1,
            owner: text(),
            lease_until: Some(1),
            digest: Some(crate::Envelope::new("adder", 1.into()).digest()),
            enqueued_at: at,
            run_at: at,
            started_at: at,
            finished_at: at,
            result: Some(1.into()),
            error: Some(failure),
            history: vec![Past { kind: "error".into(), message: "it broke".into(), at, ..Past::default() }],
            snoozes: 1,
            runs: 1,
            tags: vec!["x".into()],
            meta: [("x".to_owned(), 1.into())].into_iter().collect(),
            parent_id: text(),
            root_id: text(),
            progress: Some(1.into()),
            checkpoint: Some(1.into()),
            trace_id: text(),
            dlq: Some(Dlq::Pending),
            cancel_requested: true,
            envelope: text(),
            message_group: text(),
            message_attributes: [("x".to_owned(), "y".to_owned())].into(),
            dependencies: Some(Box::new(Dependencies { ids: vec!["x".into()], until: at, met: true, ..Dependencies::default() })),
            blocked_on: ["x".to_owned()].into(),
            dependents: ["x".to_owned()].into(),
            held: [("x".to_owned(), Place { entry: "y".into(), until: Some(1) })].into(),
            holders: ["x".to_owned()].into(),
            limit: Some(1),
            fixed_limit: Some(1),
            rate: Some(Box::new(KeyRate { declared: Some(Rate::per_second(1)), used_until: 1, ..KeyRate::default() })),
            due: text(),
            listed: text(),
            listed_at: at,
            purge_at: Some(1),
            ..Record::default()
        }
    }

    fn refusal(name: &str, value: AttributeValue) -> String {
        let mut item: Item = serde_dynamo::to_item(full()).expect("an item");
        item.insert(name.into(), value);
        record(item).expect_err("it is no record").to_string()
    }

    #[test]
    fn an_unreadable_item_is_reported_with_its_id_and_without_its_text() {
        let number = |number: &str| AttributeValue::N(number.into());
        let secret = || text("s3cr3t");
        let words = [
            ("state", secret(), "state: unknown variant, expected one of `scheduled`"),
            ("attempts", secret(), "attempts: expected num"),
            ("attempts", number("-1"), "attempts: failed to parse '-1' as an integer"),
            ("lease_until", AttributeValue::L(vec![secret()]), "lease_until: expected num"),
            ("history", AttributeValue::L(vec![secret()]), "history[0]: "),
            ("run_at", secret(), "run_at: its form is wrong"),
            ("meta", secret(), "meta: "),
            ("error", AttributeValue::M(HashMap::new()), "error: missing field `kind`"),
        ];
        for (name, value, words) in words {
            let refusal = refusal(name, value);
            assert!(refusal.starts_with(&format!("the record of a cannot be read: {words}")), "{refusal}");
            assert!(!refusal.contains("s3cr3t"), "{refusal}");
        }
    }

    #[test]
    fn an_item_that_spells_out_what_should_be_absent_is_no_record() {
        let nothing = || AttributeValue::Null(true);
        let idle = [
            ("owner", nothing()),
            ("lease_until", nothing()),
            ("dlq", nothing()),
            ("generation", nothing()),
            ("generation", AttributeValue::N("0".into())),
            ("cancel_requested", AttributeValue::Bool(false)),
        ];
        for (name, value) in idle {
            assert!(refusal(name, value).contains(&format!("{name}: its value is the default")), "{name}");
        }
        let unfenced = [("run_at", nothing()), ("attempts", AttributeValue::N("0".into()))];
        let item: Item = serde_dynamo::to_item(full()).expect("an item");
        assert!(record(item.into_iter().chain(unfenced.map(|(name, value)| (name.to_owned(), value))).collect()).is_ok());
    }
}
