use super::super::SCHEMA;
use super::super::wire::FIELDS;
use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jsonschema::Validator;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::Map;
use std::sync::LazyLock;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(SCHEMA).expect("the schema is JSON"));

static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::draft202012::options().should_validate_formats(true).build(&DOCUMENT).expect("the schema is a schema"));

#[test]
fn the_schema_is_valid_for_its_draft() {
    assert!(jsonschema::draft202012::meta::is_valid(&DOCUMENT));
}

#[test]
fn the_schema_describes_every_field_and_no_other() {
    let properties = DOCUMENT["properties"].as_object().expect("properties");
    let mut fields: Vec<_> = FIELDS.to_vec();
    fields.sort_unstable();
    let mut described: Vec<_> = properties.keys().map(String::as_str).collect();
    described.sort_unstable();
    assert_eq!(described, fields);
    assert!(properties.values().all(|property| { property["description"].as_str().is_some_and(|text| text.len() > 20) }));
}

#[test]
fn the_examples_of_the_schema_are_read() {
    for example in DOCUMENT["examples"].as_array().expect("examples") {
        assert!(VALIDATOR.is_valid(example), "{example}");
        assert_eq!(read(&example.to_string()).unsupported(), None);
    }
}

#[test]
fn bodies_that_the_schema_allows_are_read() {
    for fields in [
        json!({}),
        json!({"v": 1, "id": "é".repeat(256), "args": "scalar", "kwargs": null}),
        json!({"v": null, "id": null, "run_at": null, "tags": null, "meta": null, "needs": null, "timeout_s": null}),
        json!({"args": {"deep": [[[{}]]]}, "kwargs": {"a": 1}}),
        json!({"run_at": "2026-05-04T12:00:00Z"}),
        json!({"run_at": "2026-05-04T12:00:00.123456789-09:30"}),
        json!({"expires_at": "9999-12-30T22:00:00Z"}),
        json!({"max_attempts": 1, "timeout_s": 0.001, "priority": "high"}),
        json!({"max_attempts": 1000, "timeout_s": 43200, "priority": "default"}),
        json!({"tags": vec!["t".repeat(128); 32]}),
        json!({"meta": {"n": [0, -0.0, 1e125, -2e-130], "s": "", "b": [null, true]}}),
        json!({"traceparent": "0".repeat(128), "tracestate": "a=b", "needs": ["x"]}),
        json!({"traceparent": 0, "tracestate": "0".repeat(513)}),
        json!({"depends_on": ["a", "b"], "when": "ended", "otherwise": "hold", "max_blocked_s": 0.5}),
        json!({"depends_on": ["a"], "otherwise": "cancel", "when": null, "max_blocked_s": null}),
        json!({"depends_on": null}),
        json!({"limit_key": "a", "limit": 100, "exclusive_key": "b", "unique_key": "c", "unique_for": 0.5, "on_conflict": "fail"}),
        json!({"unique_key": "c", "unique_for": "started", "on_conflict": null, "max_blocked_s": 60}),
        json!({"rate_key": "a", "rate": {"limit": 100, "period_s": 1}}),
        json!({"rate_key": "a", "rate": {"limit": 1, "period_s": 86_400, "burst": 1000}, "max_blocked_s": 60}),
        json!({"limit_key": null, "limit": null, "unique_for": null}),
        json!({"class": "A", "unheard": {"of": 1}}),
        json!({"name": "n"}),
        json!({"name": "two words"}),
        json!({"name": "é".repeat(64)}),
    ] {
        let body = with(&fields);
        assert!(VALIDATOR.is_valid(&serde_json::from_str(&body).expect("JSON")), "{body}");
        assert_eq!(read(&body).form, Form::Native);
    }
}

