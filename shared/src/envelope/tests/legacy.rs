use super::*;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// `{"id": "adder:7f3a#retry-2", "name": "adder", "args": [1, 2, 3], "kwargs": null}`, as Python
/// writes it.
const PYTHON: &str = "eyJpZCI6ICJhZGRlcjo3ZjNhI3JldHJ5LTIiLCAibmFtZSI6ICJhZGRlciIsICJhcmdzIjogWzEsIDIsIDNdLCAia3dhcmdzIjogbnVsbH0=";

/// Returns the envelope that is read from a legacy format.
fn legacy(name: &str, args: Value) -> Envelope {
    let mut envelope = Envelope::new(name, args);
    envelope.form = Form::Legacy;
    envelope
}

#[test]
fn python_messages_are_understood() {
    let envelope = read(PYTHON);
    assert_eq!(envelope.name.as_str(), "adder");
    assert_eq!(envelope.args, json!([1, 2, 3]));
    assert_eq!(envelope.form, Form::Legacy);
    assert_eq!(envelope.bind(), Ok(vec![1, 2, 3]));
}

#[test]
fn the_dedupe_key_of_python_is_left_of_the_first_hash() {
    assert_eq!(read(PYTHON).id.as_deref(), Some("adder:7f3a"));
    for (id, key) in [("a#b#c", Some("a")), ("plain", Some("plain")), ("#b", None), ("", None)] {
        let body = STANDARD.encode(json!({"id": id, "name": "adder"}).to_string());
        assert_eq!(read(&body).id.as_deref(), key, "{id}");
    }
}

#[test]
fn php_messages_without_an_id_are_understood() {
    // {"name":"mail","args":null,"kwargs":{"to":"ann","urgent":true}}
    let envelope = read("eyJuYW1lIjoibWFpbCIsImFyZ3MiOm51bGwsImt3YXJncyI6eyJ0byI6ImFubiIsInVyZ2VudCI6dHJ1ZX19");
    let mut expected = legacy("mail", Value::Null);
    expected.kwargs.insert("to".into(), json!("ann"));
    expected.kwargs.insert("urgent".into(), json!(true));
    assert_eq!(envelope, expected);
}

#[test]
fn php_writes_empty_keyword_arguments_as_an_array() {
    // {"name":"nightly","args":[],"kwargs":[]}
    assert_eq!(read("eyJuYW1lIjoibmlnaHRseSIsImFyZ3MiOltdLCJrd2FyZ3MiOltdfQ=="), legacy("nightly", json!([])));
}

#[test]
fn line_breaks_inside_the_base64_do_not_matter() {
    let (first, second) = PYTHON.split_at(76);
    assert_eq!(read(&format!("{first}\r\n{second}\n")), read(PYTHON));
    assert_eq!(read(&PYTHON.replace('J', " J\t")), read(PYTHON));
}

