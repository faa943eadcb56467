//! The table of the answerer: the subset of DynamoDB that the subjects use.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// An item, with each attribute in the format of DynamoDB: `{"S": "text"}`.
type Item = Map<String, Value>;

/// Items by their key `id`. The name of the table is ignored.
#[derive(Debug, Default)]
pub(crate) struct Table(HashMap<String, Item>);

/// An error of a whole request: its type, and the existing item that caused it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: &'static str,
    pub(crate) item: Option<Value>,
}

impl Table {
    /// Answers a request by its operation.
    pub(crate) fn answer(&mut self, operation: &str, request: &Value) -> Result<Value, Refusal> {
        match operation {
            "BatchExecuteStatement" => Ok(self.execute_all(request)),
            "BatchGetItem" => Ok(self.get_all(request)),
            "GetItem" => Ok(self.0.get(id_of(&request["Key"])).map_or_else(|| json!({}), |item| json!({"Item": item}))),
            "PutItem" => self.put(request),
            "UpdateItem" => Ok(self.update(request)),
            "DeleteItem" => {
                self.0.remove(id_of(&request["Key"]));
                Ok(json!({}))
            }
            _ => Err(Refusal { kind: "UnknownOperationException", item: None }),
        }
    }

    fn execute_all(&mut self, request: &Value) -> Value {
        let statements = request["Statements"].as_array().into_iter().flatten();
        let responses: Vec<_> = statements.map(|statement| self.execute(statement)).collect();
        json!({"Responses": responses})
    }

    fn execute(&mut self, request: &Value) -> Value {
        let statement = request["Statement"].as_str().unwrap_or_default();
        let mut parameters = request["Parameters"].as_array().into_iter().flatten().cloned();
        if statement.starts_with("INSERT") {
            let names = statement.split('\'').skip(1).step_by(2).map(str::to_owned);
            return self.insert(names.zip(parameters).collect());
        }
        let (changes, conditions) = statement.split_once(" WHERE ").unwrap_or((statement, ""));
        let changes: Vec<_> = changes.split_whitespace().skip(2).collect();
        let changes: Vec<_> =
            changes.chunks_exact(2).map(|change| (name(change[1]), if change[0] == "SET" { parameters.next() } else { None })).collect();
        let conditions: Vec<_> =
            conditions.split(" AND ").map(|text| (name(text), if text.ends_with('?') { parameters.next() } else { None })).collect();
        let id = conditions.iter().find(|(name, _)| *name == "id").and_then(|(_, id)| id.as_ref()).map(text).unwrap_or_default();
        match self.0.get_mut(id) {
            Some(item) if conditions.iter().all(|(name, value)| item.get(*name) == value.as_ref()) => {
                change(item, changes);
                json!({})
            }
            other => json!({"Error": {"Code": "ConditionalCheckFailed", "Message": "refused", "Item": other}}),
        }
    }

    fn insert(&mut self, item: Item) -> Value {
        let id = item.get("id").map(text).unwrap_or_default().to_owned();
        if self.0.contains_key(&id) {
            return json!({"Error": {"Code": "DuplicateItem", "Message": "an item of this key exists"}});
        }
        self.0.insert(id, item);
        json!({})
    }

    fn get_all(&self, request: &Value) -> Value {
        let tables = request["RequestItems"].as_object().into_iter().flatten();
        let found = tables.map(|(table, wanted)| {
            let keys = wanted["Keys"].as_array().into_iter().flatten();
            let items: Vec<_> = keys.filter_map(|key| self.0.get(id_of(key))).collect();
            (table.clone(), json!(items))
        });
        json!({"Responses": found.collect::<Map<_, _>>(), "UnprocessedKeys": {}})
    }

    /// Writes an item if it does not exist. All conditions that the subjects set on a put mean the same.
    fn put(&mut self, request: &Value) -> Result<Value, Refusal> {
        let item = request["Item"].as_object().cloned().unwrap_or_default();
        let id = item.get("id").map(text).unwrap_or_default().to_owned();
        if let Some(stored) = self.0.get(&id) {
            return Err(Refusal { kind: "ConditionalCheckFailedException", item: Some(json!(stored)) });
        }
        self.0.insert(id, item);
        Ok(json!({}))
    }

    fn update(&mut self, request: &Value) -> Value {
        let expression = request["UpdateExpression"].as_str().unwrap_or_default().trim_start_matches("SET ");
        let changes = expression.split(',').filter_map(|part| part.split_once('='));
        let changes = changes.map(|(name, value)| {
            let name = name.trim();
            (
                request["ExpressionAttributeNames"][name].as_str().unwrap_or(name),
                request["ExpressionAttributeValues"].get(value.trim()).cloned(),
            )
        });
        if let Some(item) = self.0.get_mut(id_of(&request["Key"])) {
            change(item, changes.collect());
        }
        json!({})
    }
}

fn change(item: &mut Item, changes: Vec<(&str, Option<Value>)>) {
    for (name, value) in changes {
        match value {
            Some(value) => item.insert(name.to_owned(), value),
            None => item.remove(name),
        };
    }
}

/// Returns the name in double quotes at the start of a text.
fn name(text: &str) -> &str {
    text.split('"').nth(1).unwrap_or_default()
}

fn id_of(key: &Value) -> &str {
    text(&key["id"])
}

fn text(value: &Value) -> &str {
    value["S"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execute(table: &mut Table, statement: &str, parameters: &Value) -> Value {
        let request = json!({"Statements": [{"Statement": statement, "Parameters": parameters}]});
        table.answer("BatchExecuteStatement", &request).expect("an answer")["Responses"][0].clone()
    }

    #[test]
    fn a_statement_is_refused_where_its_condition_does_not_hold() {
        let mut table = Table::default();
        let insert = r#"INSERT INTO "jobs" VALUE {'id': ?, 'state': ?, 'lease': ?}"#;
        let item = json!([{"S": "a"}, {"S": "running"}, {"N": "1"}]);
        assert_eq!(execute(&mut table, insert, &item), json!({}));
        assert_eq!(execute(&mut table, insert, &item)["Error"]["Code"], "DuplicateItem");

        let update = r#"UPDATE "jobs" SET "state"=? REMOVE "lease" WHERE "id"=? AND "state"=? AND "dlq" IS MISSING"#;
        let change = json!([{"S": "done"}, {"S": "a"}, {"S": "running"}]);
        assert_eq!(execute(&mut table, update, &change), json!({}));
        assert_eq!(execute(&mut table, update, &change)["Error"]["Item"], json!({"id": {"S": "a"}, "state": {"S": "done"}}));
    }

    #[test]
    fn an_item_is_put_once_and_updated() {
        let mut table = Table::default();
        let put = json!({"Item": {"id": {"S": "a"}, "status": {"S": "INPROGRESS"}}});
        assert!(table.answer("PutItem", &put).is_ok());
        assert_eq!(table.answer("PutItem", &put).expect_err("it is there").item, Some(put["Item"].clone()));
        let update = json!({
            "Key": {"id": {"S": "a"}},
            "UpdateExpression": "SET #status = :status",
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": {":status": {"S": "COMPLETED"}},
        });
        table.answer("UpdateItem", &update).expect("updated");
        let got = table.answer("GetItem", &json!({"Key": {"id": {"S": "a"}}})).expect("read");
        assert_eq!(got["Item"]["status"]["S"], "COMPLETED");
    }
}