#[test]
fn bodies_that_the_schema_forbids_are_refused() {
    for fields in [
        json!({"name": ""}),
        json!({"name": null}),
        json!({"name": ["adder"]}),
        json!({"name": " a"}),
        json!({"name": "a\u{a0}"}),
        json!({"name": "a\tb"}),
        json!({"name": "a\u{7f}b"}),
        json!({"name": "n".repeat(129)}),
        json!({"limit_key": "a"}),
        json!({"limit": 1}),
        json!({"limit_key": "a", "limit": 0}),
        json!({"limit_key": "a", "limit": 101}),
        json!({"rate_key": "a"}),
        json!({"rate": {"limit": 1, "period_s": 1}}),
        json!({"rate_key": "a", "rate": 3}),
        json!({"rate_key": "a", "rate": {"limit": 0, "period_s": 1}}),
        json!({"rate_key": "a", "rate": {"limit": 1, "period_s": 0}}),
        json!({"rate_key": "a", "rate": {"limit": 1, "period_s": 1, "burst": 0}}),
        json!({"rate_key": "a", "rate": {"limit": 1, "period_s": 1, "per": 1}}),
        json!({"exclusive_key": ""}),
        json!({"unique_for": "ended"}),
        json!({"unique_key": "a", "unique_for": "never"}),
        json!({"unique_key": "a", "unique_for": 0}),
        json!({"unique_key": "a", "on_conflict": "keep"}),
        json!({"unique_key": "a", "jobs": [{"name": "b", "id": "b"}]}),
        json!({"v": 0}),
        json!({"v": -1}),
        json!({"v": 1.5}),
        json!({"v": "1"}),
        json!({"id": ""}),
        json!({"id": 7}),
        json!({"id": "a\nb"}),
        json!({"id": "i".repeat(513)}),
        json!({"parent_id": ""}),
        json!({"root_id": "a\u{9f}"}),
        json!({"depth": 101}),
        json!({"depth": -1}),
        json!({"depth": 0.5}),
        json!({"kwargs": []}),
        json!({"kwargs": "a"}),
        json!({"run_at": 1_777_896_000}),
        json!({"run_at": "2026-05-04"}),
        json!({"run_at": "2026-05-04T12:00:00"}),
        json!({"run_at": "2026-05-04T12:00Z"}),
        json!({"run_at": "2026-05-04 12:00:00Z"}),
        json!({"run_at": "2026-05-04T12:00:00Z[UTC]"}),
        json!({"run_at": "2026-05-04T12:00:00.Z"}),
        json!({"run_at": "2026-05-04T12:00:00+02"}),
        json!({"run_at": "2026-05-04T12:00:00+0200"}),
        json!({"run_at": "2026-05-04T12:00:00.0123456789Z"}),
        json!({"run_at": "2026-02-30T12:00:00Z"}),
        json!({"expires_at": "2026-05-04T24:00:00Z"}),
        json!({"max_attempts": 0}),
        json!({"max_attempts": 1001}),
        json!({"max_attempts": 1.5}),
        json!({"max_attempts": "3"}),
        json!({"timeout_s": 0}),
        json!({"timeout_s": -1}),
        json!({"timeout_s": 43200.5}),
        json!({"timeout_s": "30"}),
        json!({"priority": 1}),
        json!({"priority": "urgent"}),
        json!({"tags": "a"}),
        json!({"tags": [1]}),
        json!({"tags": [null]}),
        json!({"tags": vec!["t"; 33]}),
        json!({"tags": ["t".repeat(129)]}),
        json!({"meta": []}),
        json!({"meta": {"": 1}}),
        json!({"meta": {"a": [{"": 1}]}}),
        json!({"meta": {"a": [1e126]}}),
        json!({"meta": {"a": {"b": -1e-131}}}),
        json!({"depends_on": "a"}),
        json!({"depends_on": [1]}),
        json!({"depends_on": [""]}),
        json!({"depends_on": ["a", "a"]}),
        json!({"depends_on": (0..21).map(|id| id.to_string()).collect::<Vec<_>>()}),
        json!({"when": "ended"}),
        json!({"otherwise": "cancel"}),
        json!({"max_blocked_s": 5}),
        json!({"depends_on": ["a"], "when": "done"}),
        json!({"depends_on": ["a"], "otherwise": "wait"}),
        json!({"depends_on": ["a"], "when": "ended", "otherwise": "cancel"}),
        json!({"depends_on": ["a"], "max_blocked_s": 0}),
        json!({"depends_on": ["a"], "max_blocked_s": 315_360_001}),
        json!({"needs": {"tags": true}}),
    ] {
        let body = with(&fields);
        assert!(!VALIDATOR.is_valid(&serde_json::from_str(&body).expect("JSON")), "{body}");
        assert!(Envelope::parse(&body).is_err(), "{body}");
    }
    for body in [json!(null), json!([]), json!({}), json!({"args": [1]})] {
        assert!(!VALIDATOR.is_valid(&body) && Envelope::parse(&body.to_string()).is_err(), "{body}");
    }
}

