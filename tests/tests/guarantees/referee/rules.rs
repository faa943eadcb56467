//! Rules that AWS documents only in text, so that no model contains them and emulators skip them. Each links to its page.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// `MessageBody` of `SendMessage`, with its attributes: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
const MESSAGE_BYTES: usize = 1 << 20;
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
const MESSAGES: usize = 10;
const DELAY_S: i64 = 900;
const VISIBILITY_S: i64 = 43_200;
const WAIT_S: i64 = 20;
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>
const ATTRIBUTES: usize = 10;
/// The size of a transaction's items: <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
const TRANSACTION_BYTES: usize = 4 << 20;
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
const ITEM_BYTES: usize = 400 << 10;
const KEY_BYTES: usize = 2048;
const BATCH_PUTS: usize = 25;
const BATCH_KEYS: usize = 100;
const STATEMENTS: usize = 25;
const TRANSACTION: usize = 100;
const EXPRESSION_BYTES: usize = 4 << 10;
/// The only key attribute of every table in these tests.
const KEY: &str = "id";
/// Total size of a function's variables: <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
const ENVIRONMENT_BYTES: usize = 4 << 10;
/// Total size of a role's inline policies without white space: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const POLICY_CHARACTERS: usize = 10_240;
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html>
const TARGETS: usize = 5;

/// A member and the rule that it violates.
type Fault = (String, String);

/// The violations found so far.
#[derive(Default)]
struct Findings(Vec<Fault>);

impl Findings {
    /// Adds a violation unless the rule holds.
    fn unless(&mut self, holds: bool, member: &str, rule: impl Into<String>) {
        if !holds {
            self.0.push((member.to_owned(), rule.into()));
        }
    }

    fn range(&mut self, value: &Value, member: &str, least: i64, most: i64) {
        // A queue attribute is a number written as text.
        let number = value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
        let holds = value.is_null() || number.is_some_and(|number| (least..=most).contains(&number));
        self.unless(holds, member, format!("{value} is not within {least} and {most}"));
    }

    fn count(&mut self, count: usize, member: &str, most: usize) {
        self.unless(count <= most, member, format!("{count} are more than {most}"));
    }

    fn bytes(&mut self, bytes: usize, member: &str, most: usize) {
        self.unless(bytes <= most, member, format!("{bytes} bytes are more than {most}"));
    }

    /// Requires that no value occurs twice.
    fn distinct(&mut self, values: impl IntoIterator<Item = String>, member: &str) {
        let mut seen = BTreeSet::new();
        for value in values {
            self.unless(!seen.contains(&value), member, format!("{value} stands there twice"));
            seen.insert(value);
        }
    }
}

/// Returns all violations of an operation's input.
pub(super) fn check(service: &str, operation: &str, input: &Value) -> Vec<Fault> {
    let mut found = Findings::default();
    match service {
        "sqs" => sqs(&mut found, operation, input),
        "dynamodb" => dynamodb(&mut found, operation, input),
        "lambda" => lambda(&mut found, operation, input),
        "events" => events(&mut found, input),
        "iam" => iam(&mut found, input),
        _ => {}
    }
    found.0
}

/// Returns all violations in the response of a function that a queue or a stream feeds. An identifier that is empty, or not of a message
/// or a change in the event, fails the whole batch (<https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>,
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html>).
pub(super) fn answer(event: &Value, answer: &Value) -> Vec<Fault> {
    let mut found = Findings::default();
    let identifier = |record: &'_ Value| record["messageId"].as_str().or(record["dynamodb"]["SequenceNumber"].as_str()).map(str::to_owned);
    let delivered: BTreeSet<_> = list(&event["Records"]).iter().filter_map(identifier).collect();
    for (number, failure) in list(&answer["batchItemFailures"]).iter().enumerate() {
        let (id, member) = (failure["itemIdentifier"].as_str(), format!("/batchItemFailures/{number}/itemIdentifier"));
        found.unless(id.is_some_and(|id| !id.is_empty()), &member, "it is empty");
        found.unless(id.is_none_or(|id| id.is_empty() || delivered.contains(id)), &member, format!("{id:?} was not delivered"));
    }
    found.0
}

