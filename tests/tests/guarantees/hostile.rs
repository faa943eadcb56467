//! Hostile input: texts that could break keys, logs and terminals, input that exhausts a function, records that were edited
//! into nonsense, and secrets that must not be logged.
//!
//! Text that is not UTF-8 is not tested: SQS refuses it, and the library accepts JSON only from its own callers.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::ToSpan;
use serde_json::{Value, json};

use crate::{
    due::now,
    function::Function,
    message::Message,
    proxy::Fault,
    wait,
    world::{PATIENCE, World},
};

/// Texts that are valid ids but look like something else: a statement, a path, a key, a template. Several would reverse or
/// hide text on a terminal.
const ODD: [&str; 16] = [
    "' OR 1=1 --",
    r#""; DROP TABLE jobs; --"#,
    r"back\slash",
    "a#b:c/d",
    "due#3",
    "__proto__",
    "$(reboot)",
    "{{7*7}}",
    "%00%1b[2J",
    r"\u001b[31m",
    "../../etc/passwd",
    "null",
    "a b",
    "gpj.\u{202e}exe",
    "zero\u{200b}width\u{2028}line",
    "🦀",
];

/// Texts with control characters that clear a screen, set a title, forge a line, or end a text.
const CONTROL: [&str; 8] = [
    "\u{1b}[2J\u{1b}[31mred",
    "\u{1b}]0;title\u{7}",
    "\u{9b}31mred",
    "next\u{85}line",
    "a\n{\"level\":\"INFO\",\"message\":\"forged\"}",
    "a\rb",
    "nul\0",
    "del\u{7f}",
];

/// Sets the clock of a function a day ahead, so that messages for another version have waited long enough.
fn a_day_later(function: Function) -> Function {
    function.env("SQJOBS_CLOCK_AHEAD_S", (25 * 3600).to_string())
}

#[test]
fn a_hostile_id_runs_once_under_itself_or_is_refused_by_its_name() {
    World::setup().test(async |world| {
        let refused: Vec<_> = CONTROL.map(str::to_owned).into_iter().chain([String::new(), "x".repeat(100_000), "ü".repeat(257)]).collect();
        let longest = "ü".repeat(256);
        let accepted: Vec<_> = ODD.into_iter().chain([&*longest]).collect();
        let probe = Function::probe();
        let ids = accepted.iter().copied().chain(refused.iter().map(String::as_str));
        world.send_all(&ids.map(|id| world.probe(id, &json!({}))).collect::<Vec<_>>()).await;
        world.send_with(&world.probe("from-outside", &json!({})), "sqjobs.id", "forged\nid").await;
        for surrogate in [r"\ud800", r"\udc00\ud800", r"\ud83dx"] {
            world.send(world.probe("SURROGATE", &json!({})).to_string().replace("SURROGATE", surrogate)).await;
        }
        world.deploy(&probe).await;
        world.drained().await;
        let letters = letters_of(world, refused.len() + 4).await;
        for id in accepted {
            world.record_in(id, "succeeded").await;
            assert_eq!(world.effects.runs_of(id).len(), 1, "{id:?}");
        }
        for id in &refused {
            let reason = reason(&letters, |body| body["id"] == json!(id));
            assert!(reason.starts_with("id: it "), "{id:.40?}: {reason}");
        }
        assert!(reason(&letters, |body| body["id"] == json!("from-outside")).starts_with("id: it has a control character"));
        let is_no_json = |letter: &&Message| letter.attribute("sqjobs.reason").starts_with("body: it is not JSON");
        assert_eq!(letters.iter().filter(is_no_json).map(|letter| &letter.body).collect::<BTreeSet<_>>().len(), 3);
        assert_eq!(world.effects.runs().len(), ODD.len() + 1, "nothing else ran");
        let lines = lines(&world.printed(&probe).await);
        for id in ODD {
            assert!(lines.iter().any(|line| line["message"] == "job ended" && line["id"] == id), "the log names {id:?}");
        }
    });
}

