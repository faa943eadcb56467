//! The reason why a body or its arguments cannot be read.

use super::mask;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};
use std::fmt::{self, Display};

const EXCERPT_CHARS: usize = 64;

/// The reason why a body or its arguments cannot be read. It names the field, its invalid value and the valid values, and never
/// quotes a string of the arguments.
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
    pub(crate) fn new(path: impl Into<String>, found: impl Into<String>, remedy: &'static str) -> Self {
        Self { path: path.into(), found: found.into(), remedy: Some(remedy) }
    }

    /// Creates the reason for arguments that do not fit the job's type.
    pub(crate) fn args(found: &str) -> Self {
        Self { path: "args".into(), found: found.into(), remedy: None }
    }

    pub(super) fn body(flaw: impl Into<String>) -> Self {
        Self::new("body", flaw, r#"it must be a JSON object such as {"name": "adder", "args": [1, 2]}"#)
    }

    /// Returns the reason with a longer path: that of a field within `parent`.
    pub(super) fn within(self, parent: &str) -> Self {
        Self { path: format!("{parent}.{}", self.path), ..self }
    }

    /// Describes a field of the wrong type in the words of the contract instead of those of Rust.
    pub(super) fn with_remedy(mut self, remedy: impl FnOnce(&str) -> &'static str) -> Self {
        self.remedy = Some(remedy(self.path.split(['.', '[']).next().unwrap_or_default()));
        self.found.truncate(self.found.find(", expected ").unwrap_or(self.found.len()));
        self
    }

    /// Adds a remedy, and keeps the words of Rust.
    pub(super) fn advise(self, remedy: &'static str) -> Self {
        Self { remedy: Some(remedy), ..self }
    }

    /// Returns how far the value was parsed, to compare two reasons. A value of the right type counts more than one of the wrong
    /// type; then the deeper path counts more. (The first step may come from an equivalent form.)
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

/// Deserializes a type from a value, which the reason calls `root`. The reason is serde's message without the strings of the
/// value.
pub(super) fn read<T: DeserializeOwned>(root: &str, value: &Value) -> Result<T, Unreadable> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let (path, culprit) = locate(root, value, error.path());
        let found = mask::masked(&error.inner().to_string(), culprit);
        Unreadable { path, found, remedy: None }
    })
}

/// Follows the path to the refused value. It ends at a step that the value does not have: the name of an enum variant that is
/// given as a string is an argument, and not a step.
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

/// Returns a name or an id for use in a sentence: control characters are escaped, and the text is cut after 64 characters.
pub(crate) fn excerpt(text: &str) -> String {
    let mut excerpt: String = text.chars().take(EXCERPT_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(EXCERPT_CHARS).is_some() {
        excerpt.push('…');
    }
    excerpt
}
