//! Any language can enqueue with one message and read a result with one item.

use std::process::Command;

use crate::{function::Function, world::World};

const PRODUCER: &str = include_str!("producer.py");

#[test]
fn python_enqueues_in_the_native_and_the_old_form_and_reads_the_results() {
    World::setup().test(async |world| {
        world.deploy(&Function::adder()).await;
        python(world, &["enqueue"]);
        world.record_in("from-python", "succeeded").await;
        world.record_in("from-old-python", "succeeded").await;
        assert_eq!(python(world, &["read"]), "succeeded 42 1\nsucceeded 6 1\n");
        world.drained().await;
    });
}

/// Runs a part of the producer and returns its output.
pub(crate) fn python(world: &World, part: &[&str]) -> String {
    let mut python = Command::new(world.python());
    let output = python.args(["-c", PRODUCER]).args(part).envs(world.variables()).output().expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("Python prints UTF-8")
}
