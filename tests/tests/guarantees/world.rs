//! A separate world for each test: an account with a table, a queue, a dead-letter queue and functions.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    panic::{AssertUnwindSafe, resume_unwind},
    path::Path,
    sync::Mutex,
    time::Duration,
};

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use aws_sdk_sqs::types::{MessageAttributeValue, QueueAttributeName, SendMessageBatchRequestEntry};
use futures_util::FutureExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use sqjobs::{
    queue::Sqs,
    setup::{self, Queues},
    store::{DynamoDb, Store, Write},
};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    account::Account,
    effects::Effects,
    function::Function,
    message::Message,
    polled::{self, Polled},
    proxy::Proxy,
    record::Record,
    stack::{Stack, dynamodb_local::DynamoDbLocal},
    wait,
};

pub(crate) const TABLE: &str = "jobs";
const SCHEDULES: &str = "schedules";
/// Maximum wait for a condition. Most hold much sooner; a busy machine takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// Maximum duration of a test.
const LIMIT: Duration = Duration::from_mins(20);

/// The options of a world.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    queue: &'static str,
    visibility_s: u32,
    enforces_roles: bool,
}

/// The resources of one test: its own account on the shared stack.
pub(crate) struct World {
    stack: &'static Stack,
    pub(crate) account: Account,
    setup: Setup,
    pub(crate) queues: Queues,
    pub(crate) proxy: Proxy,
    pub(crate) effects: Effects,
    /// The workers that take the place of functions, if the tests run with polling workers.
    polled: Mutex<Vec<Polled>>,
}

impl Setup {
    /// Uses a FIFO queue.
    pub(crate) fn fifo(self) -> Self {
        Self { queue: "probes.fifo", ..self }
    }

    /// Enforces the roles of the functions.
    pub(crate) fn enforces_roles(self) -> Self {
        Self { enforces_roles: true, ..self }
    }

    /// Sets the visibility timeout in seconds: the wait before a redelivery after a crash.
    pub(crate) fn visibility_s(self, visibility_s: u32) -> Self {
        Self { visibility_s, ..self }
    }

    /// Creates a world, runs `test` in it, and deletes the world.
    pub(crate) fn test(self, test: impl AsyncFnOnce(&World)) {
        let stack = if self.enforces_roles { Stack::enforcing() } else { Stack::shared() };
        // Only the stack enforces roles.
        let local = if self.enforces_roles { None } else { DynamoDbLocal::chosen(stack) };
        let table = local.map(DynamoDbLocal::endpoint);
        stack.runtime.block_on(async {
            let _place = stack.places.acquire().await.expect("the places are never closed");
            let world = World::create(stack, table.as_deref(), self).await;
            let ended = AssertUnwindSafe(async { timeout(LIMIT, test(&world)).await.expect("the test comes to an end") });
            let ended = ended.catch_unwind().await;
            if ended.is_err() {
                eprintln!("{}", world.report().await);
            }
            world.retire().await;
            ended.unwrap_or_else(|panic| resume_unwind(panic));
            let violations: Vec<_> = world.proxy.violations().iter().map(ToString::to_string).collect();
            assert!(violations.is_empty(), "AWS refuses what the stack took:\n{}", violations.join("\n"));
        });
    }
}

/// Creates and changes the world.
impl World {
    /// Returns the default options.
    pub(crate) fn setup() -> Setup {
        Setup { queue: "probes", visibility_s: 30, enforces_roles: false }
    }

    async fn create(stack: &'static Stack, table: Option<&str>, setup: Setup) -> Self {
        let proxy = Proxy::start(&stack.endpoint(), table).await;
        let account = Account::new(&proxy.calm_url());
        setup::create_table(&account.dynamodb, TABLE).await.expect("the table is created");
        setup::create_schedules_table(&account.dynamodb, SCHEDULES).await.expect("the table is created");
        let queues = setup::create_queues(&account.sqs, setup.queue, setup.visibility_s).await.expect("the queues are created");
        Self { stack, account, setup, queues, proxy, effects: Effects::new(), polled: Mutex::default() }
    }

