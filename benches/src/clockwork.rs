//! The data that only a beater requests: due jobs and the rows of schedules.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A fixed number of due jobs and a table of schedules.
#[derive(Debug, Default)]
pub(crate) struct Clockwork {
    jobs: usize,
    /// Rows by id, each attribute in the format of DynamoDB.
    rows: BTreeMap<String, Value>,
}

/// Prefix of the ids of due jobs.
const JOB: &str = "due-";
/// Number of shards of an index.
const SHARDS: usize = 16;

impl Clockwork {
    /// Creates `jobs` due jobs and `schedules` schedules. The first `minutely` schedules fire each minute, the others in years.
    pub(crate) fn new(jobs: usize, schedules: usize, minutely: usize) -> Self {
        let row = |number: usize| {
            let id = format!("schedule-{number}");
            let cron = if number < minutely { "* * * * *" } else { "0 0 1 1 *" };
            let next_fire = if number < minutely { "0" } else { "2199-01-01T00:00:00.000Z" };
            let texts = [("id", &*id), ("cron", cron), ("timezone", "Europe/Madrid"), ("job", "adder"), ("next_fire", next_fire)];
            let mut row: serde_json::Map<_, _> = texts.iter().map(|(name, text)| ((*name).to_owned(), json!({"S": text}))).collect();
            row.insert("due".into(), json!({"S": format!("due#{}", number % SHARDS)}));
            row.insert("args".into(), json!({"L": [{"N": "1"}, {"N": "2"}]}));
            (id, Value::Object(row))
        };
        Self { jobs, rows: (0..schedules).map(row).collect() }
    }

    /// Answers requests that only a beater makes.
    pub(crate) fn answer(&mut self, operation: &str, request: &Value) -> Option<Value> {
        match operation {
            "DescribeTable" => Some(json!({"Table": {"TableSizeBytes": 0}})),
            "Scan" => Some(json!({"Items": []})),
            "Query" => Some(json!({"Items": self.due(request)})),
            "TransactWriteItems" => {
                self.put(request);
                Some(json!({}))
            }
            "BatchGetItem" => jobs(request),
            "BatchExecuteStatement" if self.jobs > 0 => {
                let marks = request["Statements"].as_array().map_or(0, Vec::len);
                Some(json!({"Responses": vec![json!({}); marks]}))
            }
            _ => None,
        }
    }

    fn due(&self, request: &Value) -> Vec<Value> {
        let values = &request["ExpressionAttributeValues"];
        let (shard, until) = (&values[":shard"], values[":until"]["S"].as_str().unwrap_or_default());
        if request["TableName"] == "schedules" {
            let is_due = |row: &&Value| row["due"] == *shard && row["next_fire"]["S"].as_str().is_some_and(|next| next <= until);
            return self.rows.values().filter(is_due).cloned().collect();
        }
        let is_there = |number: &usize| shard["S"] == format!("due#{}", number % SHARDS);
        (0..self.jobs).filter(is_there).map(|number| json!({"id": {"S": format!("{JOB}{number}")}})).collect()
    }

    fn put(&mut self, request: &Value) {
        for part in request["TransactItems"].as_array().into_iter().flatten() {
            let put = &part["Put"];
            if let Some(id) = put["Item"]["id"]["S"].as_str().filter(|_| put["TableName"] == "schedules") {
                self.rows.insert(id.to_owned(), put["Item"].clone());
            }
        }
    }
}

/// Returns the records of due jobs. All other reads are answered by the table.
fn jobs(request: &Value) -> Option<Value> {
    let keys = request["RequestItems"]["jobs"]["Keys"].as_array()?;
    let ids: Vec<_> = keys.iter().filter_map(|key| key["id"]["S"].as_str()).collect();
    if ids.is_empty() || !ids.iter().all(|id| id.starts_with(JOB)) {
        return None;
    }
    let record = |id: &str| {
        let number: usize = id.trim_start_matches(JOB).parse().unwrap_or_default();
        json!({
            "id": {"S": id}, "name": {"S": "adder"}, "queue": {"S": "adder"}, "state": {"S": "scheduled"},
            "run_at": {"S": "2026-01-01T00:00:00.000Z"}, "due": {"S": format!("due#{}", number % SHARDS)}, "owner": {"S": "filer"},
            "envelope": {"S": format!(r#"{{"name":"adder","id":"{id}","args":[1,2,3]}}"#)},
        })
    };
    Some(json!({"Responses": {"jobs": ids.into_iter().map(record).collect::<Vec<_>>()}, "UnprocessedKeys": {}}))
}
