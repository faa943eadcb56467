use super::super::DEPENDENCIES;
use super::super::FEATURES;
use super::super::wire::FIELDS;
use super::*;
use crate::envelope::{Keys, OnConflict, Rate};
use jiff::Timestamp;
use std::time::Duration;

#[test]
fn a_name_alone_is_an_envelope() {
    assert_eq!(read(r#"{"name": "nightly"}"#), Envelope::new("nightly", Value::Null));
}

#[test]
fn a_trace_of_any_form_fails_no_message() {
    for (traceparent, tracestate) in [(json!(1), json!({})), (json!("0".repeat(129)), json!("0".repeat(513))), (json!([]), Value::Null)] {
        let envelope = read(&json!({"name": "a", "traceparent": traceparent, "tracestate": tracestate}).to_string());
        assert_eq!([envelope.traceparent.as_ref(), envelope.tracestate.as_ref()], [None; 2]);
        assert_eq!(envelope.to_body(), r#"{"name":"a"}"#);
    }
    let strange = read(r#"{"name": "a", "traceparent": "of another system", "tracestate": ""}"#);
    assert_eq!(strange.traceparent.as_deref(), Some("of another system"));
}

#[test]
fn every_field_arrives_as_it_was_sent() {
    let envelope = read(
        r#" {"v": 1, "name": "adder", "id": "adder:1", "args": [1], "kwargs": {"a": 2}, "run_at": "2026-05-04T08:00:00+02:00",
             "expires_at": "2026-05-05t06:00:00.25z", "max_attempts": 3, "timeout_s": 1.5,
             "priority": "low", "tags": ["t"], "meta": {"m": {}}, "parent_id": "p", "root_id": "r", "depth": 4,
             "traceparent": "00-0-0-00", "tracestate": "a=b", "needs": ["tags"], "colour": "red"}
        "#,
    );
    let mut expected = Envelope::new("adder", json!([1]));
    expected.id = Some("adder:1".into());
    expected.kwargs.insert("a".into(), json!(2));
    expected.run_at = "2026-05-04T06:00:00Z".parse().ok();
    expected.expires_at = "2026-05-05T06:00:00.25Z".parse().ok();
    expected.max_attempts = Some(3);
    expected.timeout_s = Some(1.5);
    expected.priority = Priority::Low;
    expected.tags = vec!["t".into()];
    expected.meta.insert("m".into(), json!({}));
    expected.parent_id = Some("p".into());
    expected.root_id = Some("r".into());
    expected.depth = 4;
    expected.traceparent = Some("00-0-0-00".into());
    expected.tracestate = Some("a=b".into());
    expected.needs = vec!["tags".into()];
    expected.unknown.insert("colour".into(), json!("red"));
    assert_eq!(envelope, expected);
    assert_eq!(read(&envelope.to_body()), envelope);
}

#[test]
fn null_is_as_good_as_absent() {
    let nulls = FIELDS.iter().filter(|field| **field != "name");
    let fields = nulls.map(|field| ((*field).to_owned(), Value::Null)).collect();
    assert_eq!(read(&with(&Value::Object(fields))), Envelope::new("adder", Value::Null));
}

#[test]
fn the_last_of_two_equal_keys_counts() {
    assert_eq!(read(r#"{"name": "a", "name": "b"}"#).name, "b");
}

#[test]
fn unknown_fields_are_kept_and_written_again() {
    let envelope = read(r#"{"name": "adder", "colour": {"r": 1}}"#);
    assert_eq!(envelope.unknown["colour"], json!({"r": 1}));
    assert_eq!(envelope.to_body(), r#"{"name":"adder","colour":{"r":1}}"#);
}

#[test]
fn an_unknown_field_never_overrides_a_known_one() {
    let mut envelope = Envelope::new("adder", json!([1]));
    envelope.unknown.insert("name".into(), json!("dropper"));
    assert_eq!(envelope.to_body(), r#"{"name":"adder","args":[1]}"#);
}

#[test]
fn instants_are_written_in_utc_to_the_millisecond() {
    let envelope = read(r#"{"name": "adder", "run_at": "2026-05-04T08:00:00.123456789+02:00"}"#);
    assert_eq!(envelope.to_body(), r#"{"name":"adder","run_at":"2026-05-04T06:00:00.123Z"}"#);
}

#[test]
fn the_last_instant_of_all_can_be_written_and_read() {
    let mut envelope = Envelope::new("adder", Value::Null);
    envelope.expires_at = Some(Timestamp::MAX);
    let expires_at = read(&envelope.to_body()).expires_at;
    assert!(expires_at.is_some_and(|instant| Timestamp::MAX.duration_since(instant).as_millis() == 0));
}

#[test]
fn a_wrong_type_is_refused_with_the_field_and_its_valid_values() {
    for (fields, expected) in [
        (json!({"v": 0}), "v: invalid value: integer `0`; it must be a whole number from 1"),
        (json!({"v": 1.5}), "v: invalid type: floating point `1.5`; it must be a whole number from 1"),
        (json!({"v": "2"}), "v: invalid type: string; it must be a whole number from 1"),
        (json!({"kwargs": []}), "kwargs: invalid type: sequence; it must be an object"),
        (json!({"tags": ["a", 5]}), "tags[1]: invalid type: integer `5`; it must be an array of at most 32 strings of at most 128 bytes"),
        (json!({"priority": 1}), "priority: invalid type: integer `1`; it must be `high`, `default` or `low`"),
        (json!({"priority": "urgent"}), "priority: unknown variant; it must be `high`, `default` or `low`"),
        (json!({"needs": "tags"}), "needs: invalid type: string; it must be an array of strings"),
        (
            json!({"run_at": "tomorrow"}),
            "run_at: invalid value: string; it must be an RFC 3339 instant such as `2026-05-04T12:00:00Z`, up to 9999-12-30T22:00:00Z",
        ),
    ] {
        assert_eq!(reason(&with(&fields)), expected);
    }
    let name = "it must be a string of 1 to 128 bytes without control characters and without white space at its ends";
    assert_eq!(reason(r#"{"name": 5}"#), format!("name: invalid type: integer `5`; {name}"));
}

#[test]
fn an_excessive_value_is_refused_with_its_limit() {
    for (fields, expected) in [
        (json!({"id": ""}), "id: it is empty; it must be a string of 1 to 512 bytes without control characters"),
        (json!({"id": "é".repeat(257)}), "id: it has 514 bytes; it must be a string of 1 to 512 bytes without control characters"),
        (
            json!({"parent_id": "a\u{85}"}),
            "parent_id: it has a control character; it must be a string of 1 to 512 bytes without control characters",
        ),
        (
            json!({"root_id": "a\n"}),
            "root_id: it has a control character; it must be a string of 1 to 512 bytes without control characters",
        ),
        (
            json!({"id": "a\u{fffe}"}),
            "id: it has U+FFFE or U+FFFF, which SQS does not take in an attribute; it must be a string of 1 to 512 bytes without control characters",
        ),
        (json!({"tags": vec!["t"; 33]}), "tags: it has 33 entries; it must be an array of at most 32 strings of at most 128 bytes"),
        (json!({"tags": ["t".repeat(129)]}), "tags[0]: it has 129 bytes; it must be an array of at most 32 strings of at most 128 bytes"),
        (
            json!({"depth": 101}),
            "depth: it is 101; it must be a whole number from 0 to 100; a job that enqueues its successor for ever must make it a root \
             of its own, by `Enqueue::detached`",
        ),
        (json!({"max_attempts": 0}), "max_attempts: it is 0; it must be a whole number from 1 to 1000"),
        (json!({"max_attempts": 1001}), "max_attempts: it is 1001; it must be a whole number from 1 to 1000"),
        (json!({"timeout_s": 0}), "timeout_s: it is 0; it must be a number of seconds above 0 and up to 43200"),
        (json!({"timeout_s": 43200.5}), "timeout_s: it is 43200.5; it must be a number of seconds above 0 and up to 43200"),
        (
            json!({"depends_on": (0..21).map(|id| id.to_string()).collect::<Vec<_>>()}),
            "depends_on: it has 21 ids; it must be an array of at most 20 different ids of other jobs, each a string of 1 to 512 bytes",
        ),
        (
            json!({"when": "ended"}),
            "when: the message has no `depends_on`; it must be `succeeded`, `ended` or `failed`, beside `depends_on`",
        ),
        (
            json!({"otherwise": "cancel", "when": "ended", "depends_on": ["a"]}),
            "otherwise: it is only for jobs that wait for success; it must be `hold` or `cancel`, beside `depends_on`, and only `hold` \
             with a `when` other than `succeeded`",
        ),
        (
            json!({"max_blocked_s": 0, "depends_on": ["a"]}),
            "max_blocked_s: it is 0; it must be a number of seconds above 0 and up to ten years, beside `depends_on` or a key",
        ),
    ] {
        assert_eq!(reason(&with(&fields)), expected);
    }
    for fields in [json!({"id": "\u{ff01}"}), json!({"depends_on": (0..20).map(|id| id.to_string()).collect::<Vec<_>>()})] {
        assert_eq!(read(&with(&fields)).check(), Ok(()), "{fields}");
    }
    assert!(reason(r#"{"name": " a"}"#).starts_with("name: it begins or ends with white space; "));
    assert!(reason(&format!(r#"{{"name": "{}"}}"#, "n".repeat(129))).starts_with("name: it has 129 bytes; "));
}

#[test]
fn meta_is_refused_when_the_table_could_not_hold_it() {
    let nested = |levels| (1..levels).fold(json!({}), |inner, _| json!({"m": inner}));
    assert_eq!(read(&with(&json!({"meta": nested(24)}))).meta.len(), 1);
    assert!(reason(&with(&json!({"meta": nested(25)}))).starts_with("meta: it nests too deep; it must be an object of at most 24 levels"));
    assert!(reason(&with(&json!({"meta": {"a": [[{"": 1}]]}}))).starts_with("meta: it has an empty key; "));
    for number in [1e126, -1e126, 1e-130, 1e-131, -1e-131] {
        let reason = reason(&with(&json!({"meta": {"n": [number]}})));
        assert!(reason.starts_with("meta: it has a number out of range; "), "{reason}");
    }
    for number in [0.0, -0.0, 9e125, -9e125, 2e-130, -2e-130] {
        assert_eq!(read(&with(&json!({"meta": {"n": number}}))).meta["n"], json!(number));
    }
}

#[test]
fn a_body_that_is_not_an_envelope_is_refused_by_its_kind() {
    let remedy = r#"it must be a JSON object such as {"name": "adder", "args": [1, 2]}"#;
    for (body, flaw) in [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("{}", "it has neither `name` nor `class`"),
        (r#"{"Event": "s3:TestEvent"}"#, "it has neither `name` nor `class`"),
        (r#"{"Service": "a", "Event": "b", "Bucket": "c"}"#, "it has neither `name` nor `class`"),
        (r#"{"name": null}"#, "it has neither `name` nor `class`"),
        (
            r#"{"Type":"Notification","MessageId":"m","TopicArn":"arn:aws:sns:eu-west-1:1:t","Message":"{\"name\":\"n\"}"}"#,
            "it is a notification of SNS with the message inside; turn on raw message delivery for the subscription, by `RawMessageDelivery`",
        ),
        (
            r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-05-04T12:00:00Z","Bucket":"b","RequestId":"r","HostId":"h"}"#,
            "it is the test event that S3 sends once when notifications are turned on; delete it",
        ),
        (
            r#"{"Records":[{"eventSource":"aws:s3","s3":{"object":{"key":"k"}}}]}"#,
            "it is a notification of S3, which has no job; let an EventBridge rule with an input transformer make the message",
        ),
        (
            r#"{"version":"0","id":"i","detail-type":"Object Created","source":"aws.s3","detail":{}}"#,
            "it is an event of EventBridge; give the rule's target an input transformer that makes the message",
        ),
        (r#"[{"name": "adder"}]"#, "it is an array"),
        (r#"["adder", "id", [1, 2]]"#, "it is an array"),
        (r#""adder""#, "it is a string"),
        ("null", "it is null"),
        ("1234", "it is a number"),
        ("true", "it is a boolean"),
        (r#"{"name": "adder", "ar"#, "it is JSON that ends too early: EOF while parsing a string at line 1 column 21"),
        (r"{'name': 'adder'}", "it is not JSON: key must be a string at line 1 column 2"),
        (r#"{"name": "adder"} {}"#, "it is not JSON: trailing characters at line 1 column 19"),
        (r#"{"name": "adder", "args": NaN}"#, "it is not JSON: expected value at line 1 column 27"),
        ("run the adder!", "it is neither JSON nor base64"),
    ] {
        assert_eq!(reason(body), format!("body: {flaw}; {remedy}"), "{body}");
    }
}

#[test]
fn a_body_nested_a_thousand_deep_is_refused_and_not_a_crash() {
    for (open, close) in [("[", "]"), (r#"{"name":"#, "}")] {
        let bomb = format!("{{\"name\":\"adder\",\"args\":{}1{}}}", open.repeat(1000), close.repeat(1000));
        assert!(reason(&bomb).starts_with("body: it is JSON nested deeper than 127 levels; "));
    }
    let deepest = format!(r#"{{"name":"adder","args":{}{}}}"#, "[".repeat(126), "]".repeat(126));
    assert_eq!(read(&read(&deepest).to_body()), read(&deepest));
}

#[test]
fn only_the_common_fields_of_a_newer_contract_are_read() {
    let envelope = read(r#"{"v": 2, "name": "adder", "id": "a", "args": [1], "tags": {"now": "a map"}, "run_at": 5}"#);
    let mut expected = Envelope::new("adder", Value::Null);
    (expected.v, expected.id) = (2, Some("a".into()));
    assert_eq!(envelope, expected);
    let why = envelope.unsupported().expect("a newer contract is not supported");
    assert_eq!(why, "version 2 of the contract, while this worker knows version 1");
}

#[test]
fn an_unsupported_feature_is_never_ignored() {
    let envelope = read(&with(&json!({"needs": ["tags", "warp\n"]})));
    assert_eq!(envelope.unsupported().as_deref(), Some("the feature `warp\\n`, which this worker lacks"));
}

#[test]
fn a_message_with_a_priority_needs_a_worker_that_knows_priorities() {
    for (priority, needs) in [(json!("high"), &["priority"][..]), (json!("default"), &[]), (json!(null), &[])] {
        let mut envelope = read(&with(&json!({"priority": priority})));
        envelope.add_needs();
        assert_eq!(envelope.needs, needs);
        assert_eq!(envelope.unsupported(), None);
    }
}

#[test]
fn keys_are_read_and_their_limits_checked() {
    let all = json!({"limit_key": "a", "limit": 100, "exclusive_key": "b", "unique_key": "c", "unique_for": 60.5, "on_conflict": "fail"});
    let keys_of = |body: &str| *read(body).keys.expect("keys");
    let keys = keys_of(&with(&all));
    let declared = Keys::new().limit("a", 100).exclusive("b").unique("c").on_conflict(OnConflict::Fail);
    assert_eq!(keys, declared.unique_for(Duration::from_millis(60_500)));
    assert_eq!(keys_of(&read(&with(&all)).to_body()), keys);
    let rate = json!({"rate_key": "a", "rate": {"limit": 50, "period_s": 0.5, "burst": 3}});
    let keys = Keys::new().rate("a", Rate::new(50, Duration::from_millis(500)).burst(3));
    assert_eq!(keys_of(&with(&rate)), keys);
    assert_eq!(keys_of(&read(&with(&rate)).to_body()), keys);
    assert_eq!(keys_of(&with(&json!({"unique_key": "c", "unique_for": "started"}))), Keys::new().unique("c").until_started());
    for (fields, flaw) in [
        (json!({"limit_key": "a"}), "limit: it is missing beside `limit_key`"),
        (json!({"limit": 1}), "limit: the message has no `limit_key`"),
        (json!({"limit_key": "a", "limit": 0}), "limit: it is 0"),
        (json!({"limit_key": "a", "limit": 101}), "limit: it is 101"),
        (json!({"rate_key": "a"}), "rate: it is missing beside `rate_key`"),
        (json!({"rate": {"limit": 1, "period_s": 1}}), "rate: the message has no `rate_key`"),
        (json!({"rate_key": "a", "rate": {"limit": 0, "period_s": 1}}), "rate: its limit is 0"),
        (json!({"rate_key": "a", "rate": {"limit": 1, "period_s": 86_401}}), "rate: its period is 86401 s"),
        (json!({"rate_key": "a", "rate": {"limit": 101, "period_s": 1}}), "rate: 101 in 1 s is more than 100 a second"),
        (json!({"rate_key": "a", "rate": {"limit": 1, "period_s": 1, "burst": 0}}), "rate: its burst is 0"),
        (json!({"rate_key": "a", "rate": {"limit": 1, "per": 1}}), "rate.per: unknown field"),
        (json!({"exclusive_key": ""}), "exclusive_key: it is empty"),
        (json!({"unique_key": "a\u{1f}"}), "unique_key: it has a control character"),
        (json!({"unique_for": "ended"}), "unique_for: the message has no `unique_key`"),
        (json!({"on_conflict": "drop"}), "on_conflict: the message has no `unique_key`"),
        (json!({"unique_key": "a", "unique_for": 0}), "unique_for: it is 0"),
        (json!({"unique_key": "a", "jobs": [{"name": "b", "id": "b"}]}), "unique_key: the message is a workflow"),
    ] {
        assert!(reason(&with(&fields)).starts_with(flaw), "{}", reason(&with(&fields)));
    }
}

#[test]
fn a_key_of_a_message_wins_over_one_of_the_same_kind() {
    let (message, declared) = (Keys::new().limit("a", 1), Keys::new().limit("b", 2).unique("c").until_started());
    assert_eq!(message.or(declared), Keys::new().limit("a", 1).unique("c").until_started());
    let (message, declared) = (Keys::new().unique("a"), Keys::new().unique("b").until_started().on_conflict(OnConflict::Fail));
    assert_eq!(message.clone().or(declared), message, "its options belong to the key");
}

#[test]
fn supported_features_are_accepted() {
    let fields = json!({"needs": FEATURES, "depends_on": [], "max_attempts": 3, "colour": "red"});
    assert_eq!(read(&with(&fields)).unsupported(), None);
}

#[test]
fn a_misspelled_field_of_a_needed_feature_is_refused() {
    let refused = |fields: Value| Envelope::parse(&with(&fields)).expect_err("a refusal").to_string();
    assert_eq!(
        refused(json!({"needs": ["dependencies"], "depend_on": ["a"]})),
        "depend_on: it is unknown, but `needs` has `dependencies`; perhaps `depends_on` is meant"
    );
    assert_eq!(
        refused(json!({"needs": ["workflow"], "job": [{"name": "adder", "id": "a"}]})),
        "job: it is unknown, but `needs` has `workflow`; perhaps `jobs` is meant"
    );
    for accepted in
        [json!({"needs": ["dependencies"]}), json!({"job": []}), json!({"needs": ["dependencies"], "depends_on": ["a"], "depend_on": 1})]
    {
        assert_eq!(read(&with(&accepted)).unsupported(), None);
    }
}

#[test]
fn a_reference_to_an_output_without_its_feature_is_explained() {
    let envelope = read(r#"{"name": "adder", "args": [1, {"$output": "a"}], "depends_on": ["a"]}"#);
    let flaw = envelope.bind::<Vec<i64>>().map_err(|flaw| envelope.explain_outputs(flaw)).expect_err("no number");
    assert_eq!(
        flaw.to_string(),
        "args[1]: invalid type: map, expected i64; add \"needs\": [\"outputs\"] to the message if \"$output\" stands for the result \
         of a job"
    );
}

#[test]
fn features_are_named_after_the_fields_they_honour() {
    let has_own_name =
        |feature: &&str| FIELDS.contains(feature) || [DEPENDENCIES, "keys", "outputs", "rates", "workflow"].contains(feature);
    assert!(FEATURES.iter().all(has_own_name));
}

#[test]
fn a_long_name_is_cut_in_a_sentence() {
    let why = read(&with(&json!({"needs": ["w".repeat(100)]}))).unsupported().expect("an unknown feature");
    assert_eq!(why, format!("the feature `{}…`, which this worker lacks", "w".repeat(64)));
}

#[test]
fn a_producer_can_check_before_it_sends() {
    let mut envelope = Envelope::new("adder", json!([1]));
    assert_eq!(envelope.check(), Ok(()));
    envelope.max_attempts = Some(0);
    assert_eq!(envelope.check(), Envelope::parse(&envelope.to_body()).map(|_| ()));
    envelope.max_attempts = None;
    envelope.v = 0;
    assert!(envelope.check().is_err());
}

#[test]
fn a_body_escapes_the_characters_that_sqs_does_not_take() {
    let envelope = Envelope::new("adder", json!({"\u{ffff}": "a\u{fffe}"}));
    assert_eq!(envelope.to_body(), r#"{"name":"adder","args":{"\uffff":"a\ufffe"}}"#);
    assert_eq!(Envelope::parse(&envelope.to_body()), Ok(envelope));
}

#[test]
fn an_integer_of_more_than_64_bits_is_refused_by_its_field() {
    let reason = |body: &str| Envelope::parse(body).expect_err("it is refused").to_string();
    let flaw = "it has an integer of more than 64 bits; send it as a string, or with a fraction or an exponent where it may be rounded";
    assert_eq!(reason(r#"{"name":"n","meta":{"order":18446744073709551616}}"#), format!("meta: {flaw}"));
    assert_eq!(reason(r#"{"name":"n","args":[18446744073709551616]}"#), format!("args: {flaw}"));
    assert_eq!(reason(r#"{"class":"N","args":[-9223372036854775809]}"#), format!("args: {flaw}"));
}

#[test]
fn serde_reads_the_same_envelope_as_the_parser() {
    let nulls = json!({"v": null, "args": null, "tags": null, "depends_on": null, "needs": null});
    for fields in [json!({}), json!({"v": 2}), nulls, json!({"args": [1], "tags": ["a"], "depth": 3})] {
        let body = with(&fields);
        assert_eq!(serde_json::from_str::<Envelope>(&body).expect("an envelope"), read(&body), "{body}");
    }
}

#[test]
fn only_a_newer_version_of_the_contract_is_written() {
    let written = |v| serde_json::from_str::<Value>(&Envelope { v, ..Envelope::new("adder", json!([])) }.to_body()).expect("JSON");
    assert_eq!([written(1)["v"].clone(), written(2)["v"].clone()], [Value::Null, json!(2)]);
}

#[test]
fn a_job_without_its_dependencies_keeps_its_other_fields() {
    let plain = json!({"id": "a", "tags": ["t"], "needs": ["tags"]});
    for waiting in [json!({"when": "ended", "max_blocked_s": 5}), json!({"otherwise": "cancel"})] {
        let mut fields = plain.clone();
        fields["depends_on"] = json!(["b"]);
        fields["needs"] = json!(["tags", DEPENDENCIES]);
        fields.as_object_mut().expect("an object").extend(waiting.as_object().expect("an object").clone());
        assert_eq!(read(&with(&fields)).without_links(), read(&with(&plain)));
    }
}
