//! The reports that a function with the feature `sentry` sends to Sentry: a server on loopback that reads them with Sentry's own parser.

use std::sync::{Arc, Mutex, PoisonError};

use hyper::{Response, body::Bytes};
use sentry::{
    Envelope, Level,
    protocol::{Context, EnvelopeItem, Event},
};
use serde_json::json;

use crate::{
    function::Function,
    http::Server,
    outside::TRACED,
    wait,
    world::{PATIENCE, World},
};

/// Text in the arguments, which must not be reported.
const SECRET: &str = "a-secret";

#[test]
fn each_failed_attempt_is_reported_to_sentry_without_arguments() {
    World::setup().test(async |world| {
        let received = Arc::<Mutex<Vec<Bytes>>>::default();
        let envelopes = Arc::clone(&received);
        let server = Server::start(move |request| {
            assert_eq!(request.uri().path(), "/api/7/envelope/");
            envelopes.lock().unwrap_or_else(PoisonError::into_inner).push(request.into_body());
            async { Ok(Response::new(Bytes::new())) }
        })
        .await;
        let dsn = server.url().replace("http://", "http://key@") + "/7";
        world.deploy(&Function::outside(TRACED).env("SENTRY_DSN", &dsn)).await;
        for (id, args) in [
            ("retried", json!({"until": 2, "child": SECRET})),
            ("panicked", json!({"panics": true, "child": SECRET})),
            ("rejected", json!({"until": SECRET})),
            ("succeeded", json!({})),
        ] {
            world.send(json!({"name": "order", "id": id, "args": args})).await;
        }
        world.record_in("succeeded", "succeeded").await;
        let is_complete = async || {
            let count = received.lock().unwrap_or_else(PoisonError::into_inner).len();
            if count < 3 { Err(format!("{count} reports")) } else { Ok(()) }
        };
        wait::until("three reports", PATIENCE, is_complete).await;
        world.drained().await;

        let bodies = received.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut events: Vec<_> = bodies.iter().map(|body| read(body)).collect();
        events.sort_by(|one, other| id(one).cmp(id(other)));
        let told: Vec<_> = events.iter().map(|event| (id(event), event.level, kind(event), event.tags["job"].as_str())).collect();
        let expected = [
            ("panicked", Level::Warning, "panic", "order"),
            ("rejected", Level::Error, "rejected", "order"),
            ("retried", Level::Warning, "told", "order"),
        ];
        assert_eq!(told, expected);
        assert_eq!(events[2].exception[0].value.as_deref(), Some("failed as told"));
        assert_eq!(events[2].tags["queue"], "probes");
        let Some(Context::Other(job)) = events[2].contexts.get("job") else { panic!("{:?}", events[2]) };
        assert_eq!((job["attempt"].as_u64(), job["max_attempts"].as_u64()), (Some(1), Some(3)));
        assert!(!bodies.iter().any(|body| String::from_utf8_lossy(body).contains(SECRET)), "{events:#?}");
    });
}

fn read(body: &[u8]) -> Box<Event<'static>> {
    let envelope = Envelope::from_slice(body).expect("an envelope of Sentry");
    let event = envelope.items().find_map(|item| if let EnvelopeItem::Event(event) = item { Some(event.clone()) } else { None });
    event.expect("an event")
}

fn id<'a>(event: &'a Event<'_>) -> &'a str {
    match event.contexts.get("job") {
        Some(Context::Other(job)) => job["id"].as_str().expect("an id"),
        other => panic!("{other:?}"),
    }
}

fn kind<'a>(event: &'a Event<'_>) -> &'a str {
    &event.exception[0].ty
}
