//! Message groups keep their order when a job fails.

use serde_json::{Value, json};

use crate::{function::Function, world::World};

#[test]
fn a_failed_head_holds_back_its_own_group_only() {
    World::setup().fifo().test(async |world| {
        let good = |id: &str| -> Value { world.probe(id, &json!({})) };
        let batch = [
            ("a", world.probe("a-1", &json!({"act": "fail", "until": 2}))),
            ("a", good("a-2")),
            ("b", good("b-1")),
            ("a", good("a-3")),
            ("b", good("b-2")),
        ];
        world.send_in_groups(&batch).await;
        world.deploy(&Function::probe()).await;
        world.drained().await;
        let ran = world.effects.ids();
        assert_eq!(of_group(&ran, "a"), ["a-1", "a-1", "a-2", "a-3"]);
        assert_eq!(of_group(&ran, "b"), ["b-1", "b-2"]);
        assert!(ran.iter().rposition(|id| id == "a-1") > ran.iter().position(|id| id == "b-2"), "b waited for a: {ran:?}");
    });
}

#[test]
fn a_job_held_back_by_its_group_pays_nothing() {
    World::setup().fifo().test(async |world| {
        let head = world.probe("head", &json!({"act": "fail", "until": 3}));
        world.send_in_groups(&[("g", head), ("g", world.probe("next", &json!({})))]).await;
        world.deploy(&Function::probe()).await;
        let record = world.record_in("next", "succeeded").await;
        assert_eq!(record.attempts, 1);
        assert_eq!(record.generation, 1);
        assert_eq!(world.effects.ids(), ["head", "head", "head", "next"]);
    });
}

fn of_group<'a>(ran: &'a [String], group: &str) -> Vec<&'a str> {
    ran.iter().map(String::as_str).filter(|id| id.starts_with(group)).collect()
}