#[test]
fn a_hostile_name_is_refused_by_its_name_or_waits_for_a_day() {
    World::setup().test(async |world| {
        let probe = a_day_later(Function::probe());
        let strangers = ODD.into_iter().chain(["constructor", "Kernel.exec", "probe\u{200b}"]).collect::<Vec<_>>();
        let long = "x".repeat(129);
        let refused = CONTROL.into_iter().chain(["", " probe", "probe ", &long]).collect::<Vec<_>>();
        let mut jobs: Vec<_> = strangers.iter().chain(&refused).map(|name| json!({"name": name, "args": [1]})).collect();
        jobs.push(json!({"class": "\u{1b}[2J", "args": []}));
        jobs.push(world.probe("good", &json!({})));
        world.send_all(&jobs).await;
        world.deploy(&probe).await;
        world.drained().await;
        let letters = letters_of(world, jobs.len() - 1).await;
        for name in strangers {
            let reason = reason(&letters, |body| body["name"] == name);
            assert!(
                reason.starts_with("there is no job named \"")
                    && reason.ends_with("this worker has hasty, hourly, patient, probe, quiet, swift, vault")
            );
        }
        for name in refused {
            let reason = reason(&letters, |body| body["name"] == name);
            assert!(reason.starts_with("name: it "), "{name:?}: {reason}");
        }
        assert!(reason(&letters, |body| body["class"].is_string()).starts_with("class: it has a control character"));
        assert_eq!(world.effects.ids(), ["good"]);
        lines(&world.printed(&probe).await);
    });
}

#[test]
fn hostile_tags_keys_and_errors_are_kept_and_break_no_log_line() {
    World::setup().test(async |world| {
        let probe = Function::probe();
        let texts: Vec<_> = ODD.into_iter().chain(CONTROL).collect();
        let named = |field: &str, place: usize| format!("{field}-{place}");
        let mut jobs = Vec::new();
        for (place, text) in texts.iter().enumerate() {
            let mut tagged = world.probe(&named("tags", place), &json!({*text: text}));
            (tagged["tags"], tagged["meta"], tagged[*text]) = (json!([text]), json!({*text: {*text: text}}), json!(text));
            let mut by_words = world.probe(&named("kwargs", place), &json!({*text: text}));
            by_words["kwargs"] = by_words["args"].take();
            let complaint = world.probe(&named("complaint", place), &json!({"act": {"complain": text}}));
            jobs.extend([tagged, by_words, complaint]);
        }
        let mut refused = world.probe("refused", &json!({}));
        refused["meta"] = json!({"": "\u{1b}[2J"});
        jobs.push(refused);
        jobs.push(json!({"name": "probe", "id": "unbound", "args": {"effects": {"\u{1b}[2J": 1}}}));
        world.send_all(&jobs).await;
        world.deploy(&probe).await;
        world.drained().await;
        for (place, text) in texts.iter().enumerate() {
            for field in ["tags", "kwargs"] {
                let id = named(field, place);
                world.record_in(&id, "succeeded").await;
                assert_eq!(world.effects.runs_of(&id).len(), 1, "{id}");
            }
            let item: Value = serde_dynamo::from_item(world.item(&named("tags", place)).await).expect("JSON");
            assert_eq!(item["tags"], json!([text]));
            assert_eq!(item["meta"], json!({*text: {*text: text}}));
            let failed = world.record_in(&named("complaint", place), "failed").await;
            assert_eq!(failed.error.expect("an error").message, *text, "what a job says is its own");
        }
        let letters = letters_of(world, texts.len() + 2).await;
        assert!(reason(&letters, |body| body["id"] == "refused").starts_with("meta: it has an empty key"));
        assert!(reason(&letters, |body| body["id"] == "unbound").starts_with("args.effects: invalid type"));
        let attributes = letters.iter().flat_map(|letter| letter.attributes.values());
        assert_eq!(attributes.filter(|value| value.contains(char::is_control)).count(), 0);
        let lines = lines(&world.printed(&probe).await);
        for text in texts {
            assert!(lines.iter().any(|line| line["error"] == text), "the log tells {text:?}");
        }
    });
}

/// Returns a job whose lease outlasts reading megabytes on a busy machine.
fn patient(world: &World, id: &str, orders: &Value) -> Value {
    world.job("patient", id, orders)
}

/// Bytes of a message, slightly below the maximum.
const FULL: usize = 1_000_000;

