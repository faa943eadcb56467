//! The command `stats`.

use serde_json::json;

use super::sqjobs;
use crate::{function::Function, world::World};

#[test]
fn statistics_count_what_deployed_functions_did_whichever_process_did_it() {
    World::setup().test(async |world| {
        for process in ["one", "two"] {
            world.deploy(&Function::probe()).await;
            for number in 0..5 {
                world.send(world.probe(&format!("{process}-{number}"), &json!({}))).await;
            }
            world.send(world.probe(&format!("{process}-fatal"), &json!({"act": "fatal"}))).await;
            world.drained().await;
            world.retire().await;
        }
        let stats = &sqjobs(world, &["stats", "probes", "--json"]).json()[0];
        assert_eq!(stats["queue"], "probes", "{stats}");
        assert_eq!(stats["waiting"], 0, "{stats}");
        assert_eq!(stats["dead"], 2, "{stats}");
        let days = stats["days"].as_array().expect("days");
        let sum = |path: &str| days.iter().filter_map(|day| day.pointer(path)?.as_u64()).sum::<u64>();
        let counts = ["/endings/succeeded", "/endings/failed", "/kinds/fatal", "/run/count", "/wait/count"].map(sum);
        assert_eq!(counts, [10, 2, 2, 12, 12], "{stats}");
        let buckets = days.iter().flat_map(|day| day["run"]["buckets"].as_array().expect("buckets"));
        assert_eq!(buckets.map(|bucket| bucket["count"].as_u64().expect("a count")).sum::<u64>(), 12);
        assert!(stats["last_started_at"].is_string() && stats["last_waited_ms"].is_u64(), "{stats}");

        let shown = sqjobs(world, &["stats", "probes"]).yes();
        assert!(shown.starts_with("probes  0 waiting, 0 in flight, 0 delayed, 2 dead; the last job started "), "{shown}");
        assert!(shown.contains("most frequent errors  2 fatal") && shown.contains("\n  ran\n") && shown.contains('█'), "{shown}");
        assert!(sqjobs(world, &["stats", "nowhere"]).error().contains("there is no queue nowhere"));
    });
}

#[test]
fn where_statistics_are_switched_off_nothing_is_counted() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe().env("SQJOBS_STATS", "off")).await;
        world.send(world.probe("a", &json!({}))).await;
        world.record_in("a", "succeeded").await;
        world.drained().await;
        assert!(world.proxy.passed("").iter().all(|request| !request.body.contains("stats#")), "no statement counts");
        assert_eq!(sqjobs(world, &["stats", "probes", "--json"]).json()[0]["days"], json!([]));
        assert!(sqjobs(world, &["stats"]).yes().contains("no statistics"));
    });
}
