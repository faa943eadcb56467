//! Lines in the embedded metric format: "Specification: Embedded metric format" in the CloudWatch user guide.
//!
//! Its limits: 100 metrics in a directive, 100 values in an array, and 1,024 characters in the value of a dimension. Dimensions are ASCII
//! without control characters: "Dimension" in the CloudWatch API reference.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};

/// The namespace of all metrics.
const NAMESPACE: &str = "sqjobs";
/// Maximum number of values of a metric in a line.
pub(super) const VALUES: usize = 100;
/// Maximum number of characters of a dimension's value.
const DIMENSION: usize = 1024;

/// A set of dimensions: CloudWatch keeps each metric once for each set.
pub(super) type Dimensions = &'static [&'static str];

/// A line: metrics, the values of their dimensions, and further properties.
#[derive(Debug)]
pub(super) struct Line<'a> {
    at: Timestamp,
    groups: Vec<Group>,
    dimensions: Vec<(&'static str, Cow<'a, str>)>,
    request_id: &'a str,
    properties: Vec<(&'static str, Vec<(&'static str, u64)>)>,
}

/// Metrics with the same sets of dimensions.
#[derive(Debug)]
pub(super) struct Group {
    sets: &'static [Dimensions],
    metrics: Vec<Metric>,
}

#[derive(Debug)]
struct Metric {
    name: &'static str,
    unit: &'static str,
    value: Value,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Value {
    One(u64),
    Many(Vec<u64>),
}

impl Group {
    pub(super) fn of(sets: &'static [Dimensions]) -> Self {
        Self { sets, metrics: Vec::new() }
    }

    /// Adds a count, unless it is zero.
    pub(super) fn count(&mut self, name: &'static str, count: u64) {
        if count > 0 {
            self.metrics.push(Metric { name, unit: "Count", value: Value::One(count) });
        }
    }

    pub(super) fn millis(&mut self, name: &'static str, millis: u64) {
        self.metrics.push(Metric { name, unit: "Milliseconds", value: Value::One(millis) });
    }

    /// Adds up to [`VALUES`] durations, unless there is none.
    pub(super) fn all_millis(&mut self, name: &'static str, millis: &[u64]) {
        debug_assert!(millis.len() <= VALUES, "the values are split between lines");
        if !millis.is_empty() {
            self.metrics.push(Metric { name, unit: "Milliseconds", value: Value::Many(millis.to_vec()) });
        }
    }
}

impl<'a> Line<'a> {
    pub(super) fn new(at: Timestamp, request_id: &'a str) -> Self {
        Self { at, groups: Vec::new(), dimensions: Vec::new(), request_id, properties: Vec::new() }
    }

    /// Sets the value of a dimension.
    pub(super) fn dimension(mut self, name: &'static str, value: &'a str) -> Self {
        self.dimensions.push((name, ascii(value)));
        self
    }

    /// Adds metrics, unless the group is empty.
    pub(super) fn group(mut self, group: Group) -> Self {
        if !group.metrics.is_empty() {
            self.groups.push(group);
        }
        self
    }

    /// Adds counts that are no metrics, unless there is none.
    pub(super) fn property(mut self, name: &'static str, counts: Vec<(&'static str, u64)>) -> Self {
        if !counts.is_empty() {
            self.properties.push((name, counts));
        }
        self
    }

    /// Returns the line with its line end.
    pub(super) fn to_text(&self) -> String {
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("_aws", &Metadata { timestamp: self.at.as_millisecond(), directives: &self.groups })?;
        for (name, value) in &self.dimensions {
            line.serialize_entry(name, value)?;
        }
        for metric in self.groups.iter().flat_map(|group| &group.metrics) {
            line.serialize_entry(metric.name, &metric.value)?;
        }
        for (name, counts) in &self.properties {
            line.serialize_entry(name, &Counts(counts))?;
        }
        line.serialize_entry("request_id", self.request_id)?;
        line.end()
    }
}

/// The part of the line that CloudWatch reads first.
#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(rename = "Timestamp")]
    timestamp: i64,
    #[serde(rename = "CloudWatchMetrics")]
    directives: &'a [Group],
}

impl Serialize for Group {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut group = serializer.serialize_map(Some(3))?;
        group.serialize_entry("Namespace", NAMESPACE)?;
        group.serialize_entry("Dimensions", self.sets)?;
        group.serialize_entry("Metrics", &Definitions(&self.metrics))?;
        group.end()
    }
}

struct Definitions<'a>(&'a [Metric]);

impl Serialize for Definitions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Definition {
            #[serde(rename = "Name")]
            name: &'static str,
            #[serde(rename = "Unit")]
            unit: &'static str,
        }
        let mut all = serializer.serialize_seq(Some(self.0.len()))?;
        for Metric { name, unit, .. } in self.0 {
            all.serialize_element(&Definition { name, unit })?;
        }
        all.end()
    }
}

struct Counts<'a>(&'a [(&'static str, u64)]);

impl Serialize for Counts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// Returns the value of a dimension as CloudWatch accepts it. Any other character becomes a question mark.
fn ascii(value: &str) -> Cow<'_, str> {
    let is_fine = |char: char| matches!(char, ' '..='~');
    if value.len() <= DIMENSION && value.chars().all(is_fine) && !value.trim().is_empty() {
        return Cow::Borrowed(value);
    }
    let fine: String = value.chars().take(DIMENSION).map(|char| if is_fine(char) { char } else { '?' }).collect();
    Cow::Owned(if fine.trim().is_empty() { "?".into() } else { fine })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dimension_is_ascii_and_neither_empty_nor_long() {
        assert_eq!(ascii("adder.fifo"), "adder.fifo");
        assert_eq!(ascii("a\nb\u{2028}c\u{1b}ñ"), "a?b?c??");
        assert_eq!([ascii(""), ascii("  ")], ["?", "?"]);
        assert_eq!(ascii(&"x".repeat(2000)).len(), DIMENSION);
        assert_eq!(ascii(&"ñ".repeat(2000)).len(), DIMENSION);
    }

    #[test]
    fn a_line_is_one_line_whatever_its_texts_contain() {
        let mut group = Group::of(&[&["queue"]]);
        group.count("Zero", 0);
        group.count("Two", 2);
        group.all_millis("Run", &[1, 2]);
        let line = Line::new(Timestamp::UNIX_EPOCH, "a\"b\nc").dimension("queue", "q\"},\n{").group(group).group(Group::of(&[]));
        let text = line.to_text();
        assert_eq!(text.lines().count(), 1);
        let expected = serde_json::json!({
            "_aws": {"Timestamp": 0, "CloudWatchMetrics": [{
                "Namespace": "sqjobs",
                "Dimensions": [["queue"]],
                "Metrics": [{"Name": "Two", "Unit": "Count"}, {"Name": "Run", "Unit": "Milliseconds"}],
            }]},
            "queue": "q\"},?{",
            "Two": 2,
            "Run": [1, 2],
            "request_id": "a\"b\nc",
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), expected);
    }
}
