//! Large ticks must end within a minute; otherwise Lambda would stop the beater without a response.

use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use serde_json::json;

use crate::{due::now, function::Function, world::World};

const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn a_tick_with_ten_thousand_schedules_fires_the_two_hundred_that_are_due() {
    World::setup().test(async |world| {
        let beater = Function::beater().timeout(MINUTE);
        world.deploy_beater(&beater).await;
        let hour = Timestamp::from_second(now().as_second() / 3600 * 3600).expect("an hour");
        let rows: Vec<_> = (0..10_000)
            .map(|number| {
                let next_fire = if number < 200 { "0".to_owned() } else { format!("{:.3}", hour + 1.hour()) };
                json!({
                    "id": format!("hourly-{number}"), "cron": "0 * * * *", "timezone": "Europe/Madrid", "job": "probe", "queue": "probes",
                    "due": format!("due#{}", number % 16), "next_fire": next_fire,
                })
            })
            .collect();
        world.schedule_many(&rows).await;
        let tick = world.tick(&beater, hour).await;
        assert_eq!(tick["fired"], json!(200), "{tick}");
        assert_eq!(tick["failed"], json!(0), "{tick}");
        world.messages_when("holds each job once", |them| them.len() == 200).await;
        assert_eq!(world.proxy.passed("SendMessageBatch").len(), 20);
    });
}

#[test]
fn a_tick_with_five_thousand_due_jobs_sends_them_ten_a_request() {
    World::setup().test(async |world| {
        let beater = Function::beater().timeout(MINUTE);
        world.deploy_beater(&beater).await;
        let due = now() - 1.second();
        world
            .plant_many((0..5_000).map(|number| {
                let id = format!("due-{number}");
                let body = json!({"name": "probe", "id": id}).to_string();
                json!({
                    "id": id, "name": "probe", "queue": "probes", "state": "scheduled", "max_attempts": 5, "owner": "filer",
                    "run_at": due, "due": format!("due#{}", number % 16), "envelope": body,
                })
            }))
            .await;
        let tick = world.tick(&beater, now()).await;
        assert_eq!(tick["sent"], json!(5_000), "{tick}");
        assert_eq!(tick["failed"], json!(0), "{tick}");
        // The last request of each shard is not full.
        assert!(world.proxy.passed("SendMessageBatch").len() <= 500 + 4 * 16);
    });
}
