//! PartiQL statements that write records.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;

use super::item::text;
use crate::{
    clock::rfc3339,
    record::{Record, Version},
    store::StoreError,
};

/// A statement and its parameters.
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) parameters: Vec<AttributeValue>,
}

impl Statement {
    pub(super) fn new(text: String) -> Self {
        // Enough for almost all statements, because growing is expensive.
        let mut statement = Self { text, parameters: Vec::with_capacity(24) };
        statement.text.reserve(512);
        statement
    }

    pub(super) fn add(&mut self, texts: [&str; 3], value: Option<AttributeValue>) {
        self.text.extend(texts);
        self.parameters.extend(value);
    }
}

pub(super) fn insert(table: &str, next: &Record) -> Result<Statement, StoreError> {
    let mut statement = Statement::new(format!(r#"INSERT INTO "{table}" VALUE {{"#));
    statement.add(["'", "id", "': ?"], Some(text(&next.id)));
    for attribute in ATTRIBUTES {
        if let Some(value) = (attribute.value)(next)? {
            statement.add([", '", attribute.name, "': ?"], Some(value));
        }
    }
    statement.text += "}";
    Ok(statement)
}

/// Returns a statement that writes the attributes that differ, if the stored record has the version of `seen`. It always writes the
/// state, because a statement must write something.
pub(super) fn update(table: &str, seen: &Record, next: &Record) -> Result<Statement, StoreError> {
    let mut statement = Statement::new(format!(r#"UPDATE "{table}""#));
    for attribute in ATTRIBUTES.iter().filter(|attribute| !(attribute.is_same)(seen, next) || attribute.name == "state") {
        match (attribute.value)(next)? {
            Some(value) => statement.add([r#" SET ""#, attribute.name, r#""=?"#], Some(value)),
            None => statement.add([r#" REMOVE ""#, attribute.name, r#"""#], None),
        }
    }
    statement.add([r#" WHERE ""#, "id", r#""=?"#], Some(text(&next.id)));
    for (name, value) in version_condition(&seen.version()) {
        let test = if value.is_some() { r#""=?"# } else { r#"" IS MISSING"# };
        statement.add([r#" AND ""#, name, test], value);
    }
    if seen.is_ended_alone_by(next) {
        statement.text += r#" AND "dependents" IS MISSING"#;
    }
    Ok(statement)
}

/// Returns the attributes that the stored item must have. An attribute without a value must be absent.
pub(crate) fn version_condition(seen: &Version<'_>) -> [(&'static str, Option<AttributeValue>); 6] {
    let number = |number: i128| AttributeValue::N(number.to_string());
    [
        ("state", Some(text(seen.state.as_str()))),
        ("owner", seen.owner.map(text)),
        ("generation", (seen.generation > 0).then(|| number(seen.generation.into()))),
        ("lease_until", seen.lease_until.map(|until| number(until.into()))),
        ("dlq", seen.dlq.map(|dlq| text(dlq.as_str()))),
        ("cancel_requested", seen.cancel_requested.then_some(AttributeValue::Bool(true))),
    ]
}

/// One attribute of the records: its name, its value, and a comparison of two records.
struct Attribute {
    name: &'static str,
    value: fn(&Record) -> Result<Option<AttributeValue>, StoreError>,
    is_same: fn(&Record, &Record) -> bool,
}

/// Lists the fields of a record, and the value to write for each, if any.
macro_rules! attributes {
    ($record:ident => $($field:ident: $value:expr),* $(,)?) => {
        /// All attributes except the key, in the order of statements.
        const ATTRIBUTES: &[Attribute] = &[$(Attribute {
            name: stringify!($field),
            value: |$record| $value.map(written_value).transpose(),
            is_same: |a, b| a.$field == b.$field,
        }),*];
    };
}

attributes! { record =>
    name: Some(&record.name),
    queue: Some(&record.queue),
    state: Some(record.state),
    attempts: Some(record.attempts),
    max_attempts: Some(record.max_attempts),
    generation: Some(record.generation).filter(|generation| *generation > 0),
    owner: record.owner.as_ref(),
    lease_until: record.lease_until,
    digest: record.digest,
    enqueued_at: record.enqueued_at.map(rfc3339::text),
    run_at: record.run_at.map(rfc3339::text),
    started_at: record.started_at.map(rfc3339::text),
    finished_at: record.finished_at.map(rfc3339::text),
    result: record.result.as_ref(),
    error: record.error.as_ref(),
    history: Some(&record.history).filter(|history| !history.is_empty()),
    snoozes: Some(record.snoozes).filter(|snoozes| *snoozes > 0),
    runs: Some(record.runs).filter(|runs| *runs > 0),
    tags: Some(&record.tags).filter(|tags| !tags.is_empty()),
    meta: Some(&record.meta).filter(|meta| !meta.is_empty()),
    parent_id: record.parent_id.as_ref(),
    root_id: record.root_id.as_ref(),
    progress: record.progress.as_ref(),
    checkpoint: record.checkpoint.as_ref(),
    dlq: record.dlq,
    cancel_requested: Some(record.cancel_requested).filter(|requested| *requested),
    envelope: record.envelope.as_ref(),
    message_group: record.message_group.as_ref(),
    message_attributes: Some(&record.message_attributes).filter(|attributes| !attributes.is_empty()),
    dependencies: record.dependencies.as_ref(),
    blocked_on: string_set(&record.blocked_on),
    dependents: string_set(&record.dependents),
    due: record.due.as_ref(),
    listed: record.listed.as_ref(),
    listed_at: record.listed_at.map(rfc3339::text),
    purge_at: record.purge_at,
}

/// A set of strings, which serializes as a string set of DynamoDB.
#[derive(Serialize)]
#[serde(transparent)]
struct StringSet<'a>(#[serde(with = "serde_dynamo::string_set")] &'a BTreeSet<String>);

fn string_set(set: &BTreeSet<String>) -> Option<StringSet<'_>> {
    (!set.is_empty()).then_some(StringSet(set))
}

fn written_value(value: impl Serialize) -> Result<AttributeValue, StoreError> {
    serde_dynamo::to_attribute_value(value).map_err(|error| StoreError::Invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        State,
        store::dynamodb::item::{Item, tests::full},
    };

    #[test]
    fn an_item_has_what_serde_makes_of_the_record() {
        for record in [full(), Record { id: "a".into(), ..Record::default() }] {
            let mut expected: Item = serde_dynamo::to_item(&record).expect("an item");
            assert_eq!(expected.remove("id"), Some(text("a")));
            let values = ATTRIBUTES.iter().map(|attribute| (attribute.name, (attribute.value)(&record).expect("a value")));
            let written: Item = values.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
            assert_eq!(written, expected);
        }
    }

    #[test]
    fn an_update_writes_what_differs() {
        let seen = Record { id: "a".into(), state: State::Running, lease_until: Some(5), ..Record::default() };
        let next = Record { state: State::Succeeded, lease_until: None, result: Some(6.into()), ..seen.clone() };
        let Statement { text: statement, parameters } = update("jobs", &seen, &next).expect("a statement");
        let expected = concat!(
            r#"UPDATE "jobs" SET "state"=? REMOVE "lease_until" SET "result"=? WHERE "id"=? AND "state"=? AND "owner" IS MISSING"#,
            r#" AND "generation" IS MISSING AND "lease_until"=? AND "dlq" IS MISSING AND "cancel_requested" IS MISSING AND "dependents" IS MISSING"#
        );
        assert_eq!(statement, expected);
        let number = |number: &str| AttributeValue::N(number.into());
        assert_eq!(parameters, [text("succeeded"), number("6"), text("a"), text("running"), number("5")]);
    }
}