    /// Deploys a function, which reaches the stack through the proxy, and connects the queue to it.
    pub(crate) async fn deploy(&self, function: &Function) {
        if polled::is_asked_for() {
            let polled = Polled::supervised(self, function);
            self.polled.lock().expect("nobody panics with it").push(polled);
            return;
        }
        self.account.deploy(function, self.settings(function), self.setup.queue).await;
    }

    /// Deploys a function with queues of its own, which have its name. Returns the queues.
    pub(crate) async fn deploy_with_queues(&self, function: Function) -> Queues {
        let name = function.bootstrap;
        let queues = setup::create_queues(&self.account.sqs, name, self.setup.visibility_s).await.expect("the queues are created");
        let function = function.env("SQJOBS_QUEUE_URL", &*queues.url).env("SQJOBS_DLQ_URL", &*queues.dlq_url);
        self.account.deploy(&function, self.settings(&function), name).await;
        queues
    }

    /// Deploys a beater, which also reaches the stack through the proxy.
    pub(crate) async fn deploy_beater(&self, beater: &Function) {
        // The queue for the beater's own entry.
        setup::create_queues(&self.account.sqs, "adder", self.setup.visibility_s).await.expect("the queues are created");
        self.account.create(beater, self.settings(beater)).await;
    }

    /// Deploys a function without a queue.
    pub(crate) async fn create_function(&self, function: &Function) {
        self.account.create(function, self.settings(function)).await;
    }

    /// Creates a function without a queue, with a role that allows nothing. Returns its name.
    pub(crate) async fn create_function_and_role(&self, function: &Function) -> String {
        self.account.create_role(function).await;
        self.create_function(function).await;
        self.account.name(function)
    }

    /// Invokes a beater with an EventBridge event for the instant `at`. Returns the result of the tick.
    pub(crate) async fn tick(&self, beater: &Function, at: Timestamp) -> Value {
        self.try_tick(beater, at).await.expect("the beater is invoked")
    }

    /// Invokes a beater whose response may be lost.
    pub(crate) async fn try_tick(&self, beater: &Function, at: Timestamp) -> Result<Value, String> {
        self.account.invoke(beater, &json!({"detail-type": "Scheduled Event", "time": at})).await
    }

    /// Returns the variables of a function.
    pub(crate) fn settings(&self, function: &Function) -> HashMap<String, String> {
        let proxy = self.proxy.url();
        let ours = [
            ("SQJOBS_TABLE", TABLE),
            ("SQJOBS_QUEUE_URL", &self.queues.url),
            ("SQJOBS_DLQ_URL", &self.queues.dlq_url),
            ("AWS_ENDPOINT_URL", &proxy),
        ];
        let theirs = function.environment.iter().map(|(name, value)| (*name, value.as_str()));
        let variables = ours.into_iter().chain(theirs).map(|(name, value)| (name.to_owned(), value.to_owned()));
        variables.collect()
    }

    /// Returns the table as a store of the library.
    pub(crate) fn store(&self) -> DynamoDb {
        DynamoDb::new(self.account.dynamodb.clone(), TABLE)
    }

    /// Creates two more queues without functions. Returns them as the library's queues, with their names; the second is FIFO.
    pub(crate) async fn other_queues(&self) -> (Sqs, String, String) {
        let names = ["other", "other.fifo"];
        for name in names {
            setup::create_queues(&self.account.sqs, name, self.setup.visibility_s).await.expect("the queues are created");
        }
        (Sqs::new(self.account.sqs.clone()), names[0].to_owned(), names[1].to_owned())
    }

    /// Deletes the functions.
    pub(crate) async fn retire(&self) {
        self.polled.lock().expect("nobody panics with it").iter_mut().for_each(Polled::kill);
        self.account.retire().await;
    }

    /// Returns the message of a probe that acts by `orders` and writes its effects to this world.
    pub(crate) fn probe(&self, id: &str, orders: &Value) -> Value {
        self.job("probe", id, orders)
    }

    /// Returns the message of a job that acts like the probe under another policy.
    pub(crate) fn job(&self, name: &str, id: &str, orders: &Value) -> Value {
        let mut args = orders.clone();
        args["effects"] = json!(self.effects.file());
        json!({"name": name, "id": id, "args": args})
    }