fn sqs(found: &mut Findings, operation: &str, input: &Value) {
    let queue = input["QueueUrl"].as_str().unwrap_or_default();
    let entries = list(&input["Entries"]);
    if operation.ends_with("Batch") {
        found.unless((1..=MESSAGES).contains(&entries.len()), "/Entries", format!("{} entries are not 1 to {MESSAGES}", entries.len()));
        found.distinct(entries.iter().map(|entry| text(&entry["Id"]).to_owned()), "/Entries");
        for (number, entry) in entries.iter().enumerate() {
            let holds = is_made_of(text(&entry["Id"]), 80, |c| c.is_ascii_alphanumeric() || "-_".contains(c));
            found.unless(holds, &format!("/Entries/{number}/Id"), "it is not 1 to 80 letters, digits, hyphens and underscores");
        }
    }
    let numbered = entries.iter().enumerate().map(|(number, entry)| (format!("/Entries/{number}"), entry));
    match operation {
        "SendMessage" => sent(found, queue, input, ""),
        "SendMessageBatch" => {
            found.bytes(entries.iter().map(message_bytes).sum(), "/Entries", MESSAGE_BYTES);
            numbered.for_each(|(place, entry)| sent(found, queue, entry, &place));
        }
        "ChangeMessageVisibility" => found.range(&input["VisibilityTimeout"], "/VisibilityTimeout", 0, VISIBILITY_S),
        "ChangeMessageVisibilityBatch" => {
            numbered.for_each(|(at, entry)| found.range(&entry["VisibilityTimeout"], &format!("{at}/VisibilityTimeout"), 0, VISIBILITY_S));
        }
        "ReceiveMessage" => {
            // A rule of this project: otherwise the queue's own wait of up to 20 seconds could outlast the client's timeout.
            found.unless(input["WaitTimeSeconds"].is_number(), "/WaitTimeSeconds", "it is missing");
            found.range(&input["WaitTimeSeconds"], "/WaitTimeSeconds", 0, WAIT_S);
            found.range(&input["VisibilityTimeout"], "/VisibilityTimeout", 0, VISIBILITY_S);
            found.range(&input["MaxNumberOfMessages"], "/MaxNumberOfMessages", 1, 10);
        }
        "CreateQueue" | "SetQueueAttributes" => {
            let ranges = [
                ("VisibilityTimeout", 0, VISIBILITY_S),
                ("DelaySeconds", 0, DELAY_S),
                ("ReceiveMessageWaitTimeSeconds", 0, WAIT_S),
                ("MessageRetentionPeriod", 60, 1_209_600),
                ("MaximumMessageSize", 1024, 1 << 20),
            ];
            for (name, least, most) in ranges {
                found.range(&input["Attributes"][name], &format!("/Attributes/{name}"), least, most);
            }
        }
        _ => {}
    }
    if let Some(name) = input["QueueName"].as_str() {
        let holds = name.len() <= 80 && is_made_of(name.trim_end_matches(".fifo"), 80, |c| c.is_ascii_alphanumeric() || "-_".contains(c));
        found.unless(holds, "/QueueName", "it is not 1 to 80 letters, digits, hyphens and underscores");
    }
}

/// Checks a message that is sent to a queue.
fn sent(found: &mut Findings, queue: &str, message: &Value, place: &str) {
    let at = |member: &str| format!("{place}/{member}");
    let is_fifo = is_of_fifo(queue);
    found.bytes(message_bytes(message), &at("MessageBody"), MESSAGE_BYTES);
    characters(found, text(&message["MessageBody"]), &at("MessageBody"));
    found.unless(!text(&message["MessageBody"]).is_empty(), &at("MessageBody"), "it is empty");
    found.range(&message["DelaySeconds"], &at("DelaySeconds"), 0, if is_fifo { 0 } else { DELAY_S });
    for name in ["MessageGroupId", "MessageDeduplicationId"] {
        if let Some(id) = message[name].as_str() {
            let holds = is_made_of(id, 128, |c| c.is_ascii_graphic());
            found.unless(holds, &at(name), format!("{id:?} is not 1 to 128 letters, digits and punctuation"));
        }
    }
    found.unless(!is_fifo || message["MessageGroupId"].is_string(), &at("MessageGroupId"), "a FIFO queue needs it");
    found.unless(is_fifo || message["MessageDeduplicationId"].is_null(), &at("MessageDeduplicationId"), "a standard queue refuses it");
    let attributes: Vec<_> = message["MessageAttributes"].as_object().into_iter().flatten().collect();
    found.count(attributes.len(), &at("MessageAttributes"), ATTRIBUTES);
    for (name, value) in attributes {
        let at = at(&format!("MessageAttributes/{name}"));
        found.unless(is_attribute_name(name), &at, "SQS refuses the name");
        let kind = text(&value["DataType"]).split('.').next().unwrap_or_default();
        found.unless(["String", "Number", "Binary"].contains(&kind), &at, "its type is not String, Number or Binary");
        let content = text(&value[if kind == "Binary" { "BinaryValue" } else { "StringValue" }]);
        found.unless(!content.is_empty(), &at, "its value is empty");
        characters(found, content, &at);
    }
}

