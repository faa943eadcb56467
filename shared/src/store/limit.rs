//! Limits of a record, checked before it is sent, because a request that DynamoDB refuses fails for all its jobs.

use serde_json::{Map, Value};

use super::StoreError;
use crate::{
    envelope::storable,
    record::{Record, State},
};

/// Maximum size of an item in bytes: 400 KB, less a margin for the way DynamoDB counts.
const ITEM_BYTES: usize = 390_000;
/// Bytes that an ending may add: an error in the record and in its history.
const ENDING_BYTES: usize = 10_000;
/// Bytes of all attribute names, and of the values that are always short.
const FIXED_BYTES: usize = 640;
/// Bytes of a failure without its kind and its message: names, two instants and a number.
const FAILURE_BYTES: usize = 120;
/// Bytes of a place in a key without its names.
const PLACE_BYTES: usize = 30;
/// Maximum number of levels of lists and maps in an attribute.
const DEPTH: usize = 31;

/// Returns the size of a record in bytes, as DynamoDB counts it or slightly more. Fails if the table cannot hold the record.
pub(super) fn check(record: &Record) -> Result<usize, StoreError> {
    let invalid = |name: &str, flaw: &str| StoreError::Invalid(format!("in {name}, {flaw}"));
    for (name, value) in [("result", &record.result), ("progress", &record.progress), ("checkpoint", &record.checkpoint)] {
        value.iter().try_for_each(|value| storable(value, DEPTH).map_err(|flaw| invalid(name, flaw)))?;
    }
    record.meta.values().try_for_each(|value| storable(value, DEPTH - 1).map_err(|flaw| invalid("meta", flaw)))?;
    let bytes = bytes(record);
    // A claimed record must leave room for its ending.
    let most = if record.state == State::Running { ITEM_BYTES - ENDING_BYTES } else { ITEM_BYTES };
    if bytes > most {
        return Err(StoreError::Invalid(format!("it has {bytes} bytes; a record has at most {most}")));
    }
    Ok(bytes)
}

/// Returns the size of a record in bytes, as DynamoDB counts it or slightly more.
pub(crate) fn bytes(record: &Record) -> usize {
    let optional = [&record.owner, &record.parent_id, &record.root_id, &record.envelope, &record.message_group, &record.due];
    let texts = [&record.id, &record.name, &record.queue].into_iter().chain(optional.into_iter().flatten()).chain(&record.tags);
    let values = [&record.result, &record.progress, &record.checkpoint].into_iter().flatten();
    let past = record.history.iter().map(|past| (&past.kind, &past.message));
    let failures = record.error.iter().map(|error| (&error.kind, &error.message)).chain(past);
    FIXED_BYTES
        + texts.map(|text| text.len() + 2).sum::<usize>()
        + values.map(json).sum::<usize>()
        + failures.map(|(kind, message)| kind.len() + message.len() + FAILURE_BYTES).sum::<usize>()
        + map(&record.meta)
        + record.dependencies.iter().flat_map(|dependencies| &dependencies.ids).map(|id| 2 * id.len() + 2).sum::<usize>()
        + record.dependents.iter().chain(&record.holders).map(|id| id.len() + 1).sum::<usize>()
        + record.held.iter().map(|(key, place)| PLACE_BYTES + key.len() + place.entry.len()).sum::<usize>()
        + record.message_attributes.iter().map(|(name, value)| 2 + name.len() + value.len()).sum::<usize>()
}

fn json(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Number(_) => 22,
        Value::String(text) => text.len() + 1,
        Value::Array(items) => 3 + items.iter().map(|item| 1 + json(item)).sum::<usize>(),
        Value::Object(object) => map(object),
    }
}

fn map(object: &Map<String, Value>) -> usize {
    3 + object.iter().map(|(name, value)| 1 + name.len() + json(value)).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Dependencies, Failure, Past};

    /// Returns the bytes that a change adds to an empty record.
    fn added(change: impl FnOnce(&mut Record)) -> usize {
        let mut record = Record::default();
        change(&mut record);
        bytes(&record) - bytes(&Record::default())
    }

    #[test]
    fn the_size_of_a_record_is_the_sum_of_its_attributes() {
        assert_eq!(bytes(&Record::default()), FIXED_BYTES + 3 * 2 + 3, "three empty texts and an empty map");
        assert_eq!(added(|record| record.name = "adder".into()), 5);
        assert_eq!(added(|record| record.owner = Some("adder".into())), 7);
        assert_eq!(added(|record| record.tags = vec!["adder".into(), "b".into()]), 7 + 3);
        assert_eq!(added(|record| record.meta = json!({"ab": true}).as_object().cloned().unwrap_or_default()), 4);
        let (kind, message) = ("error".to_owned(), "no".to_owned());
        assert_eq!(
            added(|record| record.error = Some(Failure { kind: kind.clone(), message: message.clone(), ..Failure::default() })),
            127
        );
        assert_eq!(added(|record| record.history = vec![Past { kind, message, ..Past::default() }]), 127);
        let dependencies = Dependencies { ids: vec!["abc".into()], ..Dependencies::default() };
        assert_eq!(added(|record| record.dependencies = Some(dependencies.into())), 8);
        assert_eq!(added(|record| record.message_attributes = [("abc".into(), "defg".into())].into()), 9);
    }

    #[test]
    fn the_size_of_a_value_counts_names_texts_and_levels() {
        for (value, size) in [
            (json!(null), 1),
            (json!(1), 22),
            (json!("abc"), 4),
            (json!([]), 3),
            (json!([true, "abc"]), 3 + 2 + 5),
            (json!({}), 3),
            (json!({"abc": 1}), 3 + 1 + 3 + 22),
        ] {
            assert_eq!(added(|record| record.result = Some(value.clone())), size, "{value}");
        }
    }

    #[test]
    fn a_running_record_leaves_room_for_its_ending() {
        for (state, most) in [(State::Running, 380_000), (State::Succeeded, 390_000)] {
            let empty = Record { state, progress: Some("".into()), ..Record::default() };
            let full = |more: usize| Record { progress: Some("x".repeat(most - bytes(&empty) + more).into()), ..empty.clone() };
            assert_eq!(check(&full(0)).ok(), Some(most));
            let refusal = check(&full(1)).expect_err("it is too large").to_string();
            assert!(refusal.ends_with(&format!("it has {} bytes; a record has at most {most}", most + 1)), "{refusal}");
        }
    }

    #[test]
    fn a_value_nests_as_deep_as_the_table_can_store() {
        let nested = |levels| (1..levels).fold(json!([]), |inner, _| json!([inner]));
        let result = |levels| check(&Record { result: Some(nested(levels)), ..Record::default() }).is_ok();
        assert_eq!([result(31), result(32)], [true, false]);
        let meta = |levels| check(&Record { meta: [("m".to_owned(), nested(levels))].into_iter().collect(), ..Record::default() }).is_ok();
        assert_eq!([meta(30), meta(31)], [true, false], "the map itself is a level");
    }
}
