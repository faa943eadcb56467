//! Schedules fire exactly once, even if beaters die or run in parallel.

use futures_util::future::{join, join_all};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::{
    due::{each_runs_once, now},
    function::Function,
    proxy::{Fault, Hold},
    world::World,
};

/// Returns a schedule row that creates a job each minute.
pub(crate) fn minutely(world: &World, id: &str) -> Value {
    let job = world.probe(id, &json!({}));
    json!({"id": id, "cron": "* * * * *", "timezone": "Europe/Madrid", "job": "probe", "queue": "probes", "args": job["args"]})
}

/// Returns a recent past minute. Its fires are due at once, so that the test need not wait.
fn minutes() -> Timestamp {
    let start = now() - 3.hours();
    Timestamp::from_second(start.as_second() / 60 * 60).expect("a minute")
}

/// Returns the ids of the jobs for `count` minutes from `start`.
fn jobs(id: &str, start: Timestamp, count: i64) -> Vec<String> {
    (0..count).map(|minute| format!("schedule:{id}:{}", start + minute.minutes())).collect()
}

#[test]
fn parallel_beaters_with_doubled_and_late_ticks_fire_each_minute_once() {
    World::setup().test(async |world| {
        let (beater, start) = (Function::beater(), minutes());
        world.deploy_beater(&beater).await;
        world.schedule(minutely(world, "minutely")).await;
        for minute in [0, 1, 1, 3, 2, 4] {
            join_all((0..3).map(|_| world.tick(&beater, start + minute.minutes()))).await;
        }
        // The last tick looks two minutes ahead.
        let ids = jobs("minutely", start, 7);
        each_runs_once(world, &ids).await;
        assert_eq!(world.effects.runs().len(), ids.len(), "and nothing else");
        let row = world.scheduled("minutely").await.expect("a row");
        assert_eq!(row["next_fire"], json!(format!("{:.3}", start + 7.minutes())));
    });
}

#[test]
fn a_beater_that_dies_between_any_two_of_its_steps_fires_each_minute_once() {
    World::setup().test(async |world| {
        let (beater, start) = (Function::beater().mortal(), minutes());
        world.deploy_beater(&beater).await;
        let mut row = minutely(world, "minutely");
        row["catch_up"] = json!("all"); // the first kills happen before anything fires
        world.schedule(row).await;
        world.tick(&beater, start).await;
        let mut minute = 0;
        let mut steps = 0;
        loop {
            minute += 1;
            world.proxy.cut_after(steps);
            world.tick(&beater, start + minute.minutes()).await;
            if !world.proxy.mend() {
                break;
            }
            steps += 1;
        }
        assert!(steps > 32, "each shard of two tables is a step: {steps}");
        minute += 1;
        world.tick(&beater, start + minute.minutes()).await;
        each_runs_once(world, &jobs("minutely", start, minute + 3)).await;
        assert_eq!(world.effects.runs().len(), usize::try_from(minute + 3).expect("few"), "and nothing else");
    });
}

#[test]
fn each_schedule_catches_up_with_an_hour_without_a_beater() {
    World::setup().test(async |world| {
        let (beater, start) = (Function::beater(), minutes());
        world.deploy_beater(&beater).await;
        for (id, rule) in [("one", json!({})), ("skip", json!({"catch_up": "skip", "grace_s": 600})), ("all", json!({"catch_up": "all"}))] {
            let mut row = minutely(world, id);
            row.as_object_mut().expect("an object").extend(rule.as_object().expect("an object").clone());
            world.schedule(row).await;
        }
        world.tick(&beater, start).await;
        let back = start + 1.hour();
        world.tick(&beater, back).await;
        let before = |id: &str| jobs(id, start, 3);
        let after = |id: &str, made_up_for: i64| jobs(id, back - (made_up_for - 1).minutes(), made_up_for + 2);
        let expected = [("one", 1), ("skip", 10), ("all", 58)];
        let ids: Vec<_> = expected.into_iter().flat_map(|(id, missed)| [before(id), after(id, missed)].concat()).collect();
        each_runs_once(world, &ids).await;
        assert_eq!(world.effects.runs().len(), ids.len(), "and nothing else");
    });
}

#[test]
fn a_row_that_is_wrong_is_counted_and_stops_no_other() {
    World::setup().test(async |world| {
        let (beater, start) = (Function::beater(), minutes());
        world.deploy_beater(&beater).await;
        world.schedule(minutely(world, "good")).await;
        let wrong = [
            json!({"cron": 5}),
            json!({"timezone": "Europe/Madird"}),
            json!({"cron": "61 * * * *"}),
            json!({"args": [1], "job": 7}),
            json!({"tags": "one"}),
            json!({"catch_up": "two"}),
            json!({"queue": "nowhere"}),
        ];
        for (number, change) in wrong.iter().enumerate() {
            let mut row = minutely(world, &format!("wrong-{number}"));
            row.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
            world.schedule(row).await;
        }
        let tick = world.tick(&beater, start).await;
        assert_eq!(tick["fired"], json!(3), "{tick}");
        assert_eq!(tick["wrong"], json!(wrong.len()), "{tick}");
        assert_eq!(tick["failed"], json!(0), "{tick}");
        each_runs_once(world, &jobs("good", start, 3)).await;
    });
}

#[test]
fn a_row_that_is_changed_by_hand_takes_effect_at_the_next_tick() {
    World::setup().test(async |world| {
        let (beater, start) = (Function::beater(), minutes());
        world.deploy_beater(&beater).await;
        world.schedule(minutely(world, "changing")).await;
        world.tick(&beater, start).await;
        let mut row = world.scheduled("changing").await.expect("a row");
        row["cron"] = json!("30 * * * * *");
        world.schedule(row).await;
        world.tick(&beater, start + 10.seconds()).await;
        let half = start + 30.seconds();
        let ids = [jobs("changing", start, 1), jobs("changing", half, 2)].concat();
        each_runs_once(world, &ids).await;
        assert_eq!(world.effects.runs().len(), ids.len(), "what was sent ahead does not run");
        let mut row = world.scheduled("changing").await.expect("a row");
        row["cron"] = json!("0,30 * * * * *");
        world.schedule(row).await;
        assert_eq!(world.tick(&beater, start).await["fired"], json!(2), "what was taken back is due again");
        let ids = [jobs("changing", start, 3), jobs("changing", half, 2)].concat();
        for id in &ids {
            world.record_in(id, "succeeded").await;
        }
        world.drained().await;
        assert_eq!(world.effects.runs().len(), ids.len(), "what has run does not run again");
    });
}

#[test]
fn a_row_that_is_changed_while_a_beater_fires_it_stays_as_it_was_changed() {
    World::setup().test(async |world| {
        let (beater, start, hold) = (Function::beater(), minutes(), Hold::default());
        world.deploy_beater(&beater).await;
        world.schedule(minutely(world, "changing")).await;
        world.tick(&beater, start).await;
        world.proxy.arm(Fault::hold("TransactWriteItems", &hold));
        let change = async {
            hold.arrived().await;
            let mut row = world.scheduled("changing").await.expect("a row");
            row["paused"] = json!(true);
            world.schedule(row).await;
            hold.release();
        };
        let (tick, ()) = join(world.tick(&beater, start + 1.minute()), change).await;
        assert_eq!(tick["fired"], json!(0), "{tick}");
        assert_eq!(tick["failed"], json!(0), "{tick}");
        assert_eq!(world.scheduled("changing").await.expect("a row")["paused"], json!(true));
        assert!(world.proxy.is_spent());
    });
}