    /// Writes a record as if another worker had left it.
    pub(crate) async fn plant(&self, record: Value) {
        let next: sqjobs::Record = serde_json::from_value(record).expect("a record");
        let answers = self.store().write(&[Write::insert(next)]).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }

    /// Writes or removes an attribute of a record directly, without any check.
    pub(crate) async fn edit(&self, id: &str, name: &str, value: Option<AttributeValue>) {
        let update = self.account.dynamodb.update_item().table_name(TABLE).key("id", AttributeValue::S(id.to_owned()));
        let update = update.expression_attribute_names("#name", name);
        let update = match value {
            Some(value) => update.update_expression("SET #name = :value").expression_attribute_values(":value", value),
            None => update.update_expression("REMOVE #name"),
        };
        update.send().await.expect("the table takes an attribute");
    }

    /// Writes many records of filed jobs.
    pub(crate) async fn plant_many(&self, records: impl IntoIterator<Item = Value>) {
        let records = records.into_iter().map(|record| serde_json::from_value::<sqjobs::Record>(record).expect("a record"));
        let answers = self.store().write(&records.map(Write::insert).collect::<Vec<_>>()).await;
        assert!(answers.iter().all(Result::is_ok), "every record is written");
    }

    /// Writes many complete rows to the table of the schedules.
    pub(crate) async fn schedule_many(&self, rows: &[Value]) {
        for rows in rows.chunks(25) {
            let put = |row| PutRequest::builder().set_item(Some(serde_dynamo::to_item(row).expect("a row"))).build().expect("complete");
            let puts = rows.iter().map(|row| WriteRequest::builder().put_request(put(row)).build()).collect();
            self.account.dynamodb.batch_write_item().request_items(SCHEDULES, puts).send().await.expect("the table takes rows");
        }
    }

    /// Writes a schedule as any language can; the next tick examines it.
    pub(crate) async fn schedule(&self, mut row: Value) {
        row["due"] = json!("due#0");
        row["next_fire"] = json!("0");
        let item = serde_dynamo::to_item(row).expect("a row");
        self.account.dynamodb.put_item().table_name(SCHEDULES).set_item(Some(item)).send().await.expect("the table takes a row");
    }

    /// Returns the stored row of a schedule.
    pub(crate) async fn scheduled(&self, id: &str) -> Option<Value> {
        let get = self.account.dynamodb.get_item().table_name(SCHEDULES).key("id", AttributeValue::S(id.to_owned()));
        let item = get.consistent_read(true).send().await.expect("the table answers").item?;
        Some(serde_dynamo::from_item(item).expect("a row"))
    }

    /// Sends one message and returns its message id.
    pub(crate) async fn send(&self, body: impl ToString) -> String {
        let send = self.account.sqs.send_message().queue_url(&self.queues.url).message_body(body.to_string());
        send.send().await.expect("the queue takes a message").message_id.expect("the queue gave it an id")
    }

    /// Sends one message with a text attribute.
    pub(crate) async fn send_with(&self, body: &Value, name: &str, value: &str) {
        let send = self.account.sqs.send_message().queue_url(&self.queues.url).message_body(body.to_string());
        send.message_attributes(name, text_attribute(value)).send().await.expect("the queue takes a message");
    }

    /// Sends any number of messages, ten at a time.
    pub(crate) async fn send_all(&self, bodies: &[Value]) {
        for bodies in bodies.chunks(10) {
            self.send_together(bodies).await;
        }
    }

    /// Sends up to ten messages in one request.
    pub(crate) async fn send_together(&self, bodies: &[Value]) {
        self.send_batch(bodies.iter().map(|body| (None, body))).await;
    }

    /// Sends up to ten messages, each to its message group.
    pub(crate) async fn send_in_groups(&self, bodies: &[(&str, Value)]) {
        self.send_batch(bodies.iter().map(|(group, body)| (Some(*group), body))).await;
    }

