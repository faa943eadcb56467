//! The envelope: the content of a message body.
//!
//! The native format is a JSON object with a `name`; [`SCHEMA`] describes it for every language. Two older formats are also
//! read, and recognized by their structure alone (see [`Form`]). The rest of the library sees one [`Envelope`] in all cases.

mod bind;
mod dependency;
mod digest;
mod feature;
mod field;
mod instant;
mod integer;
mod json;
mod keys;
mod legacy;
mod limit;
mod mask;
mod mistake;
mod native;
mod output;
mod parse;
mod priority;
mod unreadable;
mod wire;
mod workflow;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use dependency::FEATURE as DEPENDENCIES;
pub use dependency::{Otherwise, When};
pub use digest::Digest;
pub use feature::FEATURES;
pub(crate) use keys::MOST as MOST_PLACES;
pub use keys::{Keys, OnConflict, Rate, UniqueFor, Until};
pub(crate) use limit::{LINK, check_id, is_sendable, storable, tags as check_tags};
pub(crate) use mask::told;
pub(crate) use mistake::Reported;
pub use output::output;
pub(crate) use output::step_id;
pub use priority::Priority;
pub(crate) use priority::are_of_one_function;
pub use unreadable::Unreadable;
pub(crate) use unreadable::excerpt;
pub use workflow::Step;

/// The JSON Schema (draft 2020-12) of the native format, for producers in any language.
pub const SCHEMA: &str = include_str!("../../envelope.schema.json");

/// The contract version that this library writes, and the newest that it reads.
const CURRENT: u32 = 1;

/// One enqueued job: its name, its arguments, and the options of its producer.
///
/// Read one with [`Envelope::parse`]. The derived `Deserialize` checks the types of the native format but no limits, and ignores
/// unknown fields.
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
    /// The version of the wire contract. If it is newer than this library, only `v`, `name` and `id` are kept.
    #[serde(default = "wire::current", deserialize_with = "wire::version", skip_serializing_if = "wire::is_current")]
    pub v: u32,
    /// The job's name, as the job declares it. In the Chore format it is the class name, which is looked up and never loaded.
    pub name: String,
    /// The job's identity and dedupe key. `None`: the id of the SQS message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The arguments, as the job's type deserializes them.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub args: Value,
    /// Keyword arguments, from producers that separate them. [`Envelope::bind`] describes how they combine with `args`.
    #[serde(default, deserialize_with = "wire::nullable", skip_serializing_if = "Map::is_empty")]
    pub kwargs: Map<String, Value>,
    /// The job does not run before this instant. Written to the millisecond.
    #[serde(default, with = "instant", skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    /// The job is discarded after this instant. Written to the millisecond.
    #[serde(default, with = "instant", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Maximum number of attempts, 1 to 1000. `None`: the job's policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Timeout of one attempt in seconds, above 0 and up to 43,200, with fractions. `None`: the job's policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<f64>,
    /// The priority. It stands for a queue, to which the producer sends the message. In any other queue, it has no effect.
    #[serde(default, deserialize_with = "wire::nullable", skip_serializing_if = "Priority::is_default")]
    pub priority: Priority,
    /// Labels to find the job by: at most 32, each of at most 128 bytes.
    #[serde(default, deserialize_with = "wire::nullable", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Free data of the producer, stored in the record: at most 24 levels, with numbers that the table can store.
    #[serde(default, deserialize_with = "wire::nullable", skip_serializing_if = "Map::is_empty")]
    pub meta: Map<String, Value>,
    /// The id of the job that enqueued this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    /// The id of the first job of the tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_id: Option<String>,
    /// Number of jobs between the first job of the tree and this one, at most 100. The limit ends endless chains.
    #[serde(default, deserialize_with = "wire::nullable", skip_serializing_if = "wire::is_nought")]
    pub depth: u32,
    /// The span that sent this job, in the W3C format. A value that is not in this format is passed on and has no other effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Data of tracing systems about this span, in the W3C format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
    /// The ids of the jobs that this one waits for, at most 20. In a workflow, these are ids within the workflow, at most 2,000.
    #[serde(default, deserialize_with = "wire::nullable", skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// The endings of those jobs that release this one.
    #[serde(default, deserialize_with = "wire::nullable", skip_serializing_if = "When::is_default")]
    pub when: When,
    /// The consequence if one of them does not succeed.
    #[serde(default, deserialize_with = "wire::nullable", skip_serializing_if = "Otherwise::is_default")]
    pub otherwise: Otherwise,
    /// Maximum time to wait for them or for a key, in seconds. After this time, the job fails. `None`: 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_blocked_s: Option<f64>,
    /// The jobs of a workflow, at most 2,000. This job runs after them.
    #[serde(default, deserialize_with = "wire::nullable", skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<Step>,
    /// The ids of jobs and nodes that wait for this job. The library writes them into the messages of a workflow's jobs.
    #[serde(default, deserialize_with = "wire::nullable", skip_serializing_if = "Vec::is_empty")]
    pub dependents: Vec<String>,
    /// The keys that this job shares with other jobs.
    #[serde(flatten, deserialize_with = "keys::read")]
    pub keys: Option<Box<Keys>>,
    /// Features that a worker must have to run this job; [`FEATURES`] lists the valid ones.
    #[serde(default, deserialize_with = "wire::nullable", skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Fields that this version does not know. A field with the name of a known field is not written.
    #[serde(flatten, skip_deserializing, serialize_with = "wire::strangers")]
    pub unknown: Map<String, Value>,
    /// The format that the envelope was read from. It is not sent: envelopes are always written in the native format.
    #[serde(skip)]
    pub form: Form,
}

