//! Builds a job from the arguments of a command.

use std::{fs, io};

use serde_json::Value;
use sqjobs::Envelope;

use super::args::Options;
use crate::failure::Failure;

/// Returns a job with this name.
pub(in crate::command) fn job(name: &str, args: Option<&str>, options: &Options) -> Result<sqjobs::Enqueue, Failure> {
    Ok(with(sqjobs::Enqueue::named(name, arguments(args)?), options))
}

/// Reads arguments: as JSON, from a file, or from standard input.
pub(in crate::command) fn arguments(text: Option<&str>) -> Result<Value, Failure> {
    value("arguments", "args", text)
}

/// Reads a value: as JSON, from a file, or from standard input. Errors call it `what`, and its field `field`.
pub(in crate::command) fn value(what: &str, field: &str, text: Option<&str>) -> Result<Value, Failure> {
    let cannot = |file: &str, error| Failure::because(&format!("cannot read the {what} from {file}"), error);
    let text = match text {
        None => return Ok(Value::Null),
        Some("-") => io::read_to_string(io::stdin()).map_err(|error| cannot("standard input", error))?,
        Some(text) => match text.strip_prefix('@') {
            Some(file) => fs::read_to_string(file).map_err(|error| cannot(file, error))?,
            None => text.to_owned(),
        },
    };
    let value = serde_json::from_str(&text).map_err(|error| {
        let forms = "[1, 2], '{\"to\": \"x\"}', '\"text\"', @FILE or -";
        Failure::new(format!("cannot read the {what}, because the text is not JSON: {error}; write {forms}"))
    })?;
    let cannot = |flaw| Failure::because(&format!("cannot use the {what}"), flaw);
    Envelope::check_integers(&format!(r#"{{"{field}": {text}}}"#)).map_err(cannot)?;
    Ok(value)
}

pub(super) fn with(mut job: sqjobs::Enqueue, options: &Options) -> sqjobs::Enqueue {
    let Options { queue, delay, at, expires, max_attempts, tags, meta, group, dedup, recorded, listed, objects, .. } = options.clone();
    let Options { after, when, otherwise, max_blocked, .. } = options.clone();
    let Options { limit_key, limit, rate_key, rate, burst, exclusive_key, unique_key, unique_for, on_conflict, .. } = options.clone();
    job = job.with(|envelope| {
        let mut keys = envelope.keys.take().map(|keys| *keys).unwrap_or_default();
        keys.limit = limit.or(keys.limit);
        keys.rate = rate.map(|rate| burst.map_or(rate, |burst| rate.burst(burst))).or(keys.rate);
        keys.unique_for = unique_for.or(keys.unique_for);
        keys.on_conflict = on_conflict.map(Into::into).or(keys.on_conflict);
        for (key, option) in [
            (&mut keys.limit_key, limit_key),
            (&mut keys.rate_key, rate_key),
            (&mut keys.exclusive_key, exclusive_key),
            (&mut keys.unique_key, unique_key),
        ] {
            *key = option.or_else(|| key.take());
        }
        envelope.keys = (keys != sqjobs::Keys::default()).then(|| Box::new(keys));
    });
    if !after.is_empty() {
        job = job.after(after);
    }
    if let Some(when) = when {
        job = job.when(when.into());
    }
    if let Some(otherwise) = otherwise {
        job = job.otherwise(otherwise.into());
    }
    if let Some(longest) = max_blocked {
        job = job.max_blocked(longest);
    }
    if let Some(queue) = queue {
        job = job.queue(queue);
    }
    if let Some(priority) = options.priority {
        job = job.priority(priority);
    }
    if let Some(delay) = delay {
        job = job.delay(delay);
    }
    if let Some(at) = at {
        job = job.run_at(at);
    }
    if let Some(expires) = expires {
        job = job.expires_at(expires);
    }
    if let Some(attempts) = max_attempts {
        job = job.max_attempts(attempts);
    }
    if let Some(group) = group {
        job = job.group(group);
    }
    if let Some(dedup) = dedup {
        job = job.dedup(dedup);
    }
    if recorded {
        job = job.recorded();
    }
    if listed {
        job = job.listed();
    }
    job = tags.into_iter().fold(job, sqjobs::Enqueue::tag);
    job = objects.into_iter().fold(job, sqjobs::Enqueue::object);
    // A number stays a number, unless it would lose digits.
    meta.into_iter().fold(job, |job, (key, value)| {
        let is_whole = Envelope::check_integers(&format!(r#"{{"meta": {value}}}"#)).is_ok();
        let value = serde_json::from_str(&value).ok().filter(|_| is_whole).unwrap_or(Value::String(value));
        job.meta(key, value)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_json_and_else_the_error_shows_how_to_write_them() {
        assert!(matches!(arguments(Some("[1]")), Ok(value) if value == json!([1])));
        assert!(matches!(arguments(None), Ok(Value::Null)));
        let result = value("result", "result", Some("hello")).expect_err("no JSON").into_message();
        assert!(result.starts_with("cannot read the result, because the text is not JSON"), "{result}");
        let result = value("result", "result", Some("[18446744073709551616]")).expect_err("a large number").into_message();
        assert!(result.contains("result: it has an integer"), "{result}");
        assert!(matches!(arguments(Some("hello")), Err(Failure::Message(error)) if error.contains("'\"text\"'")));
        assert!(
            matches!(arguments(Some("[18446744073709551616]")), Err(Failure::Message(error)) if error.contains("args: it has an integer"))
        );
    }

    #[test]
    fn arguments_are_read_from_a_file() {
        let file = concat!("@", env!("CARGO_MANIFEST_DIR"), "/output.schema.json");
        assert!(matches!(arguments(Some(file)), Ok(value) if value["$defs"].is_object()));
        let missing = arguments(Some("@nowhere.json")).expect_err("there is none").into_message();
        assert!(missing.starts_with("cannot read the arguments from nowhere.json"), "{missing}");
    }
}
