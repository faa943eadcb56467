//! The functions of this repository, as they are deployed.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use hyper::{Method, Request, body::Bytes};
use serde_json::{Value, json};

use crate::{
    cli::sqjobs,
    function::Function,
    http::{self, Server},
    world::World,
};

/// Base64 of 24 bytes, in the format of the Standard Webhooks specification.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The message of the workflow that makes a report.
const REPORT: &str = include_str!("../../../functions/report/report.json");

#[test]
fn a_webhook_is_delivered_again_under_the_same_id_until_it_is_accepted() {
    World::setup().test(async |world| {
        let deliveries = Arc::new(Mutex::new(Vec::new()));
        let receiver = receiver(Arc::clone(&deliveries)).await;
        let function = Function::webhook().env("WEBHOOK_SECRET", SECRET).env("WEBHOOK_ALLOW_PRIVATE", "1");
        world.deploy(&function).await;
        let args = json!({"url": receiver.url(), "payload": {"order": 42}});
        world.send(json!({"name": "webhook", "id": "order-42-paid", "args": args})).await;
        assert_eq!(world.record_in("order-42-paid", "succeeded").await.attempts, 2);
        world.drained().await;
        let deliveries = deliveries.lock().expect("nobody panics with the lock");
        assert_eq!(deliveries.len(), 2);
        deliveries.iter().for_each(assert_is_the_order);
    });
}

/// Starts a receiver that refuses the first delivery and accepts later ones.
async fn receiver(deliveries: Arc<Mutex<Vec<Request<Bytes>>>>) -> Server {
    Server::start(move |request| {
        let mut deliveries = deliveries.lock().expect("nobody panics with the lock");
        deliveries.push(request);
        let status = if deliveries.len() == 1 { 503 } else { 200 };
        async move { Ok(http::json(status, &json!({}))) }
    })
    .await
}

fn assert_is_the_order(delivery: &Request<Bytes>) {
    let header = |name: &str| delivery.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!(header("webhook-id"), "order-42-paid");
    assert!(header("webhook-signature").starts_with("v1,"), "{delivery:?}");
    assert!(header("webhook-timestamp").parse::<u64>().is_ok(), "{delivery:?}");
    assert_eq!(serde_json::from_slice::<Value>(delivery.body()).ok(), Some(json!({"order": 42})));
}

#[test]
fn a_report_that_fails_goes_on_where_it_broke_and_fetches_nothing_twice() {
    World::setup().test(async |world| {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let server = folders(Arc::clone(&requests)).await;
        // The requests since the last call, sorted, because files are fetched at the same time.
        let seen = || {
            let mut seen = requests.lock().expect("nobody panics with the lock").split_off(0);
            seen.sort();
            seen
        };
        let url = |folder: &str| format!("{}/{folder}", server.url());
        world.deploy_with_queues(Function::of_report("fetch").env("REPORT_SOURCE_URL", url("sales"))).await;
        world.deploy_with_queues(Function::of_report("summarize")).await;
        world.deploy_with_queues(Function::of_report("publish").env("REPORT_TARGET_URL", url("reports"))).await;
        let closing = world.deploy_with_queues(Function::of_report("notify").env("REPORT_NOTIFY_URL", url("texts"))).await;
        let send = async |message: &str| {
            world.account.sqs.send_message().queue_url(&closing.url).message_body(message).send().await.expect("it is sent");
        };

        send(REPORT).await;
        for (job, state) in [("/alert", "succeeded"), ("/fetch-1", "succeeded"), ("", "cancelled")] {
            world.record_in(&format!("report-2026-11{job}"), state).await;
        }
        let alert = "The report of 2026-11 failed.\nreport-2026-11/fetch-2 is failed: 127.0.0.1 answered 404 Not Found for \"porto.json\"";
        let fetched = ["madrid", "porto"].map(|file| format!("GET /sales/{file}.json "));
        assert_eq!(seen(), [&fetched[..], &[format!("POST /texts {}", json!({"text": alert}))]].concat());

        let retried = sqjobs(world, &["retry", "--tree", "report-2026-11", "--json"]).json();
        let expected = ["report-2026-11/fetch-2", "report-2026-11/summarize", "report-2026-11/publish", "report-2026-11"];
        assert_eq!(retried, [json!({"id": "report-2026-11", "retried": expected})]);
        world.record_in("report-2026-11", "succeeded").await;
        let text = json!({"text": "The report of 2026-11 is published."});
        let report = r#"{"period":"2026-11","files":2,"totals":{"tea":700}}"#;
        let published = [format!("POST /texts {text}"), format!("PUT /reports/2026-11.json {report}")];
        assert_eq!(seen(), [&fetched[1..], &published].concat());

        send(&REPORT.replace("report-2026-11", "another")).await;
        world.record_in("another", "succeeded").await;
        assert_eq!(seen(), [&fetched[..], &published].concat());
        world.record_in("another/alert", "cancelled").await;
    });
}

/// Starts a server with folders, which lacks the file `porto.json` at its first request. It notes each request with its body.
async fn folders(requests: Arc<Mutex<Vec<String>>>) -> Server {
    let lacks_porto = AtomicBool::new(true);
    Server::start(move |request| {
        let (method, path) = (request.method(), request.uri().path());
        let line = format!("{method} {path} {}", String::from_utf8_lossy(request.body()));
        requests.lock().expect("nobody panics with the lock").push(line);
        let is_missing = path.ends_with("/porto.json") && lacks_porto.swap(false, Ordering::Relaxed);
        let answer = match *method {
            Method::GET if is_missing => http::json(404, &json!({})),
            Method::GET => http::json(200, &json!([{"product": "tea", "cents": 350}])),
            _ => http::json(200, &json!({})),
        };
        async move { Ok(answer) }
    })
    .await
}
