//! Tags that are added and removed later.

use super::*;

async fn tag(client: &Client, id: &str, add: &[&str], remove: &[&str]) -> Vec<String> {
    client.tag(id, add, remove).await.expect("an answer").expect("a record")
}

async fn refusal(client: &Client, add: &[&str], remove: &[&str]) -> String {
    client.tag("a", add, remove).await.expect_err("refused").to_string()
}

#[tokio::test]
async fn a_tag_that_is_added_later_is_found_like_one_of_the_enqueue() {
    let (eager, worker) = family();
    let client = eager.client();
    enqueue(&client, parent("").id("a").tag("old").listed()).await;
    enqueue(&client, parent("").id("b").tag("plain")).await;
    assert_eq!(client.tag("b", &["new"], &[]).await.expect("an answer"), None, "it has no record yet");
    assert_eq!(client.get("b").await.expect("an answer"), None, "no record appears");
    eager.run(&worker).await;
    assert_eq!(tag(&client, "a", &["new", "new"], &["old", "unknown"]).await, ["new"]);
    assert_eq!(tag(&client, "b", &["new"], &[]).await, ["plain", "new"]);
    let found = ids(&client, By::Tag("new"), 10).await;
    assert_eq!(found, ["b", "a"], "the latest enqueue first");
    assert_eq!(ids(&client, By::Tag("old"), 10).await, [""; 0]);
    assert_eq!(ids(&client, By::Tag("plain"), 10).await, [""; 0], "it was not listed");
    assert_eq!(tag(&client, "a", &["old"], &["new"]).await, ["old"]);
    assert_eq!(ids(&client, By::Tag("old"), 10).await, ["a"]);
    assert_eq!(ids(&client, By::Tag("new"), 1).await, ["b"]);
    assert_eq!(tag(&client, "a", &[], &["old"]).await, [""; 0]);
}

#[tokio::test]
async fn jobs_that_lost_a_tag_do_not_hide_others_from_a_short_list() {
    let (eager, _) = family();
    let client = eager.client();
    for number in 0..9 {
        enqueue(&client, parent("").id(format!("job-{number}")).tag("t").listed()).await;
        eager.advance(Duration::from_secs(1));
    }
    for number in 2..9 {
        tag(&client, &format!("job-{number}"), &[], &["t"]).await;
    }
    assert_eq!(ids(&client, By::Tag("t"), 1).await, ["job-1"]);
    assert_eq!(ids(&client, By::Tag("t"), 2).await, ["job-1", "job-0"]);
    assert_eq!(ids(&client, By::Tag("t"), 5).await, ["job-1", "job-0"]);
}

#[tokio::test]
async fn a_retry_keeps_tags_that_were_added_later_or_replaces_them() {
    let (eager, worker) = family();
    let client = eager.client();
    let job = || parent("").id("a");
    enqueue(&client, job()).await;
    eager.run(&worker).await;
    tag(&client, "a", &["kept"], &[]).await;
    assert!(client.retry(job()).await.expect("an answer"));
    eager.run(&worker).await;
    assert_eq!(eager.record("a").expect("a record").tags, ["kept"]);
    assert_eq!(ids(&client, By::Tag("kept"), 10).await, ["a"]);
    assert!(client.retry(job().tag("given")).await.expect("an answer"));
    eager.run(&worker).await;
    assert_eq!(eager.record("a").expect("a record").tags, ["given"]);
    assert_eq!(ids(&client, By::Tag("kept"), 10).await, [""; 0]);
}

#[tokio::test]
async fn a_wrong_tag_is_refused_with_its_flaw() {
    let (eager, _) = family();
    let client = eager.client();
    let full = (0..32).fold(parent("").id("a"), |job, number| job.tag(format!("t{number}")));
    enqueue(&client, full.recorded()).await;
    assert!(refusal(&client, &["a", ""], &[]).await.ends_with("a tag is empty; name one"));
    assert!(refusal(&client, &[], &[""]).await.ends_with("a tag is empty; name one"));
    assert!(refusal(&client, &["a"], &["a"]).await.contains("tag \"a\" is both added and removed"));
    let remedy = "it must be an array of at most 32 strings of at most 128 bytes";
    let many = refusal(&client, &["a"], &[]).await;
    assert_eq!(many, format!("cannot tag job \"a\": tags: it has 33 entries; {remedy}"));
    let long = refusal(&client, &[&"x".repeat(129)], &["t0"]).await;
    assert_eq!(long, format!("cannot tag job \"a\": tags[31]: it has 129 bytes; {remedy}"));
    assert_eq!(tag(&client, "a", &["a"], &["t0"]).await.len(), 32);
}

/// Adds a tag to its own job while it runs, waits until its lease was renewed, and fails once.
#[derive(Serialize, Deserialize)]
struct Tagged;

impl Arguments for Tagged {
    const NAME: &'static str = "tagged";
}

impl Job<Client> for Tagged {
    const POLICY: Policy = Policy::new();
    type Output = Vec<String>;

    async fn run(&self, ctx: &Context<Client>) -> Result<Vec<String>, JobError> {
        let own = ctx.tags().to_vec();
        if ctx.attempt() == 1 {
            ctx.state().tag(ctx.id(), &["seen"], &["first"]).await?;
            ctx.checkpoint(&1).await?;
            return Err("again".into());
        }
        Ok(own)
    }
}

#[tokio::test]
async fn a_tag_of_a_running_job_costs_no_write_and_is_in_its_next_attempt() {
    let eager = Eager::new();
    let worker = Worker::new(eager.client()).job::<Tagged>();
    enqueue(&eager.client(), Enqueue::new(&Tagged).expect("a job").id("a").tag("first")).await;
    eager.run(&worker).await;
    let record = eager.record("a").expect("a record");
    assert_eq!(record.state, State::Succeeded);
    assert_eq!(record.attempts, 2);
    assert_eq!(record.tags, ["seen"]);
    assert_eq!(record.output::<Vec<String>>().expect("tags"), Some(vec!["seen".to_owned()]));
}