/// Returns `true` if the URL or ARN names a FIFO queue.
fn is_of_fifo(queue: &str) -> bool {
    queue.rsplit_once('.').is_some_and(|(_, kind)| kind == "fifo")
}

/// Returns `true` for 1 to 256 letters, digits and `_-.`, without a leading, final or double period or a reserved AWS prefix.
fn is_attribute_name(name: &str) -> bool {
    let reserved = ["aws.", "amazon."].iter().any(|prefix| name.to_ascii_lowercase().starts_with(prefix));
    let periods = name.starts_with('.') || name.ends_with('.') || name.contains("..");
    is_made_of(name, 256, |c| c.is_ascii_alphanumeric() || "_-.".contains(c)) && !reserved && !periods
}

/// Requires that a body or an attribute contains only characters of XML 1.0, although JSON allows others.
fn characters(found: &mut Findings, text: &str, member: &str) {
    let refused = text.chars().find(|c| matches!(c, '\0'..'\t' | '\u{b}' | '\u{c}' | '\u{e}'..' ' | '\u{fffe}' | '\u{ffff}'));
    found.unless(refused.is_none(), member, format!("it holds {refused:?}"));
}

fn message_bytes(message: &Value) -> usize {
    let attributes = message["MessageAttributes"].as_object().into_iter().flatten();
    let attribute = |(name, value): (&String, &Value)| {
        name.len() + text(&value["DataType"]).len() + text(&value["StringValue"]).len() + text(&value["BinaryValue"]).len() / 4 * 3
    };
    text(&message["MessageBody"]).len() + attributes.map(attribute).sum::<usize>()
}

fn dynamodb(found: &mut Findings, operation: &str, input: &Value) {
    match operation {
        "BatchExecuteStatement" => statements(found, list(&input["Statements"])),
        "BatchGetItem" => {
            let tables = input["RequestItems"].as_object().into_iter().flatten();
            let keys: Vec<_> = tables.flat_map(|(table, asked)| list(&asked["Keys"]).iter().map(move |key| named(table, key))).collect();
            found.count(keys.len(), "/RequestItems", BATCH_KEYS);
            found.distinct(keys, "/RequestItems");
        }
        "BatchWriteItem" => {
            let tables = input["RequestItems"].as_object().into_iter().flatten();
            let key_of = |table: &str, write: &Value| match &write["PutRequest"]["Item"] {
                Value::Null => named(table, &write["DeleteRequest"]["Key"]),
                item => named(table, item),
            };
            let keys: Vec<_> = tables.flat_map(|(table, writes)| list(writes).iter().map(move |write| key_of(table, write))).collect();
            found.count(keys.len(), "/RequestItems", BATCH_PUTS);
            found.distinct(keys, "/RequestItems");
        }
        "TransactWriteItems" => {
            let items = list(&input["TransactItems"]);
            found.count(items.len(), "/TransactItems", TRANSACTION);
            found.bytes(items.iter().map(bytes_of_all).sum(), "/TransactItems", TRANSACTION_BYTES);
            let actions = items.iter().filter_map(|item| item.as_object()?.values().next());
            let key_of =
                |action: &Value| named(text(&action["TableName"]), if action["Key"].is_null() { &action["Item"] } else { &action["Key"] });
            found.distinct(actions.map(key_of), "/TransactItems");
        }
        _ => {}
    }
    walk(found, input, "");
}

/// Returns the table and the key of the item that a statement writes.
pub(crate) fn written(statement: &Value) -> Option<(&str, &Value)> {
    let text = text(&statement["Statement"]);
    let place = text.find(if text.starts_with("INSERT") { "'id': ?" } else { "\"id\"=?" })?;
    let id = list(&statement["Parameters"]).get(text[..place].matches('?').count())?;
    Some((text.split('"').nth(1)?, id))
}

/// Identifies the item of a key or an item in a table.
fn named(table: &str, item: &Value) -> String {
    format!("{table} {}", item[KEY])
}

