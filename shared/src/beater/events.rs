//! Publishes state changes of jobs on an event bus. Lambda reads them from the stream of the table: "Using AWS Lambda with Amazon DynamoDB" in
//! the Lambda developer guide.
//!
//! An event is sent at least once, after the record has changed. A function, a beater, a client or the command may have changed it.

use aws_sdk_eventbridge::{Client, types::PutEventsRequestEntry};
use serde::{Deserialize, Serialize};
use serde_dynamo::{AttributeValue, Item};
use serde_json::{Map, Value};

use crate::{
    Error,
    chain::Chain,
    lifecycle::is_job,
    record::{Record, State},
    store,
};

/// The source and the type of all events.
const SOURCE: &str = "sqjobs";
const TYPE: &str = "Job State Change";
/// Maximum number of events in a request: `PutEvents` in the EventBridge API reference.
const ENTRIES: usize = 10;
/// Maximum number of bytes of a request. Some Regions accept more.
const BYTES: usize = 256 * 1024;
/// Maximum number of bytes of an event apart from its detail: source, type, and the ARN of the bus.
const OVERHEAD: usize = 2048;
/// The errors of an event that EventBridge never accepts: `PutEventsResultEntry` in the EventBridge API reference.
const FINAL: [&str; 2] = ["InvalidArgument", "MalformedDetail"];
/// The fields of the record that an event contains. Arguments, progress, checkpoints and the producer's data may be secret.
const FIELDS: [&str; 15] = [
    "id",
    "name",
    "queue",
    "state",
    "attempts",
    "max_attempts",
    "generation",
    "enqueued_at",
    "run_at",
    "started_at",
    "finished_at",
    "error",
    "tags",
    "parent_id",
    "root_id",
];

/// A change of an item of the table.
#[derive(Debug, Deserialize)]
pub(super) struct Change {
    /// The same in each copy of this change.
    #[serde(rename = "eventID")]
    id: String,
    dynamodb: Images,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Images {
    sequence_number: String,
    /// The item after the change and before it.
    new_image: Option<Item>,
    old_image: Option<Item>,
}

/// The fields of a record whose change is an event.
#[derive(Debug, PartialEq, Deserialize)]
struct Position {
    state: State,
    #[serde(default)]
    generation: u64,
}

/// The response to Lambda: "Configuring partial batch response with DynamoDB and Lambda" in the Lambda developer guide.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    /// The first change that was not published, if any. Lambda repeats the batch from there.
    batch_item_failures: Vec<Failed>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failed {
    /// The sequence number of a change.
    item_identifier: String,
}

/// An event, the sequence number of its change, and the id of its job.
#[derive(Debug)]
struct Event {
    sequence_number: String,
    id: String,
    detail: String,
}

/// Sends events to a bus.
#[derive(Debug)]
pub(super) struct Publisher {
    client: Client,
    bus: String,
    with_results: bool,
}

impl Publisher {
    /// Creates a publisher for a bus, given by its name or ARN.
    pub(super) fn new(sdk: &aws_config::SdkConfig, bus: String, with_results: bool) -> Self {
        Self { client: Client::new(sdk), bus, with_results }
    }

    /// Publishes the events of these changes in order, up to the first event that EventBridge does not accept.
    ///
    /// # Errors
    ///
    /// The bus has accepted no event.
    pub(super) async fn publish(&self, changes: Vec<Change>) -> Result<Answer, Error> {
        let events: Vec<_> = changes.into_iter().filter_map(|change| event(change, self.with_results)).collect();
        let mut published = 0;
        for request in requests(&events) {
            let Err((accepted, reason)) = self.put(request).await else {
                published += request.len();
                continue;
            };
            published += accepted;
            if published == 0 {
                return Err(Error::Process(format!("cannot publish events on the bus {}: {reason}", self.bus)));
            }
            tracing::error!(events = published, reason, "the bus has not accepted all events; Lambda repeats the others");
            return Ok(Answer { batch_item_failures: vec![Failed { item_identifier: request[accepted].sequence_number.clone() }] });
        }
        if published > 0 {
            tracing::info!(events = published, "events published");
        }
        Ok(Answer::default())
    }