/// The format of a message body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Form {
    /// A JSON object with a `name`, as [`SCHEMA`] describes it.
    #[default]
    Native,
    /// The format of an older system: base64 of `{id, name, args, kwargs}`, or `{"class", "args"}`. Its arguments are deserialized
    /// more leniently.
    Legacy,
}

impl Envelope {
    /// Creates an envelope with only a name and arguments; the job's policy decides everything else.
    pub fn new(name: impl Into<String>, args: Value) -> Self {
        Self {
            v: CURRENT,
            name: name.into(),
            id: None,
            args,
            kwargs: Map::new(),
            run_at: None,
            expires_at: None,
            max_attempts: None,
            timeout_s: None,
            priority: Priority::Default,
            tags: Vec::new(),
            meta: Map::new(),
            parent_id: None,
            root_id: None,
            depth: 0,
            traceparent: None,
            tracestate: None,
            depends_on: Vec::new(),
            when: When::default(),
            otherwise: Otherwise::default(),
            max_blocked_s: None,
            jobs: Vec::new(),
            dependents: Vec::new(),
            keys: None,
            needs: Vec::new(),
            unknown: Map::new(),
            form: Form::Native,
        }
    }

    /// Returns the message body: compact JSON in the native format, without absent fields.
    ///
    /// Use it for envelopes of this version: of a newer `v`, only three fields were kept. It does not check the limits; see
    /// [`Envelope::check`].
    #[expect(clippy::missing_panics_doc, reason = "it cannot: the keys are strings and JSON has a place for every value")]
    pub fn to_body(&self) -> String {
        let body = serde_json::to_string(self).expect("an envelope has string keys and plain values only");
        // JSON contains them only inside strings, and SQS accepts neither.
        if body.contains(['\u{fffe}', '\u{ffff}']) { body.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff") } else { body }
    }

    /// Checks the limits that [`Envelope::parse`] enforces, so that a producer does not send an envelope that no worker accepts.
    ///
    /// # Errors
    ///
    /// Names the first field that exceeds its limits, and the limits.
    pub fn check(&self) -> Result<(), Unreadable> {
        let most = if self.jobs.is_empty() { dependency::MOST } else { workflow::MOST };
        self.check_fields(most)?;
        self.check_needs()?;
        if self.jobs.is_empty() { Ok(()) } else { workflow::check(self) }
    }

    /// Checks the limits of the fields. At most `most` jobs may be waited for.
    fn check_fields(&self, most: usize) -> Result<(), Unreadable> {
        limit::check(self)?;
        dependency::check(self, most)?;
        keys::check(self)
    }
}
