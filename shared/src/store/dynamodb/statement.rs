//! PartiQL statements that write records.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
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
    /// Starts a statement that inserts an item with this id.
    pub(super) fn insert(table: &str, id: &str) -> Self {
        let mut statement = Self::new([r#"INSERT INTO ""#, table, r#"" VALUE {'id': ?"#]);
        statement.parameters.push(text(id));
        statement
    }

    /// Starts a statement that updates an item.
    pub(super) fn update(table: &str) -> Self {
        Self::new([r#"UPDATE ""#, table, r#"""#])
    }

    fn new(start: [&str; 3]) -> Self {
        // Enough for almost all statements, because growing is expensive, and less than the 1,032 bytes up to which glibc allocates fast.
        let mut statement = Self { text: String::with_capacity(600), parameters: Vec::with_capacity(16) };
        statement.text.extend(start);
        statement
    }

    pub(super) fn add(&mut self, text: &str, value: Option<AttributeValue>) {
        self.text += text;
        self.parameters.extend(value);
    }
}

pub(super) fn insert(table: &str, next: &Record) -> Result<Statement, StoreError> {
    let mut statement = Statement::insert(table, &next.id);
    for attribute in ATTRIBUTES {
        if let Some(value) = (attribute.value)(next)? {
            statement.add(attribute.inserted, Some(value));
        }
    }
    statement.text += "}";
    Ok(statement)
}

/// Returns a statement that writes the attributes that differ, if the stored record has the version of `seen`. It always writes the
/// state, because a statement must write something.
pub(super) fn update(table: &str, seen: &Record, next: &Record) -> Result<Statement, StoreError> {
    let mut statement = Statement::update(table);
    // Another write may have removed an ended job from the due index since it was read.
    let is_reopened = seen.state.is_terminal() && !next.state.is_terminal();
    let is_written = |attribute: &Attribute| match attribute.name {
        "state" => true,
        "due" | "run_at" if is_reopened => true,
        _ => !(attribute.is_same)(seen, next),
    };
    for attribute in ATTRIBUTES.iter().filter(|attribute| is_written(attribute)) {
        match (attribute.value)(next)? {
            Some(value) => statement.add(attribute.set, Some(value)),
            None => statement.add(attribute.removed, None),
        }
    }
    statement.add(r#" WHERE "id"=?"#, Some(text(&next.id)));
    for (name, value) in version_condition(&seen.version()) {
        statement.text += r#" AND ""#;
        statement.text += name;
        statement.add(if value.is_some() { r#""=?"# } else { r#"" IS MISSING"# }, value);
    }
    if seen.needs_dependents_for(next) {
        let dependents = string_set(&seen.dependents);
        statement.add(if dependents.is_some() { r#" AND "dependents"=?"# } else { r#" AND "dependents" IS MISSING"# }, dependents);
    }
    Ok(statement)
}

/// Returns the attributes that the stored item must have. An attribute without a value must be absent.
pub(crate) fn version_condition(seen: &Version<'_>) -> [(&'static str, Option<AttributeValue>); 6] {
    [
        ("state", Some(text(seen.state.as_str()))),
        ("owner", seen.owner.map(text)),
        ("generation", (seen.generation > 0).then(|| number(seen.generation))),
        ("lease_until", seen.lease_until.map(number)),
        ("dlq", seen.dlq.map(|dlq| text(dlq.as_str()))),
        ("cancel_requested", seen.cancel_requested.then_some(AttributeValue::Bool(true))),
    ]
}

/// One attribute of the records: its name, its texts in statements, its value, and a comparison of two records.
struct Attribute {
    name: &'static str,
    inserted: &'static str,
    set: &'static str,
    removed: &'static str,
    value: fn(&Record) -> Result<Option<AttributeValue>, StoreError>,
    is_same: fn(&Record, &Record) -> bool,
}

/// Lists the fields of a record, and the value to write for each, if any.
macro_rules! attributes {
    ($record:ident => $($field:ident: $value:expr),* $(,)?) => {
        /// All attributes except the key, in the order of statements.
        const ATTRIBUTES: &[Attribute] = &[$(Attribute {
            name: stringify!($field),
            inserted: concat!(", '", stringify!($field), "': ?"),
            set: concat!(" SET \"", stringify!($field), "\"=?"),
            removed: concat!(" REMOVE \"", stringify!($field), "\""),
            value: |$record| Ok($value),
            is_same: |a, b| a.$field == b.$field,
        }),*];
    };
}

attributes! { record =>
    name: Some(text(&record.name)),
    queue: Some(text(&record.queue)),
    state: Some(text(record.state.as_str())),
    attempts: Some(number(record.attempts)),
    max_attempts: Some(number(record.max_attempts)),
    generation: (record.generation > 0).then(|| number(record.generation)),
    owner: record.owner.as_deref().map(text),
    lease_until: record.lease_until.map(number),
    digest: record.digest.map(|digest| AttributeValue::S(digest.into())),
    enqueued_at: record.enqueued_at.map(instant),
    run_at: record.run_at.map(instant),
    started_at: record.started_at.map(instant),
    finished_at: record.finished_at.map(instant),
    result: serialized(record.result.as_ref())?,
    error: serialized(record.error.as_ref())?,
    history: serialized(Some(&record.history).filter(|history| !history.is_empty()))?,
    snoozes: (record.snoozes > 0).then(|| number(record.snoozes)),
    runs: (record.runs > 0).then(|| number(record.runs)),
    tags: serialized(Some(&record.tags).filter(|tags| !tags.is_empty()))?,
    meta: serialized(Some(&record.meta).filter(|meta| !meta.is_empty()))?,
    parent_id: record.parent_id.as_deref().map(text),
    root_id: record.root_id.as_deref().map(text),
    progress: serialized(record.progress.as_ref())?,
    checkpoint: serialized(record.checkpoint.as_ref())?,
    trace_id: record.trace_id.as_deref().map(text),
    dlq: record.dlq.map(|dlq| text(dlq.as_str())),
    cancel_requested: record.cancel_requested.then_some(AttributeValue::Bool(true)),
    envelope: record.envelope.as_deref().map(text),
    message_group: record.message_group.as_deref().map(text),
    message_attributes: serialized(Some(&record.message_attributes).filter(|attributes| !attributes.is_empty()))?,
    dependencies: serialized(record.dependencies.as_ref())?,
    blocked_on: string_set(&record.blocked_on),
    dependents: string_set(&record.dependents),
    held: serialized(Some(&record.held).filter(|held| !held.is_empty()))?,
    holders: string_set(&record.holders),
    limit: record.limit.map(number),
    fixed_limit: record.fixed_limit.map(number),
    rate: serialized(record.rate.as_ref())?,
    due: record.due.as_deref().map(text),
    listed: record.listed.as_deref().map(text),
    listed_at: record.listed_at.map(instant),
    purge_at: record.purge_at.map(number),
}

pub(super) fn number<N: ToString + Copy>(number: N) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn instant(at: Timestamp) -> AttributeValue {
    AttributeValue::S(rfc3339::text(at))
}

fn string_set(set: &BTreeSet<String>) -> Option<AttributeValue> {
    (!set.is_empty()).then(|| AttributeValue::Ss(set.iter().cloned().collect()))
}

fn serialized<T: Serialize>(value: Option<&T>) -> Result<Option<AttributeValue>, StoreError> {
    value.map(serde_dynamo::to_attribute_value).transpose().map_err(|error| StoreError::Invalid(error.to_string()))
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
    #[test]
    fn a_write_requires_the_generation_that_was_read() {
        let condition = |generation| version_condition(&Record { generation, ..Record::default() }.version())[2].clone();
        let number = AttributeValue::N("1".into());
        assert_eq!([condition(0), condition(1)], [("generation", None), ("generation", Some(number))]);
    }
}