#[test]
fn padding_of_the_base64_does_not_matter() {
    for tail in ["", " ", "  "] {
        let text = format!(r#"{{"name": "adder", "args": [1]}}{tail}"#);
        assert_eq!(read(&STANDARD.encode(&text)), read(&STANDARD_NO_PAD.encode(&text)));
    }
}

#[test]
fn nan_and_infinity_become_null_except_in_strings() {
    // {"id": "m#1", "name": "mean", "args": [NaN, Infinity, -Infinity, "NaN and \"-Infinity\" \\"], "kwargs": {}}
    let envelope = read(
        "eyJpZCI6ICJtIzEiLCAibmFtZSI6ICJtZWFuIiwgImFyZ3MiOiBbTmFOLCBJbmZpbml0eSwgLUluZmluaXR5LCAiTmFOIGFuZCBcIi1JbmZpbml0\
         eVwiIFxcIl0sICJrd2FyZ3MiOiB7fX0=",
    );
    assert_eq!(envelope.args, json!([null, null, null, "NaN and \"-Infinity\" \\"]));
    assert!(envelope.bind::<(f64, f64, f64, String)>().is_err(), "no number is invented");
}

#[test]
fn letters_beyond_ascii_survive_the_base64() {
    // {"name": "greet", "args": ["Zoë ☃"]}
    assert_eq!(read("eyJuYW1lIjogImdyZWV0IiwgImFyZ3MiOiBbIlpvw6sg4piDIl19").args, json!(["Zoë ☃"]));
}

#[test]
fn base64_of_another_encoding_is_refused_with_that_reason() {
    // {"name": "greet", "args": ["Zoë"]} in Latin-1
    let reason = reason("eyJuYW1lIjogImdyZWV0IiwgImFyZ3MiOiBbIlpv6yJdfQ==");
    assert!(reason.starts_with("body: it is not JSON, and decoded from base64 it is not UTF-8; "), "{reason}");
}

#[test]
fn base64_of_other_content_is_refused_with_that_reason() {
    for (text, flaw) in [
        ("[1,2]", "it is an array"),
        (r#"{"args":[1]}"#, "it has no `name`"),
        (r#"{"name":"adder","args":[1,"#, "it is JSON that ends too early: EOF while parsing a value at line 1 column 26"),
        ("a letter", "it is not JSON: expected value at line 1 column 1"),
    ] {
        let reason = reason(&STANDARD.encode(text));
        assert!(reason.starts_with(&format!("body: it is not JSON, and decoded from base64 {flaw}; ")), "{reason}");
    }
}

#[test]
fn base64_of_a_thousand_levels_is_refused_and_not_a_crash() {
    let bomb = format!(r#"{{"name":"adder","args":{}1{}}}"#, "[".repeat(1000), "]".repeat(1000));
    assert!(reason(&STANDARD.encode(bomb)).contains("it is JSON nested deeper than 127 levels"));
}

#[test]
fn a_native_field_inside_the_base64_is_honoured() {
    let body = STANDARD.encode(r#"{"name":"adder","args":[1],"priority":"low","needs":["warp"]}"#);
    assert!(read(&body).unsupported().is_some());
    assert!(reason(&STANDARD.encode(r#"{"name":"adder","tags":5}"#)).starts_with("tags: invalid type: integer `5`; "));
}

#[test]
fn sidekiq_messages_are_understood_by_their_class_and_jid() {
    let envelope = read(
        r#"{"retry": true, "queue": "default", "class": "HardWorker", "args": ["bob", 5], "jid": "b4a577edbccf1d805744efa9",
            "created_at": 1234567890.123, "tags": {"of": "its own kind"}}"#,
    );
    let mut expected = legacy("HardWorker", json!(["bob", 5]));
    expected.id = Some("b4a577edbccf1d805744efa9".into());
    expected.unknown = json!({"retry": true, "queue": "default", "created_at": 1_234_567_890.123, "tags": {"of": "its own kind"}})
        .as_object()
        .cloned()
        .expect("an object");
    assert_eq!(envelope, expected);
    assert!(!envelope.to_body().contains("of its own kind"), "its tags are not ours");
}

#[test]
fn chore_and_resque_messages_have_the_identity_of_the_sqs_message() {
    for body in
        [r#"{"class": "Billing::Charge", "args": [{"id": 7}]}"#, r#"{"class": "Billing::Charge", "args": [{"id": 7}], "name": null}"#]
    {
        let envelope = read(body);
        assert_eq!(envelope.name.as_str(), "Billing::Charge");
        assert_eq!(envelope.id, None);
    }
}

#[test]
fn a_jid_that_is_empty_or_not_a_string_is_ignored() {
    for jid in [json!(""), json!(7), Value::Null] {
        let envelope = read(&json!({"class": "Charge", "jid": jid}).to_string());
        assert_eq!(envelope.id, None);
        assert_eq!(envelope.unknown["jid"], jid);
    }
}

#[test]
fn a_name_beside_a_class_makes_the_message_native() {
    let envelope = read(r#"{"name": "adder", "class": "Adder"}"#);
    assert_eq!(envelope.form, Form::Native);
    assert_eq!(envelope.unknown["class"], json!("Adder"));
}

#[test]
fn class_and_jid_have_the_limits_of_name_and_id() {
    assert!(reason(r#"{"class": ["A"]}"#).starts_with("class: invalid type: sequence; it must be a string of 1 to 128 bytes"));
    assert!(reason(r#"{"class": "A\n"}"#).starts_with("class: it begins or ends with white space; "));
    assert!(reason(r#"{"class": "A", "jid": "\u0000"}"#).starts_with("jid: it has a control character; "));
}
