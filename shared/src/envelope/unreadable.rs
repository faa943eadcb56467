//! Why a body or its arguments could not be read.

use super::mask;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};
use std::fmt::{self, Display};

const EXCERPT_CHARS: usize = 64;

/// Why a body or its arguments could not be read: names the field, what it was and what would be
/// right, and never quotes a string of the arguments.
///
/// ```
/// use sqjobs::Envelope;
///
/// let envelope = Envelope::parse(r#"{"name": "mailer", "args": {"retries": 300}}"#)?;
/// let reason = envelope.bind::<std::collections::BTreeMap<String, u8>>().unwrap_err();
/// assert_eq!(reason.to_string(), "args.retries: invalid value: integer `300`, expected u8");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    path: String,
    found: String,
    remedy: Option<&'static str>,
}

impl Unreadable {
    pub(super) fn new(path: impl Into<String>, found: impl Into<String>, remedy: &'static str) -> Self {
        Self { path: path.into(), found: found.into(), remedy: Some(remedy) }
    }

    /// Arguments that the job's type cannot be read from.
    pub(crate) fn args(found: &str) -> Self {
        Self { path: "args".into(), found: found.into(), remedy: None }
    }

    pub(super) fn body(flaw: impl Into<String>) -> Self {
        Self::new("body", flaw, r#"it must be a JSON object such as {"name": "adder", "args": [1, 2]}"#)
    }

    /// A field of the wrong type, told in the words of the contract instead of those of Rust.
    pub(super) fn with_remedy(mut self, remedy: impl FnOnce(&str) -> &'static str) -> Self {
        self.remedy = Some(remedy(self.path.split(['.', '[']).next().unwrap_or_default()));
        self.found.truncate(self.found.find(", expected ").unwrap_or(self.found.len()));
        self
    }

    /// How far the reading came: a value of the right type came further than one of the wrong type,
    /// and then a deeper place counts. (The first step may be one that only a spelling added.)
    pub(super) fn progress(&self) -> (bool, usize) {
        let depth = self.path.matches(['.', '[']).count();
        (!self.found.starts_with("invalid type: "), depth.max(1))
    }
}

impl Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "args and kwargs" } else { &self.path };
        write!(f, "{path}: {}", self.found)?;
        self.remedy.map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
    }
}

impl std::error::Error for Unreadable {}

/// Reads a type from a value, which the reason calls `root`. It gives serde's words without the
/// strings of the value.
pub(super) fn read<T: DeserializeOwned>(root: &str, value: &Value) -> Result<T, Unreadable> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let (path, culprit) = locate(root, value, error.path());
        let found = mask::masked(&error.inner().to_string(), culprit);
        Unreadable { path, found, remedy: None }
    })
}

/// Follows the path down to the value that was refused. A step that the value does not have ends
/// it: the name of an enum's variant that is a string, and so an argument, is not a place.
fn locate<'a>(root: &str, value: &'a Value, path: &Path) -> (String, &'a Value) {
    let (mut place, mut value) = (root.to_owned(), value);
    for segment in path {
        let (step, next) = match segment {
            Segment::Seq { index } => (format!("[{index}]"), value.get(index)),
            Segment::Map { key } | Segment::Enum { variant: key } => (format!(".{}", mask::key(key)), value.get(key)),
            Segment::Unknown => break,
        };
        let Some(next) = next else { break };
        place += &step;
        value = next;
    }
    (place.trim_start_matches('.').to_owned(), value)
}

/// A name or an id, fit for a sentence: its control characters are escaped, and it is cut after 64
/// characters.
pub(crate) fn excerpt(text: &str) -> String {
    let mut excerpt: String = text.chars().take(EXCERPT_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(EXCERPT_CHARS).is_some() {
        excerpt.push('…');
    }
    excerpt
}