#[test]
fn limits_that_a_schema_cannot_express_are_checked_by_the_reader() {
    let deep = (1..25).fold(json!({}), |inner, _| json!({"m": inner}));
    for fields in [
        json!({"id": "é".repeat(257)}),
        json!({"max_attempts": 3.0}),
        json!({"id": "a", "depends_on": ["a"]}),
        json!({"meta": deep}),
        json!({"expires_at": "9999-12-31T23:59:59Z"}),
    ] {
        let body = with(&fields);
        assert!(VALIDATOR.is_valid(&serde_json::from_str(&body).expect("JSON")), "{body}");
        assert!(Envelope::parse(&body).is_err(), "{body}");
    }
}

#[test]
fn a_newer_contract_has_a_schema_of_its_own() {
    let body = json!({"v": 2, "name": "adder"});
    assert!(!VALIDATOR.is_valid(&body));
    assert!(Envelope::parse(&body.to_string()).is_ok());
}

/// Any JSON, with only those numbers that are equal in decimal and in binary.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| prop_oneof![vec(inner.clone(), 0..4).prop_map(Value::from), any_map(inner).prop_map(Value::from)])
}

fn any_map(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    btree_map(".{1,8}", value, 0..4).prop_map(|map| map.into_iter().collect())
}

fn any_unknown() -> impl Strategy<Value = Map<String, Value>> {
    any_map(any_json()).prop_map(|map| map.into_iter().filter(|(field, _)| !FIELDS.contains(&field.as_str())).collect())
}

fn any_id() -> impl Strategy<Value = Option<String>> {
    option::of(r"\PC{1,128}")
}

fn any_instant() -> impl Strategy<Value = Option<Timestamp>> {
    option::of((-60_000_000_000_000_i64..253_000_000_000_000).prop_map(|ms| Timestamp::from_millisecond(ms).expect("in range")))
}

prop_compose! {
    fn any_cause()(id in any_id(), parent_id in any_id(), root_id in any_id(), depth in 0..=100_u32, trace in option::of([".{0,32}", ".{0,32}"]))
        -> Envelope
    {
        let envelope = Envelope::new("", Value::Null);
        let [traceparent, tracestate] = trace.map_or([None, None], |trace| trace.map(Some));
        Envelope { id, parent_id, root_id, depth, traceparent, tracestate, ..envelope }
    }
}

prop_compose! {
    fn any_wish()(
        run_at in any_instant(),
        expires_at in any_instant(),
        max_attempts in option::of(1..=1000_u32),
        timeout_s in option::of((1..=345_600_u32).prop_map(|eighths| f64::from(eighths) / 8.0)),
        priority in prop_oneof![Just(Priority::High), Just(Priority::Default), Just(Priority::Low)],
        needs in vec(any::<String>(), 0..3),
        cause in any_cause(),
    ) -> Envelope {
        Envelope { run_at, expires_at, max_attempts, timeout_s, priority, needs, ..cause }
    }
}

prop_compose! {
    fn any_envelope()(
        name in r"[^\pC\s]([^\pC]{0,30}[^\pC\s])?",
        args in any_json(),
        kwargs in any_map(any_json()),
        tags in vec(".{0,32}", 0..=32),
        meta in any_map(any_json()),
        unknown in any_unknown(),
        wish in any_wish(),
    ) -> Envelope {
        Envelope { name, args, kwargs, tags, meta, unknown, ..wish }
    }
}

proptest! {
    #[test]
    fn written_bodies_match_the_schema_and_are_read_back_equal(envelope in any_envelope()) {
        let body = envelope.to_body();
        let value: Value = serde_json::from_str(&body).expect("a body is JSON");
        if let Err(flaw) = VALIDATOR.validate(&value) {
            prop_assert!(false, "{flaw}");
        }
        prop_assert_eq!(envelope.check(), Ok(()));
        prop_assert_eq!(Envelope::parse(&body), Ok(envelope));
    }

    #[test]
    fn bodies_that_the_reader_accepts_match_the_schema(field in prop::sample::select(FIELDS), value in any_json()) {
        let body = with(&json!({field: value}));
        if Envelope::parse(&body).is_ok_and(|envelope| envelope.v == 1) {
            prop_assert!(VALIDATOR.is_valid(&serde_json::from_str(&body).expect("JSON")), "{}", body);
        }
    }

    #[test]
    fn no_text_crashes_the_reader(body in any::<String>()) {
        let read = [Envelope::parse(&body), Envelope::parse(&STANDARD.encode(&body)), Envelope::parse(&format!("{{{body}"))];
        prop_assert!(read.into_iter().flatten().all(|envelope| !envelope.name.is_empty()));
    }
}
