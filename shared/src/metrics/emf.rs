//! Lines in the embedded metric format: "Specification: Embedded metric format" in the CloudWatch user guide.
//!
//! Its limits: 100 metrics in a directive, 100 values in an array, and 1,024 characters in the value of a dimension. Dimensions are ASCII
//! without control characters: "Dimension" in the CloudWatch API reference.

use std::{borrow::Cow, fmt::Write};

use jiff::Timestamp;

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

#[derive(Debug)]
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

    /// Returns the line with its line end. It is written by hand, which takes a fifth of the instructions of `serde`. All names are
    /// identifiers of this module, so only the texts of dimensions and the request id are escaped.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::with_capacity(1024);
        text.push_str(r#"{"_aws":{"Timestamp":"#);
        push_number(&mut text, self.at.as_millisecond());
        text.push_str(r#","CloudWatchMetrics":["#);
        push_list(&mut text, &self.groups, |text, group| group.push_directive(text));
        text.push_str("]}");
        for (name, value) in &self.dimensions {
            push_name(&mut text, name);
            push_text(&mut text, value);
        }
        for Metric { name, value, .. } in self.groups.iter().flat_map(|group| &group.metrics) {
            push_name(&mut text, name);
            match value {
                Value::One(value) => push_number(&mut text, value),
                Value::Many(values) => {
                    text.push('[');
                    push_list(&mut text, values, |text, value| push_number(text, value));
                    text.push(']');
                }
            }
        }
        for (name, counts) in &self.properties {
            push_name(&mut text, name);
            text.push('{');
            push_list(&mut text, counts, |text, (name, count)| {
                push_quoted(text, name);
                text.push(':');
                push_number(text, count);
            });
            text.push('}');
        }
        push_name(&mut text, "request_id");
        push_text(&mut text, self.request_id);
        text.push_str("}\n");
        text
    }
}

impl Group {
    /// Writes the part that CloudWatch reads first.
    fn push_directive(&self, text: &mut String) {
        text.push_str(r#"{"Namespace":""#);
        text.push_str(NAMESPACE);
        text.push_str(r#"","Dimensions":["#);
        push_list(text, self.sets, |text, set| {
            text.push('[');
            push_list(text, set, |text, name| push_quoted(text, name));
            text.push(']');
        });
        text.push_str(r#"],"Metrics":["#);
        push_list(text, &self.metrics, |text, metric| {
            text.push_str(r#"{"Name":""#);
            text.push_str(metric.name);
            text.push_str(r#"","Unit":""#);
            text.push_str(metric.unit);
            text.push_str(r#""}"#);
        });
        text.push_str("]}");
    }
}

/// Writes items with commas between them.
fn push_list<T>(text: &mut String, items: &[T], push: impl Fn(&mut String, &T)) {
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            text.push(',');
        }
        push(text, item);
    }
}

/// Writes the name of a further member.
fn push_name(text: &mut String, name: &str) {
    text.push(',');
    push_quoted(text, name);
    text.push(':');
}

/// Writes a name that needs no escapes.
fn push_quoted(text: &mut String, name: &str) {
    text.push('"');
    text.push_str(name);
    text.push('"');
}

/// Writes any text.
fn push_text(text: &mut String, value: &str) {
    text.push_str(&serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned()));
}

fn push_number(text: &mut String, number: impl std::fmt::Display) {
    write!(text, "{number}").ok();
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
