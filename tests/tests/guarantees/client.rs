//! What a job enqueues, and what is known of a job before it runs.

use serde_json::json;

use crate::{function::Function, world::World};

#[test]
fn what_a_deployed_job_enqueues_is_its_child_and_each_runs_once() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        world.send(world.probe("parent", &json!({"act": {"enqueue": "child"}}))).await;
        world.record_in("child", "succeeded").await;
        let child = world.item("child").await;
        let text = |name: &str| child[name].as_s().expect("text").clone();
        assert_eq!(text("parent_id"), "parent");
        assert_eq!(text("root_id"), "parent");
        world.drained().await;
        assert_eq!(world.effects.runs_of("parent").len(), 1);
        assert_eq!(world.effects.runs_of("child").len(), 1);
    });
}

#[test]
fn two_jobs_that_enqueue_the_same_id_have_one_child_which_runs_once() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let orders = json!({"act": {"enqueue": "child"}});
        world.send_together(&[world.probe("parent", &orders), world.probe("another parent", &orders)]).await;
        for id in ["parent", "another parent", "child"] {
            world.record_in(id, "succeeded").await;
        }
        world.drained().await;
        assert_eq!(world.effects.runs_of("child").len(), 1);
    });
}