#[test]
fn a_json_bomb_fails_alone_and_the_process_continues() {
    World::setup().test(async |world| {
        let probe = a_day_later(Function::probe());
        let (run, dead) = (harmless_bombs(world), deadly_bombs(world));
        for (place, body) in run.iter().map(|(_, body)| body).chain(dead.iter().map(|(_, body)| body)).enumerate() {
            world.send(body).await;
            world.send(patient(world, &format!("neighbour-{place}"), &json!({}))).await;
        }
        world.deploy(&probe).await;
        world.drained().await;
        for id in run.iter().map(|(id, _)| (*id).to_owned()).chain((0..run.len() + dead.len()).map(|place| format!("neighbour-{place}"))) {
            world.record_in(&id, "succeeded").await;
            assert_eq!(world.effects.runs_of(&id).len(), 1, "{id}");
        }
        let letters = letters_of(world, dead.len()).await;
        for (words, body) in &dead {
            let letter = letters.iter().find(|letter| letter.body == *body).expect("a letter has its message's body");
            assert!(letter.attribute("sqjobs.reason").contains(words), "{words}: {:.200}", letter.attribute("sqjobs.reason"));
        }
        world.send(patient(world, "after", &json!({}))).await;
        world.record_in("after", "succeeded").await;
        let processes: BTreeSet<_> = world.effects.runs().iter().map(|run| run.pid).collect();
        assert_eq!(processes.into_iter().collect::<Vec<_>>(), world.processes(&probe), "each process that ran a job still runs");
        assert_eq!(world.broken_invocations(), [""; 0]);
        lines(&world.printed(&probe).await);
    });
}

