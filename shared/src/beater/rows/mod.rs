//! The storage of schedules: the port and its two adapters.

mod dynamodb;
#[cfg(any(test, feature = "simulation"))]
mod memory;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(crate) use self::dynamodb::DynamoDb;
#[cfg(any(test, feature = "simulation"))]
pub(crate) use self::memory::Memory;
use super::entry::Entry;
use crate::{
    clock::rfc3339,
    names::{is_shard, shard},
    schedule::tzdata_version,
    store::{Item, StoreError, Write},
};

/// An entry with the state of its fires.
#[expect(clippy::struct_excessive_bools, reason = "the fields of the stored item")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    #[serde(flatten)]
    pub(crate) entry: Entry,
    /// `true` if it does not fire until it is resumed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) paused: bool,
    /// `true` if the row is removed once its jobs that were sent ahead are cancelled.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) deleted: bool,
    /// `true` if it comes from the code of a beater, and is removed with the code.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) from_code: bool,
    /// `true` if it differs from the code of the beater.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) overridden: bool,
    /// The instant from which intervals count.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub(crate) created_at: Option<Timestamp>,
    /// The shard of the index that contains the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) due: Option<String>,
    /// The next fire in stored form. Set it to `0` when you change a row by hand; the next tick then examines the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_fire: Option<String>,
    /// The fires that were made before their time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ahead: Vec<Timestamp>,
    /// A random token of the last change that no beater made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) edit: Option<String>,
    /// The entry's fingerprint when it last fired, or when a tick first saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) settled: Option<String>,
    /// The release of the time zones with which the next fire was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tzdata: Option<String>,
    /// The other attributes of the stored row. They are ignored, and kept until the entry is put again.
    #[serde(skip)]
    pub(crate) unknown: Item,
}

/// The names of the fields of a row, without those of its entry.
const FIELDS: [&str; 11] =
    ["paused", "deleted", "from_code", "overridden", "created_at", "due", "next_fire", "ahead", "edit", "settled", "tzdata"];

/// A stored row, or its id and the reason why it cannot be read.
pub(crate) type Found = Result<Row, (String, String)>;

/// The result of a conditional change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Changed {
    /// The row and all jobs were written.
    Done,
    /// Nothing was written: the row differs from the one that was read.
    Refused,
    /// Nothing was written: the records with these ids differ from the ones that were read, or already exist.
    Known(Vec<String>),
}

/// Stores rows by their ids.
pub(crate) trait Rows: Send + Sync {
    /// Returns at most `limit` rows of a shard that fire by `until`, the longest overdue first. They may be stale.
    fn due(&self, shard: u8, until: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<Found>, StoreError>>;

    /// Returns the current row.
    fn get<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Found>, StoreError>>;

    /// Returns a part of the rows; sixty successive values of `turn` cover all rows. They may be stale.
    fn some(&self, turn: u64) -> BoxFuture<'_, Result<Vec<Found>, StoreError>>;

    /// Returns every row.
    fn all(&self) -> BoxFuture<'_, Result<Vec<Found>, StoreError>>;

    /// Replaces the row `seen` by `next`, or deletes it, and writes the records of jobs: all in one transaction.
    fn change<'a>(
        &'a self,
        id: &'a str,
        seen: Option<&'a Row>,
        next: Option<&'a Row>,
        jobs: &'a [Write],
    ) -> BoxFuture<'a, Result<Changed, StoreError>>;

    /// Replaces the stored row, readable or not, by `next`.
    fn overwrite<'a>(&'a self, next: &'a Row) -> BoxFuture<'a, Result<(), StoreError>>;
}

impl Row {
    /// Creates a row that the next tick examines.
    pub(crate) fn new(entry: Entry, now: Timestamp) -> Self {
        let row = Self {
            entry,
            paused: false,
            deleted: false,
            from_code: false,
            overridden: false,
            created_at: Some(now),
            due: None,
            next_fire: None,
            ahead: Vec::new(),
            edit: None,
            settled: None,
            tzdata: None,
            unknown: Item::new(),
        };
        row.looked_at(now)
    }

    /// Returns the row with this entry, for the next tick to examine. A row that is being deleted is created anew, and keeps the list
    /// of jobs to cancel.
    pub(crate) fn put(self, entry: Entry, now: Timestamp) -> Self {
        let row =
            if self.deleted { Self { ahead: self.ahead, ..Self::new(entry, now) } } else { Self { entry, unknown: Item::new(), ..self } };
        row.looked_at(now)
    }

    /// Returns the same row, for the next tick to examine.
    pub(crate) fn looked_at(self, now: Timestamp) -> Self {
        let edit = Some(Uuid::new_v4().simple().to_string());
        Self { due: Some(shard(self.entry.id())), next_fire: Some(rfc3339::text(now)), edit, ..self }
    }