/// Checks a batch of statements: all read or all write, and no item occurs twice.
fn statements(found: &mut Findings, statements: &[Value]) {
    found.count(statements.len(), "/Statements", STATEMENTS);
    let mut keys = Vec::new();
    let mut verbs = BTreeSet::new();
    for (number, statement) in statements.iter().enumerate() {
        let (text, parameters) = (text(&statement["Statement"]), list(&statement["Parameters"]));
        let at = format!("/Statements/{number}");
        // Values must be parameters, so that no user input becomes part of a statement.
        let marks = text.matches('?').count();
        found.unless(marks == parameters.len(), &at, format!("{marks} question marks have {} parameters", parameters.len()));
        verbs.insert(text.starts_with("SELECT"));
        match written(statement) {
            Some((table, id)) => {
                key(found, id, &at);
                keys.push(format!("{table} {id}"));
            }
            None => found.unless(false, &at, format!("it names no {KEY}")),
        }
        if text.starts_with("INSERT") {
            // The attribute names are part of the statement.
            found.bytes(text.len() + parameters.iter().map(value_bytes).sum::<usize>(), &at, ITEM_BYTES);
        }
    }
    found.distinct(keys, "/Statements");
    found.unless(verbs.len() <= 1, "/Statements", "it reads and writes");
}

/// Checks the rules that apply anywhere in a request: to items, keys and expressions.
fn walk(found: &mut Findings, value: &Value, place: &str) {
    let Some(members) = value.as_object() else {
        return list(value).iter().enumerate().for_each(|(number, value)| walk(found, value, &format!("{place}/{number}")));
    };
    expressions(found, members, place);
    for (name, inner) in members {
        let place = format!("{place}/{name}");
        match name.as_str() {
            "Item" | "Key" | "ExpressionAttributeValues" => item(found, inner, &place),
            "Keys" => list(inner).iter().for_each(|key| item(found, key, &place)),
            // The model also accepts ARNs, and has no pattern for names or ARNs.
            "TableName" => found.unless(is_table_name(text(inner)), &place, format!("{inner} is no name of a table")),
            "Parameters" => list(inner).iter().for_each(|parameter| attribute(found, parameter, &place)),
            _ => walk(found, inner, &place),
        }
    }
}