/// Returns the ids and bodies of messages that are large and odd but valid.
fn harmless_bombs(world: &World) -> Vec<(&'static str, String)> {
    let with = |id: &'static str, junk: String| {
        let job = patient(world, id, &json!({})).to_string();
        (id, format!(r#"{{"junk":{junk},{}"#, &job[1..]))
    };
    let job = |id: &str| patient(world, id, &json!({})).to_string()[1..].to_owned();
    vec![
        with("many-arrays", format!("[{}[]]", "[],".repeat(FULL / 3))),
        with("long-fraction", format!("0.{}", "3".repeat(FULL))),
        with("vanishing", "[1e-999999, -0.0, 1e308]".into()),
        with("escapes", format!("\"{}\"", r"\n".repeat(FULL / 2))),
        with("code-points", format!("\"{}\"", r"\u202e".repeat(FULL / 6))),
        with("deep-enough", "[".repeat(120) + &"]".repeat(120)),
        ("twice", format!(r#"{{"name":"stranger","id":"once",{}"#, job("twice"))),
        ("many-times", format!("{{{}{}", r#""id":"first","#.repeat(50_000), job("many-times"))),
        ("white", " ".repeat(FULL / 2) + &patient(world, "white", &json!({})).to_string()),
    ]
}

/// Returns bodies that cannot be parsed, and the expected reasons.
fn deadly_bombs(world: &World) -> Vec<(&'static str, String)> {
    let with = |field: &str, value: &str| format!(r#"{{"name":"probe","{field}":{value}}}"#);
    let digits = "9".repeat(FULL);
    let levels = 100_000;
    let python = |body: &str| base64(body.as_bytes());
    let onion = (0..8).fold(patient(world, "onion", &json!({})).to_string(), |body, _| python(&body));
    let exactly_full = with("args", &"8".repeat((1 << 20) - with("args", "").len()));
    vec![
        ("nested deeper than 127 levels", with("args", &("[".repeat(levels) + &"]".repeat(levels)))),
        ("nested deeper than 127 levels", with("id", &(r#"{"a":"#.repeat(levels) + "1" + &"}".repeat(levels)))),
        ("nested deeper than 127 levels", "[".repeat(levels)),
        ("nested deeper than 127 levels", python(&with("args", &"[".repeat(levels)))),
        ("number out of range", with("args", &digits)),
        ("number out of range", with("max_attempts", "1e999999")),
        ("number out of range", with("priority", "-1e999999")),
        ("args.until: invalid type: floating point", with("args", r#"{"effects":"/dev/null","until":1e-999999}"#)),
        ("args[0]: invalid type: sequence", with("args", &format!("[{}1]", "[],".repeat(FULL / 6)))),
        (
            "the table cannot hold the record",
            with("args", &format!(r#"{{"effects":"/dev/null"}},"meta":{{"a":[{}1]}}"#, "[],".repeat(200_000))),
        ),
        ("tags: it has 100001 entries", with("tags", &format!("[{}\"\"]", "\"\",".repeat(100_000)))),
        ("decoded from base64 it is not JSON", onion),
        ("decoded from base64 it is", "A".repeat(FULL / 2)),
        ("", exactly_full),
    ]
}

/// Encodes bytes as standard base64.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len() * 4 / 3 + 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().chain(&[0, 0]).take(3).fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        text.extend((0..=three.len()).map(|digit| char::from(DIGITS[bits >> (18 - 6 * digit) & 63])));
        text.extend(std::iter::repeat_n('=', 3 - three.len()));
    }
    text
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn number(number: &str) -> AttributeValue {
    AttributeValue::N(number.into())
}

fn nothing() -> AttributeValue {
    AttributeValue::Null(true)
}

/// Returns attribute values that make a record unreadable.
fn nonsense() -> Vec<(&'static str, Option<AttributeValue>)> {
    let list = |value| AttributeValue::L(vec![value]);
    vec![
        ("attempts", Some(text("three"))),
        ("attempts", Some(number("-1"))),
        ("attempts", Some(number("0.5"))),
        ("max_attempts", Some(nothing())),
        ("generation", Some(number("1e30"))),
        ("generation", Some(number("0"))),
        ("generation", Some(text("1"))),
        ("runs", Some(number("4294967296"))),
        ("lease_until", Some(list(number("1")))),
        ("lease_until", Some(number("9223372036854775808"))),
        ("lease_until", Some(nothing())),
        ("state", Some(text("dancing"))),
        ("state", Some(nothing())),
        ("state", None),
        ("name", None),
        ("queue", Some(number("7"))),
        ("history", Some(text("long"))),
        ("history", Some(list(text("error")))),
        ("owner", Some(number("7"))),
        ("owner", Some(nothing())),
        ("purge_at", Some(text("tomorrow"))),
        ("error", Some(AttributeValue::M([("message".to_owned(), text("half"))].into()))),
        ("tags", Some(AttributeValue::M([].into()))),
        ("meta", Some(list(nothing()))),
        ("started_at", Some(text("\u{1b}[2Jsoon"))),
        ("cancel_requested", Some(text("no"))),
        ("cancel_requested", Some(AttributeValue::Bool(false))),
        ("dlq", Some(text("lost"))),
        ("dlq", Some(nothing())),
        ("envelope", Some(AttributeValue::Bool(true))),
    ]
}

/// Returns a record whose job a beater has sent.
fn sent(id: &str) -> Value {
    json!({"id": id, "name": "probe", "queue": "probes", "state": "queued", "max_attempts": 3, "generation": 4, "owner": "beater"})
}

#[test]
fn a_record_edited_into_nonsense_stops_only_its_own_job_until_corrected() {
    World::setup().test(async |world| {
        let (probe, nonsense) = (Function::probe(), nonsense());
        let id = |place: usize| format!("edited-{place}");
        world.plant_many((0..nonsense.len()).map(|place| sent(&id(place)))).await;
        let (mut right, mut edited) = (Vec::new(), Vec::new());
        for (place, (name, value)) in nonsense.iter().enumerate() {
            right.push(world.item(&id(place)).await);
            world.edit(&id(place), name, value.clone()).await;
            edited.push(world.item(&id(place)).await);
        }
        let jobs = (0..nonsense.len()).flat_map(|place| [id(place), format!("good-{place}")]);
        world.send_all(&jobs.map(|id| world.probe(&id, &json!({}))).collect::<Vec<_>>()).await;
        world.deploy(&probe).await;
        world.drained().await;
        let letters = letters_of(world, nonsense.len()).await;
        for (place, (name, _)) in nonsense.iter().enumerate() {
            world.record_in(&format!("good-{place}"), "succeeded").await;
            let letter = letters.iter().find(|letter| letter.attribute("sqjobs.id") == id(place)).expect("a letter");
            let reason = letter.attribute("sqjobs.reason");
            assert_eq!(letter.attribute("sqjobs.kind"), "unreadable_record", "{reason}");
            assert!(reason.contains(&format!("{} cannot be read: ", id(place))) && reason.contains(name), "{name}: {reason}");
            assert_eq!(world.item(&id(place)).await, edited[place], "untouched");
        }
        assert!(world.effects.ids().iter().all(|id| id.starts_with("good-")), "no other ran");
        for (place, (name, _)) in nonsense.iter().enumerate() {
            world.edit(&id(place), name, right[place].get(*name).cloned()).await;
        }
        for letter in &letters {
            world.redrive(letter).await;
        }
        for (place, (name, value)) in nonsense.iter().enumerate() {
            let record = world.record_in(&id(place), "succeeded").await;
            assert!(record.generation > 4, "{name}: {value:?}: it goes on from where it was");
            assert_eq!(world.effects.runs_of(&id(place)).len(), 1);
        }
        world.drained().await;
        lines(&world.printed(&probe).await);
    });
}

#[test]
fn a_record_edited_into_valid_content_runs_once_or_waits() {
    World::setup().test(async |world| {
        let probe = Function::probe();
        let list = |value: AttributeValue, times| AttributeValue::L(vec![value; times]);
        let past = AttributeValue::M(
            [
                ("generation", number("1")),
                ("kind", text("error")),
                ("message", text(&"x".repeat(300))),
                ("at", text("2026-01-01T00:00:00Z")),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        );
        let odd = [
            ("generation", number("9223372036854775808")),
            ("generation", number("18446744073709551615")),
            ("lease_until", number("-9223372036854775808")),
            ("max_attempts", number("0")),
            ("history", list(past, 500)),
            ("a stranger", text(&"x".repeat(350_000))),
            ("tags", list(text("\u{1b}[2J"), 5000)),
            ("result", AttributeValue::M([("old".to_owned(), nothing())].into())),
            ("parent_id", nothing()),
        ];
        world.plant_many((0..odd.len()).map(|place| sent(&format!("odd-{place}")))).await;
        for (place, (name, value)) in odd.iter().enumerate() {
            world.edit(&format!("odd-{place}"), name, Some(value.clone())).await;
        }
        let held = |id: &str| json!({"id": id, "state": "running", "attempts": 1, "runs": 1, "lease_until": i64::MAX});
        let held = [sent("held"), held("held")].into_iter().flat_map(|part| part.as_object().expect("an object").clone()).collect();
        world.plant(Value::Object(held)).await;
        let ids = (0..odd.len()).map(|place| format!("odd-{place}")).chain(["held".to_owned()]);
        world.send_all(&ids.map(|id| world.probe(&id, &json!({}))).collect::<Vec<_>>()).await;
        world.deploy(&probe).await;
        for (place, (name, _)) in odd.iter().enumerate() {
            world.record_in(&format!("odd-{place}"), "succeeded").await;
            assert_eq!(world.effects.runs_of(&format!("odd-{place}")).len(), 1, "{name}");
        }
        let left = world.messages_when("holds only the job that is held", |messages| messages.len() == 1).await;
        assert!(left[0].body.contains("held"));
        assert_eq!(world.effects.runs_of("held").len(), 0);
        assert_eq!(world.dead_letters().await.len(), 0);
        world.edit("held", "lease_until", Some(number("1"))).await;
        world.send(world.probe("held", &json!({}))).await;
        assert_eq!(world.record_in("held", "succeeded").await.past(), ["killed"]);
        assert_eq!(world.effects.runs_of("held").len(), 1);
    });
}

#[test]
fn a_beater_reports_unreadable_records_and_sends_the_others() {
    World::setup().test(async |world| {
        let (beater, probe) = (Function::beater(), Function::probe());
        world.deploy_beater(&beater).await;
        let due = |id: &str| {
            let body = world.probe(id, &json!({})).to_string();
            let times = json!({"state": "scheduled", "run_at": now() - 1.second(), "due": "due#3", "envelope": body});
            let both = [sent(id), times].into_iter().flat_map(|part| part.as_object().expect("an object").clone());
            Value::Object(both.collect())
        };
        let good: Vec<_> = (0..5).map(|number| format!("good-{number}")).collect();
        let wrong = ["attempts", "max_attempts", "history", "owner"];
        world.plant_many(good.iter().map(String::as_str).chain(wrong).map(due)).await;
        for name in wrong {
            world.edit(name, name, Some(AttributeValue::Bool(true))).await;
        }
        let (start, mut found) = (now(), json!(0));
        for minute in 0..60 {
            let tick = world.tick(&beater, start + minute.minutes()).await;
            let sent = if minute == 0 { good.len() } else { 0 };
            assert_eq!(tick["sent"], json!(sent), "{tick}");
            assert_eq!(tick["failed"], json!(wrong.len()), "{tick}");
            found = tick["wrong"].clone();
            if found != json!(0) {
                break;
            }
        }
        let lines = lines(&world.printed(&beater).await);
        let told = |message: &str| lines.iter().filter(|line| line["message"] == message).filter_map(|line| line["id"].as_str()).collect();
        let (due, found_by_looking): (BTreeSet<_>, BTreeSet<_>) = (told("cannot read a due job"), told("a record cannot be read"));
        assert_eq!(due, BTreeSet::from(wrong));
        assert_eq!(json!(found_by_looking.len()), found);
        assert!(found_by_looking.iter().all(|id| wrong.contains(id)), "{found_by_looking:?}");

        for (name, value) in wrong.into_iter().zip([number("0"), number("3"), AttributeValue::L(Vec::new()), text("beater")]) {
            world.edit(name, name, Some(value)).await;
        }
        assert_eq!(world.tick(&beater, now()).await["sent"], json!(wrong.len()));
        world.deploy(&probe).await;
        for id in good.iter().map(String::as_str).chain(wrong) {
            world.record_in(id, "succeeded").await;
            assert_eq!(world.effects.runs_of(id).len(), 1, "{id}");
        }
    });
}

const SECRET: &str = "s3cr3t-4d1f0c";

/// Returns messages that cannot run and that contain the secret in every field of a producer.
fn unfit(world: &World) -> Vec<String> {
    let effects = world.effects.file();
    let vault = |args: Value| json!({"name": "vault", "args": args}).to_string();
    let other = |field: &str| json!({"name": "vault", "args": SECRET, field: SECRET}).to_string();
    let broken = format!(r#"{{"name": "vault", "args": "{SECRET}"#);
    let mut unfit = vec![
        vault(json!(SECRET)),
        vault(json!([SECRET])),
        vault(json!({SECRET: SECRET})),
        vault(json!({"secret": SECRET})),
        vault(json!({"orders": {"effects": effects, "act": SECRET}, "secret": SECRET})),
        vault(json!({"orders": {"effects": effects, "act": {SECRET: SECRET}}, "secret": SECRET})),
        vault(json!({"orders": {"effects": effects, "until": SECRET}, "secret": SECRET})),
        vault(json!({"orders": {"effects": effects}, "secret": {SECRET: [SECRET]}})),
        json!({"name": "vault", "kwargs": {"orders": SECRET, "secret": SECRET}}).to_string(),
        json!({"name": "vault", "args": [SECRET], "kwargs": {SECRET: SECRET}}).to_string(),
        json!({"name": "unknown", "args": [SECRET], "meta": {SECRET: SECRET}}).to_string(),
        json!({"class": "vault", "args": [SECRET]}).to_string(),
        json!({"args": [SECRET], "kwargs": {SECRET: SECRET}}).to_string(),
        base64(broken.as_bytes()),
        broken,
        format!("{SECRET}!"),
        json!(SECRET).to_string(),
    ];
    unfit.extend(["v", "run_at", "expires_at", "max_attempts", "timeout_s", "priority", "meta"].map(other));
    unfit.extend(["tags", "needs", "kwargs"].map(other));
    unfit
}

#[test]
fn arguments_and_results_appear_in_no_log_line_and_no_reason() {
    World::setup().test(async |world| {
        let probe = a_day_later(Function::probe());
        let vault = |id: &str, orders: Value| {
            let mut orders = orders;
            orders["effects"] = json!(world.effects.file());
            let (args, meta) = (json!({"orders": orders, "secret": SECRET}), json!({SECRET: SECRET}));
            json!({"name": "vault", "id": id, "args": args, "meta": meta, "tags": [SECRET], "stranger": SECRET})
        };
        let fates = [
            ("succeeds", json!({}), "succeeded"),
            ("recovers", json!({"act": "fail", "until": 2}), "succeeded"),
            ("fails", json!({"act": "fail"}), "failed"),
            ("gives-up", json!({"act": "fatal"}), "failed"),
            ("panics", json!({"act": "panic"}), "failed"),
            ("hangs", json!({"act": "hang"}), "failed"),
            ("says-so", json!({"act": {"complain": "in the job's own words"}}), "failed"),
            ("is-late", json!({}), "expired"),
        ];
        let mut jobs: Vec<_> = fates.iter().map(|(id, orders, _)| vault(id, orders.clone())).collect();
        jobs[7]["expires_at"] = json!(now() - 1.hour());
        for (name, value) in [("state", text(SECRET)), ("meta", text(SECRET)), ("started_at", text(SECRET))] {
            world.plant(sent(name)).await;
            world.edit(name, name, Some(value)).await;
            jobs.push(vault(name, json!({})));
        }
        let unfit = unfit(world);
        // The first request gets no answer; that is logged, and the request is repeated.
        for operation in ["INSERT", "succeeded"] {
            (0..3).for_each(|_| world.proxy.arm(Fault::refuse("BatchExecuteStatement", operation)));
        }
        world.send_all(&jobs).await;
        for body in &unfit {
            world.send(body).await;
        }
        world.deploy(&probe).await;
        for (id, _, state) in &fates {
            world.record_in(id, state).await;
        }
        world.drained().await;
        assert!(world.proxy.is_spent(), "the store never failed");
        assert_eq!(world.record_in("succeeds", "succeeded").await.result, Some(json!(SECRET)), "the record has it");
        let letters = letters_of(world, unfit.len() + 3 + 5).await;
        for letter in &letters {
            assert!(!format!("{:?}", letter.attributes).contains(SECRET), "{letter:?}");
        }
        let printed = world.printed(&probe).await;
        for words in ["job ended", "message not run", "cannot claim", "panicked as told", "longer than its timeout", "the job's own words"]
        {
            assert!(printed.iter().any(|line| line.contains(words)), "the log says {words:?}");
        }
        let telling: Vec<_> = printed.iter().filter(|line| line.contains(SECRET)).collect();
        assert!(telling.is_empty(), "{telling:#?}");
    });
}

/// Waits for this number of dead letters. A late answer of the queue can cause a second copy.
async fn letters_of(world: &World, messages: usize) -> Vec<Message> {
    wait::until(&format!("{messages} messages are dead letters"), PATIENCE, async || {
        let letters = world.dead_letters().await;
        let bodies = letters.iter().map(|letter| &letter.body).collect::<BTreeSet<_>>().len();
        if bodies == messages { Ok(letters) } else { Err(format!("those of {bodies}")) }
    })
    .await
}

/// Returns the reason of the dead letter whose body matches.
fn reason(letters: &[Message], is_asked: impl Fn(&Value) -> bool) -> &str {
    let body = |letter: &Message| serde_json::from_str::<Value>(&letter.body).unwrap_or_default();
    letters.iter().find(|letter| is_asked(&body(letter))).expect("a letter").attribute("sqjobs.reason")
}

/// Returns the events that a function has logged. Each must be a single line without terminal control codes. All other lines
/// must be those of the platform.
fn lines(printed: &[String]) -> Vec<Value> {
    let acts = |char: char| char.is_control() && char != '\t' || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}');
    let is_platform = |line: &&String| ["START ", "END ", "REPORT "].iter().any(|start| line.starts_with(start));
    for line in printed {
        assert!(!line.contains(acts), "a terminal would act on {line:?}");
    }
    let ours = printed.iter().filter(|line| !is_platform(line));
    let event = |line: &String| serde_json::from_str(line).unwrap_or_else(|_| panic!("a line of no event: {line:?}"));
    let events: Vec<Value> = ours.map(event).collect();
    let is_whole = |event: &Value| event["level"].is_string() && event["timestamp"].is_string() && event["target"].is_string();
    assert!(!events.is_empty() && events.iter().all(is_whole), "{events:?}");
    events
}