    /// Returns true for the name of a field of a row.
    fn has_field(name: &str) -> bool {
        FIELDS.contains(&name) || Entry::FIELDS.contains(&name)
    }

    /// Returns `true` if its entry is the one that fired last.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled.as_deref() == Some(&*self.entry.fingerprint())
    }

    /// Returns `true` if it is settled and its next fire was computed with the current time zones.
    pub(crate) fn is_current(&self) -> bool {
        self.is_settled() && self.tzdata.as_deref() == Some(tzdata_version())
    }

    /// Returns `true` if it needs a tick although the index does not show it: after a change by hand, or with new rules of its zone.
    pub(crate) fn is_overlooked(&self) -> bool {
        if self.paused && !self.deleted {
            return self.due.is_some();
        }
        let indexed =
            self.due.as_deref().is_some_and(is_shard) && self.next_fire.as_ref().is_some_and(|next| next.parse::<Timestamp>().is_ok());
        let changed = self.settled.is_some() && !self.is_current();
        self.deleted || !indexed || changed
    }

    /// Returns the attributes that a conditional change compares. A change by hand sets the next fire; any other change has a token.
    fn version(&self) -> [(&'static str, Option<&str>); 3] {
        [("next_fire", self.next_fire.as_deref()), ("settled", self.settled.as_deref()), ("edit", self.edit.as_deref())]
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn each_field_of_a_row_is_known_and_no_other() {
        let row = json!({
            "id": "a", "cron": "1 0 * * *", "timezone": "Asia/Tokyo", "dst_gap": "skip", "every_s": 60, "offset_s": 1, "job": "n", "queue": "q",
            "args": [1], "kwargs": {"a": 1}, "max_attempts": 1, "timeout_s": 1.0, "priority": "high", "tags": ["t"], "meta": {"a": 1},
            "catch_up": "all", "grace_s": 1, "backlog": 1, "jitter_s": 1, "paused": true, "deleted": true, "from_code": true,
            "overridden": true, "created_at": "2026-05-04T12:00:00.000Z", "due": "due#1", "next_fire": "0", "ahead": ["2026-05-04T12:00:00Z"],
            "edit": "e", "settled": "s", "tzdata": "z",
        });
        let names = |row: &Value| row.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
        let read: Row = serde_json::from_value(row.clone()).expect("a row");
        assert_eq!(names(&serde_json::to_value(read).expect("plain data")), names(&row), "it has them all");
        assert!(names(&row).iter().all(|name| Row::has_field(name)) && !Row::has_field("tz"));
        assert_eq!(names(&row).len(), FIELDS.len() + Entry::FIELDS.len());
    }
    fn current() -> Row {
        let now = Timestamp::UNIX_EPOCH;
        let entry = Entry::named("a", crate::Schedule::cron("* * * * *").timezone("UTC"), "note", Value::Null);
        let settled = Some(entry.fingerprint());
        Row { settled, tzdata: Some(tzdata_version().into()), ..Row::new(entry, now) }
    }

    #[test]
    fn a_row_is_overlooked_if_the_index_does_not_show_its_state() {
        let cases = [
            (current(), false),
            (Row { settled: None, tzdata: None, ..current() }, false),
            (Row { paused: true, due: None, ..current() }, false),
            (Row { paused: true, ..current() }, true),
            (Row { deleted: true, paused: true, due: None, ..current() }, true),
            (Row { due: None, ..current() }, true),
            (Row { due: Some("due".into()), ..current() }, true),
            (Row { next_fire: Some("0".into()), ..current() }, true),
            (Row { tzdata: Some("2019a".into()), ..current() }, true),
            (Row { settled: Some("another".into()), ..current() }, true),
        ];
        for (row, is_overlooked) in cases {
            assert_eq!(row.is_overlooked(), is_overlooked, "{row:?}");
        }
    }

    #[test]
    fn a_changed_row_is_indexed_and_has_only_the_fields_of_its_entry() {
        let unknown = Item::from([("colour".to_owned(), crate::aws_sdk_dynamodb::types::AttributeValue::Bool(true))]);
        let row = Row { due: None, unknown, ..current() };
        let looked_at = row.clone().looked_at(Timestamp::UNIX_EPOCH);
        assert_eq!(looked_at.due, Some(shard("a")));
        assert_eq!(looked_at.unknown, row.unknown);
        let put = row.clone().put(row.entry.clone(), Timestamp::UNIX_EPOCH);
        assert_eq!(put.due, Some(shard("a")));
        assert_eq!(put.unknown, Item::new());
    }

    #[test]
    fn the_marks_of_a_row_are_stored_only_if_they_are_set() {
        let stored = serde_json::to_value(current()).expect("plain data");
        assert!(["paused", "deleted", "from_code", "overridden"].into_iter().all(|mark| stored.get(mark).is_none()), "{stored}");
    }
}