fn is_table_name(name: &str) -> bool {
    name.len() >= 3 && is_made_of(name, 255, |c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// Checks an item or a part of one.
fn item(found: &mut Findings, item: &Value, place: &str) {
    found.bytes(item_bytes(item), place, ITEM_BYTES);
    if let Some(id) = item.get(KEY) {
        key(found, id, place);
    }
    item.as_object().into_iter().flatten().for_each(|(name, value)| attribute(found, value, &format!("{place}/{name}")));
}

fn key(found: &mut Findings, id: &Value, place: &str) {
    let bytes = text(&id["S"]).len();
    found.unless((1..=KEY_BYTES).contains(&bytes), &format!("{place}/{KEY}"), format!("{bytes} bytes are not 1 to {KEY_BYTES}"));
}

fn attribute(found: &mut Findings, value: &Value, place: &str) {
    let Some((kind, content)) = value.as_object().and_then(|value| value.iter().next()) else { return };
    match kind.as_str() {
        "N" => found.unless(is_number(text(content)), place, format!("{content} is no number of at most 38 digits")),
        "SS" | "NS" | "BS" => {
            found.unless(!list(content).is_empty(), place, "a set is empty");
            found.distinct(list(content).iter().map(ToString::to_string), place);
        }
        "L" => list(content).iter().for_each(|value| attribute(found, value, place)),
        "M" => content.as_object().into_iter().flatten().for_each(|(name, value)| attribute(found, value, &format!("{place}/{name}"))),
        _ => {}
    }
}

/// Requires that every placeholder is defined and every definition is used.
fn expressions(found: &mut Findings, members: &Map<String, Value>, place: &str) {
    let texts = members.iter().filter(|(name, _)| name.ends_with("Expression")).filter_map(|(name, text)| Some((name, text.as_str()?)));
    let mut used = BTreeSet::new();
    for (name, text) in texts {
        found.bytes(text.len(), &format!("{place}/{name}"), EXPRESSION_BYTES);
        used.extend(text.split(|c: char| !(c.is_ascii_alphanumeric() || "#:_".contains(c))).filter(|word| word.starts_with(['#', ':'])));
    }
    let defined = ["ExpressionAttributeNames", "ExpressionAttributeValues"].map(|name| members.get(name).and_then(Value::as_object));
    let defined: BTreeSet<_> = defined.into_iter().flatten().flat_map(Map::keys).map(String::as_str).collect();
    for placeholder in used.symmetric_difference(&defined) {
        found.unless(false, &format!("{place}/{placeholder}"), "a placeholder is not used, or not defined");
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.split(['e', 'E']).next().unwrap_or_default().replace(['.', '-', '+'], "");
    text.parse::<f64>().is_ok_and(f64::is_finite) && digits.trim_matches('0').len() <= 38
}

/// Returns the approximate size of an item by the rules of DynamoDB.
fn item_bytes(item: &Value) -> usize {
    item.as_object().into_iter().flatten().map(|(name, value)| name.len() + value_bytes(value)).sum()
}

fn value_bytes(value: &Value) -> usize {
    let Some((kind, content)) = value.as_object().and_then(|value| value.iter().next()) else { return 0 };
    match (kind.as_str(), content) {
        ("N", Value::String(number)) => number.len() / 2 + 1,
        ("B", Value::String(base64)) => base64.len() / 4 * 3,
        (_, Value::String(text)) => text.len(),
        ("L", Value::Array(values)) => 3 + values.iter().map(|value| 1 + value_bytes(value)).sum::<usize>(),
        (_, Value::Array(values)) => values.iter().map(|value| text(value).len()).sum(),
        ("M", item) => 3 + item.as_object().map_or(0, Map::len) + item_bytes(item),
        _ => 1,
    }
}

/// Returns the total size of the items in a part of a transaction.
fn bytes_of_all(part: &Value) -> usize {
    part.as_object().into_iter().flatten().map(|(_, action)| item_bytes(&action["Item"])).sum()
}

fn lambda(found: &mut Findings, operation: &str, input: &Value) {
    let variables: Vec<_> = input["Environment"]["Variables"].as_object().into_iter().flatten().collect();
    let bytes = variables.iter().map(|(name, value)| name.len() + text(value).len()).sum();
    found.bytes(bytes, "/Environment/Variables", ENVIRONMENT_BYTES);
    for (name, _) in variables {
        found.unless(!is_reserved(name), &format!("/Environment/Variables/{name}"), "Lambda keeps the name for itself");
    }
    if operation.ends_with("EventSourceMapping") {
        let waits = input["MaximumBatchingWindowInSeconds"].as_i64().unwrap_or(0) > 0;
        let is_fifo = is_of_fifo(text(&input["EventSourceArn"]));
        let is_stream = text(&input["EventSourceArn"]).contains(":dynamodb:");
        // <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
        found.range(&input["BatchSize"], "/BatchSize", 1, if is_stream || waits && !is_fifo { 10_000 } else { 10 });
        found.unless(!(waits && is_fifo), "/MaximumBatchingWindowInSeconds", "a FIFO queue has none");
    }
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
fn is_reserved(name: &str) -> bool {
    let reserved =
        ["_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID"];
    let more = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR"];
    name.starts_with("AWS_LAMBDA_") || reserved.contains(&name) || more.contains(&name)
}

fn events(found: &mut Findings, input: &Value) {
    found.count(list(&input["Targets"]).len(), "/Targets", TARGETS);
    if let Some(rate) = input["ScheduleExpression"].as_str().and_then(|expression| expression.strip_prefix("rate(")) {
        // <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html>
        let (count, unit) = rate.trim_end_matches(')').split_once(' ').unwrap_or_default();
        let units = if count == "1" { ["minute", "hour", "day"] } else { ["minutes", "hours", "days"] };
        found.unless(units.contains(&unit), "/ScheduleExpression", format!("{unit:?} does not fit {count:?}"));
    }
}

fn iam(found: &mut Findings, input: &Value) {
    if let Some(policy) = input["PolicyDocument"].as_str() {
        let characters = policy.chars().filter(|c| !c.is_whitespace()).count();
        found.count(characters, "/PolicyDocument", POLICY_CHARACTERS);
        found.unless(serde_json::from_str::<Value>(policy).is_ok(), "/PolicyDocument", "it is not JSON");
    }
}

/// Returns `true` if a text has 1 to `most` characters of the given kind.
fn is_made_of(text: &str, most: usize, kind: impl Fn(char) -> bool) -> bool {
    (1..=most).contains(&text.chars().count()) && text.chars().all(kind)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