    async fn send_batch(&self, messages: impl Iterator<Item = (Option<&str>, &Value)>) {
        let entries = messages.enumerate().map(|(number, (group, body))| {
            let entry = SendMessageBatchRequestEntry::builder().id(number.to_string()).message_body(body.to_string());
            let entry = entry.set_message_deduplication_id(group.map(|_| Uuid::new_v4().to_string()));
            entry.set_message_group_id(group.map(str::to_owned)).build().expect("the entry is complete")
        });
        let batch = self.account.sqs.send_message_batch().queue_url(&self.queues.url).set_entries(Some(entries.collect()));
        let answer = batch.send().await.expect("the queue takes a batch");
        assert!(answer.failed.is_empty(), "the queue takes every message: {:?}", answer.failed);
    }

    /// Makes SQS move messages to the dead-letter queue after `receives` receives.
    pub(crate) async fn give_up_after(&self, receives: u32) {
        let attributes =
            self.account.sqs.get_queue_attributes().queue_url(&self.queues.dlq_url).attribute_names(QueueAttributeName::QueueArn);
        let attributes = attributes.send().await.expect("the queue answers").attributes.expect("it has an ARN");
        let policy = json!({"deadLetterTargetArn": attributes[&QueueAttributeName::QueueArn], "maxReceiveCount": receives}).to_string();
        let set = self.account.sqs.set_queue_attributes().queue_url(&self.queues.url).attributes(QueueAttributeName::RedrivePolicy, policy);
        set.send().await.expect("the queue takes a policy");
    }

    /// Receives messages without deleting them until SQS has moved `more` messages to the dead-letter queue.
    pub(crate) async fn receive_until_moved(&self, more: usize) {
        let before = self.dead_letters().await.len();
        wait::until("messages are moved", PATIENCE, async || {
            let receive = self.account.sqs.receive_message().queue_url(&self.queues.url).visibility_timeout(0).wait_time_seconds(0);
            receive.send().await.expect("the queue answers");
            let letters = self.dead_letters().await.len();
            if letters == before + more { Ok(()) } else { Err(format!("{letters} dead letters")) }
        })
        .await;
    }

    /// Redrives a dead letter to its queue as the redrive tools do: same body, same attributes, a new message.
    pub(crate) async fn redrive(&self, letter: &Message) {
        let attributes: HashMap<_, _> = letter.attributes.iter().map(|(name, value)| (name.clone(), text_attribute(value))).collect();
        let send = self.account.sqs.send_message().queue_url(&self.queues.url).message_body(&letter.body);
        send.set_message_attributes(Some(attributes)).send().await.expect("the queue takes a message");
    }
}

/// Inspects the world.
impl World {
    /// Returns the stored record of a job.
    pub(crate) async fn record(&self, id: &str) -> Option<Record> {
        let get = self.account.dynamodb.get_item().table_name(TABLE).key("id", AttributeValue::S(id.to_owned()));
        get.consistent_read(true).send().await.expect("the table answers").item.map(Record::from_item)
    }

    /// Returns the stored attributes of a record, readable or not.
    pub(crate) async fn item(&self, id: &str) -> HashMap<String, AttributeValue> {
        let get = self.account.dynamodb.get_item().table_name(TABLE).key("id", AttributeValue::S(id.to_owned()));
        get.consistent_read(true).send().await.expect("the table answers").item.unwrap_or_default()
    }

    /// Returns every record by id.
    pub(crate) async fn records(&self) -> BTreeMap<String, Record> {
        let mut pages = self.account.dynamodb.scan().table_name(TABLE).consistent_read(true).into_paginator().items().send();
        let mut records = BTreeMap::new();
        while let Some(item) = pages.next().await {
            let item = item.expect("the table answers");
            let id = item["id"].as_s().expect("an id").clone();
            if id.contains('\u{1f}') {
                continue; // an item of an index or a counter
            }
            records.insert(id, Record::from_item(item));
        }
        records
    }

    /// Returns all messages in the queue, including invisible ones.
    pub(crate) async fn messages(&self) -> Vec<Message> {
        self.messages_in(&self.queues.url).await
    }

    /// Returns the messages in the dead-letter queue.
    pub(crate) async fn dead_letters(&self) -> Vec<Message> {
        self.messages_in(&self.queues.dlq_url).await
    }

    pub(crate) async fn messages_in(&self, queue_url: &str) -> Vec<Message> {
        self.stack.messages(&self.account.id, queue_url).await.iter().map(Message::from_shown).collect()
    }

