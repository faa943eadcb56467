//! How long a failed job waits.

use jiff::ToSpan;
use serde_json::json;

use crate::{function::Function, world::World};

#[test]
fn a_retry_waits_out_of_sight_until_it_is_due() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        world.send(world.job("patient", "later", &json!({"act": "fail"}))).await;
        let record = world.record_in("later", "retrying").await;
        let (due, failed) = (record.run_at.expect("a retry has its time"), record.history[0].at);
        assert!(due >= failed + 100.seconds(), "half of the backoff at least: {failed}, {due}");
        assert!(due <= failed + 200.seconds(), "the whole of the backoff at most: {failed}, {due}");
        // Visibility is counted in whole seconds.
        let waits = |visible_at: i64| (visible_at - due.as_second()).abs() <= 3;
        world.messages_when("holds the job until it is due", |them| them.iter().all(|it| waits(it.visible_at))).await;
        assert_eq!(world.effects.runs_of("later").len(), 1);
    });
}
