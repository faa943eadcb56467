use super::*;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, PartialEq, Deserialize)]
struct Adder(Vec<i64>);

#[derive(Debug, PartialEq, Deserialize)]
struct Nightly;

#[derive(Debug, PartialEq, Deserialize)]
struct Greet(String);

#[derive(Debug, PartialEq, Deserialize)]
struct Move(String, u8);

#[derive(Debug, PartialEq, Deserialize)]
struct Mail {
    to: String,
    retries: u8,
}

#[derive(Debug, PartialEq, Default, Deserialize)]
struct Report {
    #[serde(default)]
    days: u8,
    format: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Split {
    args: Vec<i64>,
    kwargs: BTreeMap<String, bool>,
}

fn native(args: Value) -> Envelope {
    Envelope::new("job", args)
}

fn legacy(args: Value) -> Envelope {
    let mut envelope = native(args);
    envelope.form = Form::Legacy;
    envelope
}

fn refusal<T: serde::de::DeserializeOwned + std::fmt::Debug>(envelope: &Envelope) -> String {
    envelope.bind::<T>().expect_err("the type refuses it").to_string()
}

#[test]
fn arguments_bind_to_every_shape_of_struct() {
    for form in [native, legacy] {
        assert_eq!(form(json!([1, 2])).bind(), Ok(Adder(vec![1, 2])));
        assert_eq!(form(json!([])).bind(), Ok(Adder(vec![])));
        assert_eq!(form(json!("hi")).bind(), Ok(Greet("hi".into())));
        assert_eq!(form(json!(["a", 1])).bind(), Ok(Move("a".into(), 1)));
        assert_eq!(form(json!({"to": "a", "retries": 1})).bind(), Ok(Mail { to: "a".into(), retries: 1 }));
        assert_eq!(form(json!(["a", 1])).bind(), Ok(Mail { to: "a".into(), retries: 1 }));
    }
}

#[test]
fn no_arguments_in_any_spelling_bind_to_a_job_without_any() {
    for form in [native, legacy] {
        for empty in [Value::Null, json!([]), json!({})] {
            assert_eq!(form(empty.clone()).bind(), Ok(Nightly), "{empty}");
            assert_eq!(form(empty.clone()).bind(), Ok(()), "{empty}");
            assert_eq!(form(empty.clone()).bind(), Ok(Report::default()), "{empty}");
        }
    }
}

#[test]
fn a_missing_list_is_not_an_empty_list_unless_the_form_is_legacy() {
    assert_eq!(refusal::<Adder>(&native(Value::Null)), "args: invalid type: null, expected a sequence");
    assert_eq!(legacy(Value::Null).bind(), Ok(Adder(vec![])));
}

#[test]
fn matching_arguments_are_not_reinterpreted() {
    assert_eq!(legacy(json!([5])).bind(), Ok(Adder(vec![5])));
    assert_eq!(legacy(json!([5])).bind(), Ok(json!([5])));
    assert_eq!(legacy(json!([])).bind(), Ok(Some(json!([]))));
    assert_eq!(native(Value::Null).bind(), Ok(None::<Mail>));
}

#[test]
fn a_legacy_array_of_one_element_binds_as_that_element() {
    assert_eq!(legacy(json!([[5, 6]])).bind(), Ok(Adder(vec![5, 6])));
    assert_eq!(legacy(json!(["hi"])).bind(), Ok(Greet("hi".into())));
    assert_eq!(legacy(json!([{"to": "a", "retries": 1}])).bind(), Ok(Mail { to: "a".into(), retries: 1 }));
    assert!(native(json!(["hi"])).bind::<Greet>().is_err());
}

#[test]
fn keyword_arguments_alone_are_the_arguments() {
    for args in [Value::Null, json!([]), json!({})] {
        let mut envelope = native(args);
        envelope.kwargs = BTreeMap::from([("to", json!("a")), ("retries", json!(2))]).into_iter().map(|(k, v)| (k.into(), v)).collect();
        assert_eq!(envelope.bind(), Ok(Mail { to: "a".into(), retries: 2 }));
        envelope.kwargs.insert("retries".into(), json!(300));
        assert_eq!(refusal::<Mail>(&envelope), "kwargs.retries: invalid value: integer `300`, expected u8");
    }
}

#[test]
fn both_kinds_of_arguments_bind_side_by_side() {
    for form in [native, legacy] {
        let mut envelope = form(json!([1]));
        envelope.kwargs.insert("dry".into(), json!(true));
        let kwargs = BTreeMap::from([("dry".into(), true)]);
        assert_eq!(envelope.bind(), Ok(Split { args: vec![1], kwargs }));
        assert_eq!(refusal::<Mail>(&envelope), "args and kwargs: missing field `to`");
        envelope.args = json!([1, null]);
        assert_eq!(refusal::<Split>(&envelope), "args[1]: invalid type: null, expected i64");
    }
}

#[test]
fn a_refusal_names_the_path() {
    let envelope = native(json!({"to": "a", "retries": 300}));
    assert_eq!(refusal::<Mail>(&envelope), "args.retries: invalid value: integer `300`, expected u8");
    assert_eq!(refusal::<Mail>(&native(json!({"to": "a"}))), "args: missing field `retries`");
    assert_eq!(refusal::<Vec<Mail>>(&native(json!([{"to": 1}]))), "args[0].to: invalid type: integer `1`, expected a string");
}

#[test]
fn a_refusal_is_about_the_arguments_as_sent() {
    assert_eq!(refusal::<Adder>(&legacy(json!(["x"]))), "args[0]: invalid type: string, expected i64");
    assert_eq!(refusal::<Nightly>(&legacy(json!([1]))), "args: invalid type: sequence, expected unit struct Nightly");
    assert_eq!(refusal::<Vec<Mail>>(&legacy(json!([{"to": "a"}]))), "args[0]: missing field `retries`");
    assert_eq!(refusal::<Mail>(&legacy(json!([]))), "args: invalid length 0, expected struct Mail with 2 elements");
}

#[test]
fn a_refusal_is_about_the_variant_that_was_parsed_furthest() {
    let missing = legacy(json!([{"to": "a"}]));
    assert_eq!(refusal::<Mail>(&missing), "args[0]: missing field `retries`");
    let mistyped = legacy(json!([{"to": "a", "retries": "b"}]));
    assert_eq!(refusal::<Mail>(&mistyped), "args[0].retries: invalid type: string, expected u8");
    assert_eq!(refusal::<Mail>(&native(Value::Null)), "args: missing field `to`");
}

#[test]
fn an_old_message_with_more_arguments_than_its_job_takes_is_refused() {
    assert_eq!(legacy(json!(["world"])).bind::<Greet>().ok(), Some(Greet("world".into())));
    assert!(legacy(json!(["world", 2])).bind::<Greet>().is_err());
}