    /// Returns the processes of a function.
    pub(crate) fn processes(&self, function: &Function) -> Vec<u32> {
        let variable = format!("AWS_LAMBDA_FUNCTION_NAME={}", self.account.name(function)).into_bytes();
        let runs = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == variable)
        };
        let all = fs::read_dir("/proc").expect("this is Linux").flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(runs).collect()
    }

    /// Returns the stack's log lines about invocations that it stopped or that ended without a response.
    pub(crate) fn broken_invocations(&self) -> Vec<String> {
        let lines = self.stack.log_lines(&self.account.id);
        lines.into_iter().filter(|line| line.contains("timed out") || line.contains("exited before")).collect()
    }

    /// Returns the log lines of a function so far.
    pub(crate) async fn printed(&self, function: &Function) -> Vec<String> {
        if polled::is_asked_for() && function.bootstrap != "beater" {
            let polled = self.polled.lock().expect("nobody panics with it");
            return polled.iter().filter(|polled| polled.bootstrap == function.bootstrap).flat_map(Polled::printed).collect();
        }
        self.stack.printed(&self.account.id, &self.account.name(function)).await
    }

    /// Returns the variables that let another program use this world, its queue and its table.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let ours = [("SQJOBS_TABLE", TABLE), ("SQJOBS_QUEUE_URL", &self.queues.url)];
        self.account.variables().into_iter().chain(ours)
    }

    /// Returns the Python with a client of the stack's services.
    pub(crate) fn python(&self) -> &Path {
        &self.stack.python
    }

    /// Returns everything that explains a failed test: messages, runs, requests, and the last lines of the logs.
    async fn report(&self) -> String {
        let mut lines = vec![
            format!("--- account {}", self.account.id),
            format!("queue: {:#?}", self.messages().await),
            format!("dead letters: {:#?}", self.dead_letters().await),
            format!("runs: {:#?}", self.effects.runs()),
            format!("broken invocations: {:#?}", self.broken_invocations()),
        ];
        lines.extend(self.proxy.passed("").iter().map(ToString::to_string));
        for function in self.account.functions().await {
            let printed = self.stack.printed(&self.account.id, &function).await;
            lines.push(format!("{function} printed last:"));
            lines.extend(printed[printed.len().saturating_sub(60)..].iter().cloned());
        }
        lines.join("\n")
    }
}

/// Waits for conditions in the world.
impl World {
    /// Waits until a job's record satisfies `enough`, and returns it.
    pub(crate) async fn record_when(&self, id: &str, what: &str, enough: impl Fn(&Record) -> bool) -> Record {
        wait::until(&format!("{id} {what}"), PATIENCE, async || match self.record(id).await {
            Some(record) if enough(&record) => Ok(record),
            other => Err(format!("{other:?}")),
        })
        .await
    }

    /// Waits until a job's record has this state, and returns it.
    pub(crate) async fn record_in(&self, id: &str, state: &str) -> Record {
        self.record_when(id, &format!("is {state}"), |record| record.state == state).await
    }

    /// Waits until the messages of the queue satisfy `enough`, and returns them.
    pub(crate) async fn messages_when(&self, what: &str, enough: impl Fn(&[Message]) -> bool) -> Vec<Message> {
        wait::until(&format!("the queue {what}"), PATIENCE, async || {
            let messages = self.messages().await;
            if enough(&messages) { Ok(messages) } else { Err(format!("{messages:?}")) }
        })
        .await
    }

    /// Waits until every message is deleted.
    pub(crate) async fn drained(&self) {
        self.messages_when("is empty", <[Message]>::is_empty).await;
    }

    /// Waits for `count` dead letters, and returns them.
    pub(crate) async fn dead_letters_when(&self, count: usize) -> Vec<Message> {
        wait::until(&format!("there are {count} dead letters"), PATIENCE, async || {
            let letters = self.dead_letters().await;
            if letters.len() == count { Ok(letters) } else { Err(format!("{letters:?}")) }
        })
        .await
    }
}

fn text_attribute(value: &str) -> MessageAttributeValue {
    let attribute = MessageAttributeValue::builder().data_type("String").string_value(value);
    attribute.build().expect("the attribute is complete")
}
