//! Changes of links, with the set functions of PartiQL (DynamoDB developer guide, "PartiQL update statements for DynamoDB").

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::{AttributeValue, BatchStatementRequest, BatchStatementResponse, ReturnValuesOnConditionCheckFailure};
use futures_util::future::join_all;

use super::{
    AT_A_TIME, DynamoDb,
    error::{failed, incomplete, repeated},
    item::{record, text},
    statement::{Statement, number},
    write::{STATEMENTS, written},
};
use crate::{
    State,
    clock::rfc3339,
    store::{Link, Linked, StoreError, Written, capacity_for, most_holders},
};

impl DynamoDb {
    pub(super) async fn link_all(&self, links: &[Link]) -> Vec<Result<Linked, StoreError>> {
        let mut answers = Vec::with_capacity(links.len());
        for links in links.chunks(STATEMENTS * AT_A_TIME) {
            answers.extend(join_all(links.chunks(STATEMENTS).map(|links| self.link_some(links))).await.into_iter().flatten());
        }
        answers
    }

    async fn link_some(&self, links: &[Link]) -> Vec<Result<Linked, StoreError>> {
        let statements: Result<Vec<_>, _> = links.iter().map(|link| request(statement(&self.table, link))).collect();
        let statements = match statements {
            Ok(statements) => statements,
            Err(error) => return repeated(links.len(), &error),
        };
        match self.client.batch_execute_statement().set_statements(Some(statements)).send().await {
            Ok(answer) => {
                self.count_failed(answer.responses.as_deref());
                let answers = answer.responses.unwrap_or_default().into_iter().map(|answer| linked(&self.table, answer));
                answers.chain(std::iter::repeat_with(|| Err(incomplete()))).take(links.len()).collect()
            }
            Err(error) => repeated(links.len(), &failed(&self.table, error)),
        }
    }
}

fn request(Statement { text, parameters }: Statement) -> Result<BatchStatementRequest, StoreError> {
    BatchStatementRequest::builder()
        .statement(text)
        .set_parameters(Some(parameters))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()
        .map_err(|error| StoreError::Invalid(error.to_string()))
}

fn statement(table: &str, link: &Link) -> Statement {
    let set = |members: &BTreeSet<String>| Some(AttributeValue::Ss(members.iter().cloned().collect()));
    let state = |state: &State| Some(text(state.as_str()));
    let mut statement = Statement::update(table);
    match link {
        Link::Register { id, dependents, states } => {
            statement.add(r#" SET "dependents"=set_add("dependents", ?)"#, set(dependents));
            statement.add(r#" WHERE "id"=?"#, Some(text(id)));
            for (place, state) in states.iter().map(state).enumerate() {
                statement.add(if place == 0 { r#" AND "state" IN [?"# } else { ", ?" }, state);
            }
            // Without the attribute, the comparison is false.
            let most = AttributeValue::N(capacity_for(dependents).saturating_sub(dependents.len()).to_string());
            statement.add(r#"] AND NOT size("dependents") > ?"#, Some(most));
        }
        Link::Remove { id, dependencies } => {
            statement.add(r#" SET "blocked_on"=set_delete("blocked_on", ?)"#, set(dependencies));
            statement.add(r#" WHERE "id"=?"#, Some(text(id)));
            statement.add(r#" AND "state"=?"#, state(&State::Blocked));
        }
        Link::Take { id, holder, state: required, limit, fixed_limit, purge_at } => {
            statement.add(r#" SET "holders"=set_add("holders", ?)"#, set(&[holder.clone()].into()));
            statement.add(r#" SET "purge_at"=?"#, Some(number(*purge_at)));
            statement.add(r#" SET "limit"=?"#, Some(number(*limit)));
            statement.add(r#" WHERE "id"=?"#, Some(text(id)));
            statement.add(r#" AND "state"=?"#, state(required));
            statement.add(
                if fixed_limit.is_some() { r#" AND "fixed_limit"=?"# } else { r#" AND "fixed_limit" IS MISSING"# },
                fixed_limit.map(number),
            );
            // Without the attribute, the comparison is false.
            match most_holders(*limit, *fixed_limit) {
                0 => statement.add(r#" AND "state" IS MISSING"#, None), // no job may hold it
                most => statement.add(r#" AND NOT size("holders") >= ?"#, Some(number(most))),
            }
        }
        Link::Give { id, holders } => {
            statement.add(r#" SET "holders"=set_delete("holders", ?)"#, set(holders));
            statement.add(r#" WHERE "id"=?"#, Some(text(id)));
        }
        Link::Limit { id, fixed_limit, purge_at } => {
            statement.add(r#" SET "purge_at"=?"#, Some(number(*purge_at)));
            match fixed_limit {
                Some(limit) => statement.add(r#" SET "fixed_limit"=?"#, Some(number(*limit))),
                None => statement.add(r#" REMOVE "fixed_limit""#, None),
            }
            statement.add(r#" WHERE "id"=?"#, Some(text(id)));
        }
        Link::Await { id, owner, due, limit, at, purge_at } => {
            statement.add(r#" SET "state"=?"#, state(&State::Blocked));
            statement.add(r#" SET "owner"=?"#, Some(text(owner)));
            statement.add(r#" SET "due"=?"#, Some(text(due)));
            if let Some(limit) = limit {
                statement.add(r#" SET "limit"=?"#, Some(number(*limit)));
            }
            statement.add(r#" SET "run_at"=?"#, Some(text(&rfc3339::text(*at))));
            statement.add(r#" SET "purge_at"=?"#, Some(number(*purge_at)));
            statement.add(r#" WHERE "id"=?"#, Some(text(id)));
        }
        Link::Tag { id, name, seen, tags: next } => {
            let next = tags(next);
            statement.add(if next.is_some() { r#" SET "tags"=?"# } else { r#" REMOVE "tags""# }, next);
            statement.add(r#" WHERE "id"=?"#, Some(text(id)));
            statement.add(r#" AND "name"=?"#, Some(text(name)));
            let seen = tags(seen);
            statement.add(if seen.is_some() { r#" AND "tags"=?"# } else { r#" AND "tags" IS MISSING"# }, seen);
        }
    }
    statement.text += " RETURNING ALL NEW *";
    statement
}

/// Returns tags as a record has them. A record without tags lacks the attribute.
fn tags(tags: &[String]) -> Option<AttributeValue> {
    (!tags.is_empty()).then(|| AttributeValue::L(tags.iter().map(|tag| text(tag)).collect()))
}

fn linked(table: &str, mut answer: BatchStatementResponse) -> Result<Linked, StoreError> {
    let item = answer.item.take();
    match written(table, answer)? {
        Written::Done => Ok(Linked::Done(Box::new(record(item.ok_or_else(incomplete)?)?))),
        Written::Refused(stored) => Ok(Linked::Refused(stored)),
    }
}
