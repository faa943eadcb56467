//! The envelope: what travels in a message body.
//!
//! The native form is a JSON object with a `name`; [`SCHEMA`] describes it for every language. Two
//! older forms are read as well and told apart by their shape alone (see [`Form`]). Whatever the
//! form, the rest of the library sees one [`Envelope`].

mod bind;
mod digest;
mod feature;
mod instant;
mod integer;
mod json;
mod legacy;
mod limit;
mod mask;
mod mistake;
mod native;
mod parse;
mod unreadable;
mod wire;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use digest::Digest;
pub use feature::FEATURES;
pub(crate) use limit::{check_id, is_sendable, storable};
pub(crate) use mask::told;
pub(crate) use mistake::Reported;
pub use unreadable::Unreadable;
pub(crate) use unreadable::excerpt;

/// The JSON Schema (draft 2020-12) of the native form, for producers in any language.
pub const SCHEMA: &str = include_str!("../../envelope.schema.json");

/// The version of the contract that this library writes, and the newest that it understands.
const CURRENT: u32 = 1;

/// One job on its way: its name, its arguments, and what the producer wants of it.
///
/// Read one with [`Envelope::parse`]. The derived `Deserialize` checks the types of the native
/// form, but no limits, and passes over fields that it does not know.
///
/// ```
/// use serde_json::json;
/// use sqjobs::Envelope;
///
/// let mut envelope = Envelope::new("adder", json!([1, 2, 3]));
/// envelope.max_attempts = Some(5);
///
/// let body = envelope.to_body();
/// assert_eq!(body, r#"{"name":"adder","args":[1,2,3],"max_attempts":5}"#);
/// assert_eq!(Envelope::parse(&body)?, envelope);
/// assert_eq!(envelope.bind::<Vec<i64>>()?, [1, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Envelope {
    /// The version of the wire contract. Of a newer one than this library's only `v`, `name` and
    /// `id` are kept.
    #[serde(default = "wire::current", deserialize_with = "wire::version", skip_serializing_if = "wire::is_current")]
    pub v: u32,
    /// The job's name, as the job declares it; in the Chore form the class name, which is looked up
    /// and never loaded.
    pub name: String,
    /// The job's identity and dedupe key. `None`: the SQS message id is the identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The arguments, as the job's type deserializes them.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub args: Value,
    /// Keyword arguments, from producers that split them; [`Envelope::bind`] says how they meet
    /// `args`.
    #[serde(default, deserialize_with = "wire::nullable", skip_serializing_if = "Map::is_empty")]
    pub kwargs: Map<String, Value>,
    /// The job does not run before this instant. Written to the millisecond.
    #[serde(default, with = "instant", skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    /// After this instant the job is dropped instead of run. Written to the millisecond.
    #[serde(default, with = "instant", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Reserved, do not send: see [`Envelope::reserved`]. At most one unfinished job has this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_key: Option<String>,
    /// How many attempts may end in an error, 1 to 1000. `None`: the job's policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// The time for one attempt in seconds, above 0 and up to 43,200; fractions count. `None`: the
    /// job's policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<f64>,
    /// Reserved, do not send: see [`Envelope::reserved`]. Which of two waiting jobs goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// Labels to find the job by: at most 32, each of at most 128 bytes.
    #[serde(default, deserialize_with = "wire::nullable", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Free data of the producer, stored in the record: at most 24 levels, and numbers that the
    /// table can hold.
    #[serde(default, deserialize_with = "wire::nullable", skip_serializing_if = "Map::is_empty")]
    pub meta: Map<String, Value>,
    /// The job that enqueued this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    /// The first job of the tree that this one belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_id: Option<String>,
    /// How many jobs of the tree lie between the first one and this, at most 100: what enqueues itself for ever ends there.
    #[serde(default, deserialize_with = "wire::nullable", skip_serializing_if = "wire::is_nought")]
    pub depth: u32,
    /// The producer's trace, in the W3C format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Reserved, do not send: see [`Envelope::reserved`]. The jobs that must succeed first.
    #[serde(default, deserialize_with = "wire::nullable", skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// The features without which a worker must not run this job; it may choose from [`FEATURES`].
    #[serde(default, deserialize_with = "wire::nullable", skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// The fields that this version does not know. One that bears the name of a known field is not
    /// written.
    #[serde(flatten, skip_deserializing, serialize_with = "wire::strangers")]
    pub unknown: Map<String, Value>,
    /// The form that it was read from. It does not travel: whatever is written is native.
    #[serde(skip)]
    pub form: Form,
}

/// The form that a message body had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Form {
    /// A JSON object with a `name`, as [`SCHEMA`] describes it.
    #[default]
    Native,
    /// That of an older system: base64 of `{id, name, args, kwargs}`, or `{"class", "args"}`. Its
    /// arguments bind more freely.
    Legacy,
}

impl Envelope {
    /// An envelope with nothing but a name and arguments: the job's own policy decides the rest.
    pub fn new(name: impl Into<String>, args: Value) -> Self {
        Self {
            v: CURRENT,
            name: name.into(),
            id: None,
            args,
            kwargs: Map::new(),
            run_at: None,
            expires_at: None,
            unique_key: None,
            max_attempts: None,
            timeout_s: None,
            priority: None,
            tags: Vec::new(),
            meta: Map::new(),
            parent_id: None,
            root_id: None,
            depth: 0,
            traceparent: None,
            depends_on: Vec::new(),
            needs: Vec::new(),
            unknown: Map::new(),
            form: Form::Native,
        }
    }

    /// The body to send: compact JSON in the native form, without the fields that are absent.
    ///
    /// It is meant for what this version can say: of an envelope with a newer `v` only the
    /// beginning was kept, and the limits are not checked here but by [`Envelope::check`].
    #[expect(clippy::missing_panics_doc, reason = "it cannot: the keys are strings and JSON has a place for every value")]
    pub fn to_body(&self) -> String {
        let body = serde_json::to_string(self).expect("an envelope has string keys and plain values only");
        // JSON has them in strings alone, and SQS takes neither.
        if body.contains(['\u{fffe}', '\u{ffff}']) { body.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff") } else { body }
    }

    /// Whether it keeps the limits that [`Envelope::parse`] enforces, so that a producer need not
    /// send what no worker will read.
    ///
    /// # Errors
    ///
    /// Names the first field that is outside its limits, and the limits.
    pub fn check(&self) -> Result<(), Unreadable> {
        limit::check(self)
    }
}
