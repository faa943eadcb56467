//! The page of the guide about logs agrees with the code and with real logs.

use std::{collections::BTreeSet, fs, path::Path};

use jiff::SignedDuration;
use serde_json::{Value, json};
use sqjobs::Clock;

use crate::{
    function::Function,
    infra::sources,
    wait,
    world::{PATIENCE, World},
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn guide() -> String {
    fs::read_to_string(Path::new(ROOT).join("docs/logs.md")).expect("there is a guide")
}

/// Returns the fields in the guide's table of log fields.
fn documented() -> BTreeSet<String> {
    let guide = guide();
    let rows = guide.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// Returns the fields that the code adds to log lines.
fn logged() -> BTreeSet<String> {
    let code = sources(&Path::new(ROOT).join("shared/src"));
    let code: Vec<_> = code.iter().filter(|code| !code.contains("macro_rules! log_ending")).collect();
    let calls = ["tracing::error!(", "tracing::warn!(", "tracing::info!(", "log_ending!("];
    let mut fields = BTreeSet::new();
    for call in code.iter().flat_map(|code| calls.iter().flat_map(|call| code.split(call).skip(1))) {
        let (given, _) = call.split_once('"').expect("a line says what happened");
        for part in given.split(',') {
            let part = part.trim().trim_start_matches('%');
            let name = part.split_once('=').map_or(part, |(name, _)| name).trim();
            if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                fields.insert(name.to_owned());
            }
        }
    }
    fields
}

#[test]
fn the_guide_names_every_field_of_the_log() {
    let of_all = ["timestamp", "level", "target", "message", "spans", "trace_id", "span_id"].map(str::to_owned);
    let logged: BTreeSet<_> = logged().into_iter().chain(of_all).collect();
    assert!(logged.len() > 20, "{logged:?}");
    assert_eq!(documented(), logged);
}

#[test]
fn every_line_of_a_real_log_has_the_fields_that_the_guide_names() {
    World::setup().visibility_s(10).test(async |world| {
        let (probe, beater) = (Function::probe(), Function::beater());
        world.deploy(&probe).await;
        world.deploy_beater(&beater).await;
        world.send(world.probe("done", &json!({}))).await;
        world.record_in("done", "succeeded").await;
        world.send(world.probe("done", &json!({}))).await;
        world.send(world.probe("fatal", &json!({"act": "fatal"}))).await;
        world.send(world.probe("retried", &json!({"act": "fail", "until": 2}))).await;
        world.send("garbage").await;
        world.send(json!({"name": "stranger", "id": "unknown"})).await;
        world.record_in("retried", "succeeded").await;
        world.record_in("fatal", "failed").await;
        let row = json!({"id": "wrong", "cron": "no cron", "job": "probe", "queue": "probes"});
        world.schedule(row).await;
        world.tick(&beater, Clock::system().now() - SignedDuration::from_secs(1)).await;

        let fields = async |function: &Function| {
            let mut fields = BTreeSet::new();
            for line in world.printed(function).await {
                let Ok(Value::Object(line)) = serde_json::from_str(&line) else { continue };
                fields.extend(line.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name));
            }
            fields
        };
        let expected = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let of_jobs = expected(&[
            "timestamp",
            "level",
            "target",
            "message",
            "id",
            "job",
            "outcome",
            "attempt",
            "generation",
            "kind",
            "error",
            "run_ms",
            "waited_ms",
            "request_id",
            "reason",
            "message_id",
        ]);
        let of_ticks = expected(&["tick", "fired", "sent", "repaired", "explained", "overdue", "wrong", "failed", "schedule", "error"]);
        for (function, expected) in [(&probe, &of_jobs), (&beater, &of_ticks)] {
            wait::until("each field is logged", PATIENCE, async || {
                let missing: Vec<_> = expected.difference(&fields(function).await).cloned().collect();
                if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
            })
            .await;
            let unknown: Vec<_> = fields(function).await.difference(&documented()).cloned().collect();
            assert_eq!(unknown, [""; 0]);
        }
    });
}
