//! The referee finds planted violations, and none in correct requests.

use hyper::{Method, Request, body::Bytes, header::AUTHORIZATION};
use serde_json::{Value, json};

use super::Referee;
use crate::world::World;

/// Returns all violations of a request, one per line.
fn judged(request: &Request<Bytes>) -> String {
    let violations: Vec<_> = Referee::shared().judge(request).iter().map(ToString::to_string).collect();
    violations.join("\n")
}

fn signed(service: &str, method: Method, path: &str, target: &str, body: String) -> Request<Bytes> {
    let credential =
        format!("AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=none");
    let request = Request::builder().method(method).uri(path).header(AUTHORIZATION, credential).header("x-amz-target", target);
    request.body(Bytes::from(body)).expect("the request is well formed")
}

fn sqs(operation: &str, mut input: Value) -> Request<Bytes> {
    if input["QueueName"].is_null() {
        let queue = input["QueueUrl"].as_str().unwrap_or("jobs").to_owned();
        input["QueueUrl"] = json!(format!("http://localhost/000000000000/{queue}"));
    }
    signed("sqs", Method::POST, "/", &format!("AmazonSQS.{operation}"), input.to_string())
}

fn dynamodb(operation: &str, input: &Value) -> Request<Bytes> {
    signed("dynamodb", Method::POST, "/", &format!("DynamoDB_20120810.{operation}"), input.to_string())
}

fn events(operation: &str, input: &Value) -> Request<Bytes> {
    signed("events", Method::POST, "/", &format!("AWSEvents.{operation}"), input.to_string())
}

fn lambda(method: Method, path: &str, input: &Value) -> Request<Bytes> {
    signed("lambda", method, path, "", if input.is_null() { String::new() } else { input.to_string() })
}

fn iam(form: &str) -> Request<Bytes> {
    signed("iam", Method::POST, "/", "", form.to_owned())
}

