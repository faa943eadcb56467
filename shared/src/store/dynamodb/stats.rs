//! Statistics as items in the table of records: one for each queue, day and process, in the list of its day.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::{AttributeValue, BatchStatementErrorCodeEnum as Code, BatchStatementRequest, BatchStatementResponse};
use jiff::{Timestamp, civil::Date};

use super::{item::text, list::SEPARATOR, statement::Statement};
use crate::{
    clock::{after, rfc3339},
    stats::{Kept, Share},
    store::StoreError,
};

/// Time for which the table keeps the statistics of a day.
const DAYS: std::time::Duration = std::time::Duration::from_hours(24 * 32);

/// Returns the name of the list of a day.
pub(super) fn list(day: Date) -> String {
    format!("stats#{day}")
}

/// Returns the statement that writes all values of a share, unless the table has a newer one.
pub(super) fn statement(table: &str, share: &Share, now: Timestamp) -> Result<BatchStatementRequest, StoreError> {
    let invalid = |error: String| StoreError::Invalid(error);
    let Share { process, queue, day, tally, version, exists } = share;
    let id = format!("{}{SEPARATOR}{queue}{SEPARATOR}{process}", list(*day));
    let number = |number: i128| AttributeValue::N(number.to_string());
    let tally: HashMap<String, AttributeValue> = serde_dynamo::to_item(tally).map_err(|error| invalid(error.to_string()))?;
    let mut tally: BTreeMap<_, _> = tally.into_iter().collect();
    tally.insert("version".into(), number((*version).into()));
    let mut statement;
    if *exists {
        statement = Statement::update(table);
        for (name, value) in tally {
            statement.add(&format!(r#" SET "{name}"=?"#), Some(value));
        }
        statement.add(r#" WHERE "id"=?"#, Some(text(&id)));
        statement.add(r#" AND "version"<?"#, Some(number((*version).into())));
    } else {
        statement = Statement::insert(table, &id);
        let fixed = [
            ("queue", text(queue)),
            ("day", text(&day.to_string())),
            ("listed", text(&list(*day))),
            ("listed_at", text(&rfc3339::text(now))),
            ("purge_at", number(after(now, DAYS).as_second().into())),
        ];
        for (name, value) in fixed.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(tally) {
            statement.add(&format!(", '{name}': ?"), Some(value));
        }
        statement.text += "}";
    }
    let request = BatchStatementRequest::builder().statement(statement.text).set_parameters(Some(statement.parameters));
    request.build().map_err(|error| invalid(error.to_string()))
}

pub(super) fn kept(answer: Option<&BatchStatementResponse>) -> Kept {
    match answer.map(|answer| answer.error.as_ref().map(|error| error.code.as_ref())) {
        Some(None) => Kept::Done,
        Some(Some(Some(Code::DuplicateItem))) => Kept::Exists,
        Some(Some(Some(Code::ConditionalCheckFailed))) => Kept::Refused,
        Some(Some(Some(Code::ValidationError))) => Kept::Invalid,
        _ => Kept::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Counter, Sample};

    fn share() -> Share {
        let counter = Counter::new("p");
        counter.count("q", "2026-05-04T12:00:00Z".parse().expect("an instant"), &Sample { ending: "succeeded", ..Sample::default() });
        counter.next(tokio::time::Instant::now()).expect("there is something")
    }

    #[test]
    fn a_share_is_inserted_for_its_day_and_later_replaces_an_older_one() {
        let now = "2026-05-04T12:00:00Z".parse().expect("an instant");
        let first = statement("jobs", &share(), now).expect("a statement");
        let text = "INSERT INTO \"jobs\" VALUE {'id': ?, 'queue': ?, 'day': ?, 'listed': ?, 'listed_at': ?, 'purge_at': ?, 'endings': ?, \
                    'hours': ?, 'kinds': ?, 'last_waited_ms': ?, 'run': ?, 'version': ?, 'wait': ?}";
        assert_eq!(first.statement, text);
        let parameters = first.parameters.expect("parameters");
        assert_eq!(parameters[0], super::text("stats#2026-05-04\u{1f}q\u{1f}p"));
        assert_eq!(parameters[5], AttributeValue::N("1780660800".into()));
        let again = statement("jobs", &Share { exists: true, ..share() }, now).expect("a statement");
        let text = r#"UPDATE "jobs" SET "endings"=? SET "hours"=? SET "kinds"=? SET "last_waited_ms"=? SET "run"=? SET "version"=? SET "wait"=? WHERE "id"=? AND "version"<?"#;
        assert_eq!(again.statement, text);
    }
    #[test]
    fn the_answer_to_a_share_tells_how_to_go_on() {
        use aws_sdk_dynamodb::types::BatchStatementError;
        let answer = |code| {
            let error = BatchStatementError::builder().set_code(code).build();
            kept(Some(&BatchStatementResponse::builder().error(error).build()))
        };
        assert_eq!(kept(Some(&BatchStatementResponse::builder().build())), Kept::Done);
        assert_eq!(answer(Some(Code::DuplicateItem)), Kept::Exists);
        assert_eq!(answer(Some(Code::ConditionalCheckFailed)), Kept::Refused);
        assert_eq!(answer(Some(Code::ValidationError)), Kept::Invalid);
        assert_eq!([answer(Some(Code::ThrottlingError)), answer(None), kept(None)], [Kept::Unknown; 3]);
    }
}