    /// Sends the events of one request. The error has the position of the first event that was not accepted, and the reason.
    async fn put(&self, events: &[Event]) -> Result<(), (usize, String)> {
        let entry = |event: &Event| {
            PutEventsRequestEntry::builder().source(SOURCE).detail_type(TYPE).event_bus_name(&self.bus).detail(&event.detail).build()
        };
        let sent = self.client.put_events().set_entries(Some(events.iter().map(entry).collect())).send().await;
        let answer = sent.map_err(|error| (0, Chain(&error).to_string()))?;
        for (number, (event, entry)) in events.iter().zip(answer.entries()).enumerate() {
            let Some(code) = entry.error_code() else { continue };
            let reason = format!("{code}: {}", entry.error_message().unwrap_or_default());
            if !FINAL.contains(&code) {
                return Err((number, reason));
            }
            tracing::error!(id = event.id, reason, "an event is lost, because EventBridge never accepts it");
        }
        Ok(())
    }
}

/// Returns the event of a change. `None`: the item is no job, cannot be read, or is in the same state as before.
fn event(change: Change, with_results: bool) -> Option<Event> {
    let Images { sequence_number, new_image, old_image } = change.dynamodb;
    let new_image = new_image?;
    let Some(AttributeValue::S(id)) = new_image.get("id").cloned() else { return None };
    // Lists and statistics have no state.
    if !is_job(&id) || !new_image.contains_key("state") {
        return None;
    }
    let before: Option<Position> = old_image.and_then(|item| serde_dynamo::from_item(item).ok());
    let record = match store::record(new_image.into()) {
        Ok(record) => record,
        Err(error) => {
            tracing::error!(id, %error, "a change of this job is not published, because its record cannot be read");
            return None;
        }
    };
    let position = Position { state: record.state, generation: record.generation };
    if before.as_ref() == Some(&position) {
        return None;
    }
    Some(Event { sequence_number, id, detail: detail(&change.id, &record, before.map(|before| before.state), with_results) })
}

/// Returns the detail of an event, as `docs/events.md` describes it.
fn detail(event_id: &str, record: &Record, previous: Option<State>, with_results: bool) -> String {
    let record = serde_json::to_value(record).unwrap_or_default();
    let mut detail = Map::from_iter([("event_id".to_owned(), Value::from(event_id))]);
    detail.insert("previous_state".to_owned(), previous.map(State::as_str).into());
    let fields = FIELDS.into_iter().chain(with_results.then_some("result"));
    detail.extend(fields.filter_map(|name| Some((name.to_owned(), record.get(name)?.clone()))));
    let text = serde_json::to_string(&detail).unwrap_or_default();
    if text.len() + OVERHEAD <= BYTES {
        return text;
    }
    detail.remove("result");
    detail.insert("is_result_omitted".to_owned(), true.into());
    Value::Object(detail).to_string()
}

/// Splits events into requests.
fn requests(events: &[Event]) -> Vec<&[Event]> {
    let (mut requests, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (number, event) in events.iter().enumerate() {
        let own = event.detail.len() + OVERHEAD;
        if number > start && (number - start == ENTRIES || bytes + own > BYTES) {
            requests.push(&events[start..number]);
            (start, bytes) = (number, 0);
        }
        bytes += own;
    }
    if start < events.len() {
        requests.push(&events[start..]);
    }
    requests
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(old: Option<Value>, new: Value) -> Change {
        let image = |mut item: Value| {
            item["id"] = json!({"S": "a"});
            item["name"] = json!({"S": "adder"});
            item["queue"] = json!({"S": "adder"});
            item
        };
        let images = json!({"SequenceNumber": "7", "NewImage": image(new), "OldImage": old.map(image)});
        serde_json::from_value(json!({"eventID": "e1", "eventName": "MODIFY", "dynamodb": images})).expect("a change")
    }

    fn state(state: &str, generation: u64) -> Value {
        json!({"state": {"S": state}, "generation": {"N": generation.to_string()}})
    }

    fn published(change: Change, with_results: bool) -> Option<Value> {
        event(change, with_results).map(|event| serde_json::from_str(&event.detail).expect("JSON"))
    }

    #[test]
    fn an_event_has_the_states_and_nothing_that_may_be_secret() {
        let mut new = state("succeeded", 2);
        new["result"] = json!({"S": "s3cr3t"});
        new["envelope"] = json!({"S": "s3cr3t"});
        new["meta"] = json!({"M": {"x": {"S": "s3cr3t"}}});
        let event = published(change(Some(state("running", 2)), new.clone()), false).expect("an event");
        assert_eq!((&event["event_id"], &event["previous_state"], &event["state"]), (&json!("e1"), &json!("running"), &json!("succeeded")));
        assert_eq!((&event["id"], &event["name"], &event["generation"]), (&json!("a"), &json!("adder"), &json!(2)));
        assert!(!event.to_string().contains("s3cr3t"), "{event}");
        assert_eq!(published(change(None, new), true).expect("an event")["result"], "s3cr3t");
    }

    #[test]
    fn a_change_without_a_new_state_is_no_event() {
        let mut marked = state("failed", 1);
        marked["dlq"] = json!({"S": "sent"});
        assert_eq!(published(change(Some(state("failed", 1)), marked), false), None);
        assert!(published(change(Some(state("running", 1)), state("running", 2)), false).is_some(), "another attempt");
        let mut of_key = change(None, state("queued", 0));
        of_key.dynamodb.new_image.as_mut().expect("an image").insert("id".into(), AttributeValue::S("k\u{1f}\u{1f}limit".into()));
        assert_eq!(published(of_key, false), None);
        assert_eq!(published(change(None, json!({"count": {"N": "1"}})), false), None);
        let mut deleted = change(None, state("failed", 1));
        deleted.dynamodb.new_image = None;
        assert_eq!(published(deleted, false), None);
    }

    #[test]
    fn requests_hold_ten_events_and_no_more_than_the_limit_of_bytes() {
        let event = |bytes: usize| Event { sequence_number: String::new(), id: String::new(), detail: "x".repeat(bytes) };
        let sizes = |events: &[Event]| requests(events).iter().map(|request| request.len()).collect::<Vec<_>>();
        assert_eq!(sizes(&(0..21).map(|_| event(10)).collect::<Vec<_>>()), [10, 10, 1]);
        assert_eq!(sizes(&[event(150_000), event(100_000), event(100_000), event(10)]), [2, 2]);
        assert_eq!(sizes(&[]), [0; 0]);
        let mut large = state("succeeded", 1);
        large["result"] = json!({"S": "x".repeat(300_000)});
        let detail = published(change(None, large), true).expect("an event");
        assert_eq!((&detail["is_result_omitted"], &detail["result"]), (&json!(true), &Value::Null));
    }
}