fn insert(id: &str) -> Value {
    json!({"Statement": r#"INSERT INTO "jobs" VALUE {'id': ?, 'state': ?}"#, "Parameters": [{"S": id}, {"S": "running"}]})
}

fn update(id: &str) -> Value {
    json!({"Statement": r#"UPDATE "jobs" SET "state"=? WHERE "id"=? AND "owner" IS MISSING"#, "Parameters": [{"S": "failed"}, {"S": id}]})
}

fn put(id: &str) -> Value {
    json!({"PutRequest": {"Item": {"id": {"S": id}, "meta": {"M": {"N": {"S": ""}, "id": {"S": ""}}}}}})
}

#[test]
fn the_referee_finds_every_planted_violation() {
    let attributes: serde_json::Map<_, _> =
        (0..11).map(|number| (format!("a{number}"), json!({"DataType": "String", "StringValue": "x"}))).collect();
    let half = "x".repeat(600_000);
    let planted = [
        // Rules of the models
        (sqs("SendMessage", json!({})), "sqs.SendMessage: : \"MessageBody\" is a required property"),
        (sqs("SendMessage", json!({"MessageBody": "{}", "Delay": 1})), "'Delay' was unexpected"),
        (sqs("SendMessages", json!({})), "the service has no operation SendMessages"),
        (dynamodb("BatchExecuteStatement", &json!({"Statements": []})), "/Statements: [] has less than 1 item"),
        (dynamodb("GetItem", &json!({"TableName": "a table", "Key": {"id": {"S": "a"}}})), "/TableName: \"a table\" is no name of a table"),
        (dynamodb("GetItem", &json!({"TableName": "jobs", "Key": {"id": {"S": "a", "N": "1"}}})), "/Key/id: "),
        (dynamodb("PutItem", &json!({"TableName": "jobs", "Item": {}, "ReturnValues": "SOME"})), "/ReturnValues: \"SOME\" is not one of"),
        (dynamodb("Scan", &json!({"TableName": "jobs", "Limit": 0})), "/Limit: 0 is less than the minimum of 1"),
        (events("PutRule", &json!({"Name": "every minute"})), "events.PutRule: /Name: \"every minute\" does not match"),
        (lambda(Method::GET, "/2015-03-31/functions/?MaxItems=0", &Value::Null), "lambda.ListFunctions: /MaxItems: 0 is less than"),
        (iam("Action=GetRole&Version=2010-05-08&RoleName=a+role"), "iam.GetRole: /RoleName: \"a role\" does not match"),
        (signed("glacier", Method::GET, "/", "", String::new()), "no model of the service \"glacier\""),
        // Rules of the documentation
        (sqs("SendMessage", json!({"MessageBody": "{}", "DelaySeconds": 901})), "/DelaySeconds: 901 is not within 0 and 900"),
        (sqs("SendMessage", json!({"MessageBody": "a\u{ffff}"})), "/MessageBody: it holds Some('\\u{ffff}')"),
        (sqs("SendMessage", json!({"MessageBody": "{}", "MessageAttributes": attributes})), "/MessageAttributes: 11 are more than 10"),
        (
            sqs("SendMessage", json!({"MessageBody": "{}", "MessageAttributes": {"aws.id": {"DataType": "String", "StringValue": "x"}}})),
            "/MessageAttributes/aws.id: SQS refuses the name",
        ),
        (sqs("SendMessage", json!({"QueueUrl": "jobs.fifo", "MessageBody": "{}"})), "/MessageGroupId: a FIFO queue needs it"),
        (sqs("SendMessage", json!({"MessageBody": "{}", "MessageGroupId": "a b"})), "/MessageGroupId: \"a b\" is not 1 to 128"),
        (
            sqs("SendMessageBatch", json!({"Entries": [{"Id": "1", "MessageBody": half}, {"Id": "2", "MessageBody": half}]})),
            "/Entries: 1200000 bytes are more than 1048576",
        ),
        (
            sqs("DeleteMessageBatch", json!({"Entries": [{"Id": "1", "ReceiptHandle": "a"}, {"Id": "1", "ReceiptHandle": "b"}]})),
            "/Entries: 1 stands there twice",
        ),
        (
            sqs("ChangeMessageVisibilityBatch", json!({"Entries": [{"Id": "1", "ReceiptHandle": "a", "VisibilityTimeout": 43_201}]})),
            "/Entries/0/VisibilityTimeout: 43201 is not within 0 and 43200",
        ),
        (sqs("ReceiveMessage", json!({})), "/WaitTimeSeconds: it is missing"),
        (sqs("CreateQueue", json!({"QueueName": "jobs", "Attributes": {"DelaySeconds": "901"}})), "/Attributes/DelaySeconds: "),
        (
            dynamodb("BatchExecuteStatement", &json!({"Statements": [insert("a"), update("a")]})),
            "/Statements: jobs {\"S\":\"a\"} stands there twice",
        ),
        (dynamodb("BatchExecuteStatement", &json!({"Statements": vec![insert("a"); 26]})), "/Statements: 26 are more than 25"),
        (
            dynamodb("BatchGetItem", &json!({"RequestItems": {"jobs": {"Keys": [{"id": {"S": "a"}}, {"id": {"S": "a"}}]}}})),
            "/RequestItems: jobs {\"S\":\"a\"} stands there twice",
        ),
        (dynamodb("BatchWriteItem", &json!({"RequestItems": {"jobs": [put("a"), put("b"), put("a")]}})), "stands there twice"),
        (
            dynamodb("BatchWriteItem", &json!({"RequestItems": {"jobs": (0..26).map(|id| put(&id.to_string())).collect::<Vec<_>>()}})),
            "/RequestItems: 26 are more than 25",
        ),
        (
            dynamodb(
                "TransactWriteItems",
                &json!({"TransactItems": vec![json!({"Put": {"TableName": "jobs", "Item": {"id": {"S": "a"}}}}); 2]}),
            ),
            "/TransactItems: jobs {\"S\":\"a\"} stands there twice",
        ),
        (dynamodb("GetItem", &json!({"TableName": "jobs", "Key": {"id": {"S": ""}}})), "/Key/id: 0 bytes are not 1 to 2048"),
        (
            dynamodb("Scan", &json!({"TableName": "jobs", "ExpressionAttributeNames": {"#state": "state"}})),
            "/#state: a placeholder is not used, or not defined",
        ),
        (
            events("PutRule", &json!({"Name": "minute", "ScheduleExpression": "rate(1 minutes)"})),
            "/ScheduleExpression: \"minutes\" does not fit \"1\"",
        ),
        (
            lambda(
                Method::PUT,
                "/2015-03-31/functions/f/configuration",
                &json!({"Environment": {"Variables": {"LIST": "x".repeat(4093)}}}),
            ),
            "lambda.UpdateFunctionConfiguration: /Environment/Variables: 4097 bytes are more than 4096",
        ),
        (
            iam(&format!("Action=PutRolePolicy&RoleName=r&PolicyName=p&PolicyDocument=%22{}%22", "x".repeat(10_240))),
            "/PolicyDocument: 10242 are more than 10240",
        ),
    ];
    for (request, named) in &planted {
        let found = judged(request);
        assert!(found.contains(named), "{named:?} is not in {found:?}");
    }
}

#[test]
fn the_referee_finds_nothing_in_requests_that_are_right() {
    let attributes = json!({"sqjobs.id": {"DataType": "String", "StringValue": "a"}});
    let key = json!({"id": {"S": "a"}});
    let right = [
        sqs("SendMessage", json!({"MessageBody": "{\"a\": \"\t\u{e000}\"}", "DelaySeconds": 900, "MessageAttributes": attributes})),
        sqs(
            "SendMessageBatch",
            json!({"QueueUrl": "jobs.fifo", "Entries": [{"Id": "1", "MessageBody": "{}", "MessageGroupId": "g", "MessageDeduplicationId": "d"}]}),
        ),
        sqs("DeleteMessageBatch", json!({"Entries": [{"Id": "1", "ReceiptHandle": "a"}]})),
        sqs("ChangeMessageVisibilityBatch", json!({"Entries": [{"Id": "1", "ReceiptHandle": "a", "VisibilityTimeout": 43_200}]})),
        sqs("ReceiveMessage", json!({"WaitTimeSeconds": 0, "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"]})),
        sqs("CreateQueue", json!({"QueueName": "jobs.fifo", "Attributes": {"FifoQueue": "true", "VisibilityTimeout": "30"}})),
        dynamodb("BatchExecuteStatement", &json!({"Statements": [insert("a"), update("b")]})),
        dynamodb("BatchGetItem", &json!({"RequestItems": {"jobs": {"Keys": [key], "ConsistentRead": true}}})),
        dynamodb("BatchWriteItem", &json!({"RequestItems": {"jobs": [put("a"), put("b")], "schedules": [put("a")]}})),
        dynamodb("TransactWriteItems", &json!({"TransactItems": [{"Put": {"TableName": "jobs", "Item": key}}]})),
        dynamodb("GetItem", &json!({"TableName": "jobs", "Key": key})),
        dynamodb(
            "Query",
            &json!({"TableName": "jobs", "IndexName": "due", "Limit": 1, "KeyConditionExpression": "#due = :due AND run_at <= :now",
                "ExpressionAttributeNames": {"#due": "due"}, "ExpressionAttributeValues": {":due": {"S": "due#0"}, ":now": {"N": "-1.5e3"}}}),
        ),
        events("PutRule", &json!({"Name": "beater", "ScheduleExpression": "rate(1 minute)"})),
        events(
            "PutTargets",
            &json!({"Rule": "beater", "Targets": [{"Id": "1", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:b"}]}),
        ),
        lambda(Method::GET, "/2015-03-31/functions/?MaxItems=50", &Value::Null),
        lambda(Method::POST, "/2015-03-31/functions/f/invocations", &json!({"Records": []})),
        lambda(Method::PUT, "/2015-03-31/functions/f/configuration", &json!({"Timeout": 30, "Environment": {"Variables": {"ABC": "d"}}})),
        iam("Action=SimulatePrincipalPolicy&Version=2010-05-08&PolicySourceArn=arn%3Aaws%3Aiam%3A%3A000000000000%3Arole%2Fr\
            &ActionNames.member.1=sqs%3ASendMessage&ActionNames.member.2=sqs%3ADeleteMessage&MaxItems=10"),
        iam("Action=PutRolePolicy&Version=2010-05-08&RoleName=r&PolicyName=p&PolicyDocument=%7B%22Version%22%3A+%222012-10-17%22%7D"),
    ];
    for request in &right {
        assert_eq!(judged(request), "", "{request:?}");
    }
}

#[test]
fn the_referee_refuses_answers_that_fail_the_whole_batch() {
    let event = json!({"Records": [{"messageId": "a"}]});
    let judged = |id: Value| {
        let answer = json!({"batchItemFailures": [{"itemIdentifier": id}]});
        Referee::judge_answer(&event, &answer).iter().map(ToString::to_string).collect::<String>()
    };
    let of = "the answer of a function: /batchItemFailures/0/itemIdentifier: ";
    assert_eq!(judged(json!("a")), "");
    assert_eq!(judged(json!("")), format!("{of}it is empty"));
    assert_eq!(judged(Value::Null), format!("{of}it is empty"));
    assert_eq!(judged(json!("b")), format!("{of}Some(\"b\") was not delivered"));
}

#[test]
#[should_panic(expected = "sqs.ReceiveMessage: /WaitTimeSeconds: it is missing")]
fn a_test_whose_request_aws_would_refuse_fails() {
    World::setup().test(async |world| {
        let receive = world.account.sqs.receive_message().queue_url(&world.queues.url);
        receive.send().await.expect("the stack takes it");
    });
}
