use serde::Deserialize;

use super::{fires, parse};

#[derive(Deserialize)]
struct Vector {
    id: String,
    expr: String,
    tz: String,
    after: String,
    expect: Vec<String>,
    expect_error: Option<String>,
}

fn vectors() -> Vec<Vector> {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../../../fixtures/cron.json")).unwrap();
    assert_eq!(vectors.len(), 48);
    vectors
}

#[test]
fn every_vector_fires_when_it_is_expected_to() {
    for Vector { id, expr, tz, after, expect, .. } in vectors().into_iter().filter(|vector| vector.expect_error.is_none()) {
        let timetable = parse(&expr, &tz).unwrap_or_else(|error| panic!("{id}: {error}"));
        assert!(!expect.is_empty(), "{id}");
        assert_eq!(fires(&timetable, &after, expect.len()), expect, "{id}: {expr} in {tz}");
    }
}

#[test]
fn every_invalid_vector_is_refused() {
    for Vector { id, expr, tz, .. } in vectors().into_iter().filter(|vector| vector.expect_error.is_some()) {
        assert!(parse(&expr, &tz).is_err(), "{id}: {expr:?} is taken");
    }
}
