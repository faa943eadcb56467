//! FIFO queues: message groups.

use super::*;

const GROUPS: [(&str, &str); 5] = [("a1", "a"), ("b1", "b"), ("a2", "a"), ("a3", "a"), ("b2", "b")];

fn five() -> Vec<Message> {
    GROUPS.map(|(id, group)| grouped(id, group)).into()
}

fn world(end: fn(&str) -> Result<Value, JobError>) -> (TestWorker, Journal) {
    let journal = Journal::default();
    let runs = journal.clone();
    let world = TestWorker::with(Policy::new(), move |attempt: Arc<Attempt>| {
        let runs = runs.clone();
        async move {
            runs.note(attempt.id());
            sleep(seconds(1)).await;
            runs.note(format!("{} ends", attempt.id()));
            end(attempt.id())
        }
    });
    (world, journal)
}

#[tokio::test(start_paused = true)]
async fn a_group_runs_in_order_and_groups_run_side_by_side() {
    let (world, journal) = world(|_| Ok(Value::Null));
    let started = Instant::now();
    assert!(world.handle(five()).await.failures.is_empty());
    assert_eq!(journal.all(), ["a1", "b1", "a1 ends", "b1 ends", "a2", "b2", "a2 ends", "b2 ends", "a3", "a3 ends"]);
    assert_eq!(started.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_failing_head_holds_only_its_group_which_is_released_before_it() {
    let (world, journal) = world(|id| if id == "a1" { Err("no".into()) } else { Ok(Value::Null) });
    assert_eq!(world.handle(five()).await.failures, returned(&["a1", "a2", "a3"]));
    assert_eq!(journal.all(), ["a1", "b1", "a1 ends", "b1 ends", "b2", "b2 ends"]);
    let calls = world.queue.calls();
    assert_eq!(calls[0], Call::Visibility(vec![(receipt_of("a2"), 0), (receipt_of("a3"), 0)]));
    assert!(matches!(&calls[1..], [Call::Visibility(head)] if head[0].0 == receipt_of("a1") && head[0].1 > 0), "{calls:?}");
    assert!(world.store.get("a2").is_none(), "untouched");
}

#[tokio::test(start_paused = true)]
async fn a_dead_lettered_head_releases_its_group() {
    let (world, journal) = world(|id| if id == "a1" { Err(JobError::fatal("no")) } else { Ok(Value::Null) });
    assert!(world.handle(five()).await.failures.is_empty());
    assert_eq!(journal.all().len(), 10);
    assert_eq!(world.state("a1"), State::Failed);
    assert_eq!(world.state("a3"), State::Succeeded);
    assert_eq!(world.queue.messages(DLQ).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_another_worker_holds_holds_its_group() {
    let (world, journal) = world(|_| Ok(Value::Null));
    world.store.put(Record { queue: "probe.fifo".into(), ..held(&world, "a1", seconds(20)) });
    assert_eq!(world.handle(five()).await.failures, returned(&["a1", "a2", "a3"]));
    assert_eq!(journal.all(), ["b1", "b1 ends", "b2", "b2 ends"]);
}

#[tokio::test(start_paused = true)]
async fn an_already_ended_head_releases_its_group() {
    let (world, journal) = world(|_| Ok(Value::Null));
    world.store.put(Record { queue: "probe.fifo".into(), ..ended(&world, "a1", State::Succeeded) });
    assert!(world.handle(five()).await.failures.is_empty());
    assert_eq!(journal.all().len(), 8);
}

#[tokio::test(start_paused = true)]
async fn behind_a_head_that_was_killed_the_group_stays_in_order() {
    let (world, journal) = world(|_| Ok(Value::Null));
    world.store.put(Record { queue: "probe.fifo".into(), ..held(&world, "a1", seconds(0)) });
    world.clock.advance(seconds(6));
    assert!(world.handle(five()).await.failures.is_empty());
    assert_eq!(journal.all(), ["b1", "b1 ends", "b2", "b2 ends", "a1", "a1 ends", "a2", "a2 ends", "a3", "a3 ends"]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_on_a_fifo_queue_has_its_own_group() {
    let (world, _) = world(|_| Err(JobError::fatal("no")));
    let engine = super::Engine { dlq: "dead.fifo".into(), ..world.engine() };
    let odd = "an id with spaces, and ü";
    engine.handle(vec![grouped("a", "group"), Message { group: None, queue: QUEUE.into(), ..message(odd) }], &world.invocation()).await;
    let copies = world.queue.messages("dead.fifo");
    let groups: Vec<_> = copies.iter().map(|copy| copy.group.clone().expect("a group")).collect();
    assert!(groups[0] != groups[1] && !groups.contains(&"group".into()), "{groups:?}");
    assert!(groups.concat().bytes().all(|byte| byte.is_ascii_graphic()), "{groups:?}");
    assert_eq!(world.state("a"), State::Failed);
    assert_eq!(world.state(odd), State::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_lost_its_lease_holds_its_group() {
    let (world, journal) = world(|_| Ok(Value::Null));
    let taken = |store: &FaultyStore| store.change("a1", |record| record.owner = Some("another".into()));
    world.store.on_write(|write| write.next.id == "a1" && is_finish(write), 0..1, StoreFault::Meanwhile(Arc::new(taken)));
    assert_eq!(world.handle(five()).await.failures, returned(&["a1", "a2", "a3"]));
    assert_eq!(journal.all(), ["a1", "b1", "a1 ends", "b1 ends", "b2", "b2 ends"]);
}
