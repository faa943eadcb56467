//! The functions of this repository, as they are deployed.

use std::sync::{Arc, Mutex};

use hyper::{Request, body::Bytes};
use serde_json::{Value, json};

use crate::{
    function::Function,
    http::{self, Server},
    world::World,
};

/// Base64 of 24 bytes, in the format of the Standard Webhooks specification.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

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
