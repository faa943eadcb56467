//! Conditional writes. They use the PartiQL request `BatchExecuteStatement`, whose statements succeed or fail individually.

use std::iter::repeat_with;

use aws_sdk_dynamodb::types::{
    BatchStatementErrorCodeEnum as Code, BatchStatementRequest, BatchStatementResponse, ReturnValuesOnConditionCheckFailure,
};
use futures_util::future::{BoxFuture, FutureExt, join_all};
use tokio::time::Instant;

use super::{
    AT_A_TIME, Counted, DynamoDb,
    error::{failed, incomplete, repeated},
    item::record,
    statement::{Statement, insert, update},
    stats,
};
use crate::{
    stats::{Counter, Kept, Share},
    store::{StoreError, Write, Written, limit},
};

/// Maximum number of statements in one `BatchExecuteStatement`.
pub(super) const STATEMENTS: usize = 25;
/// Maximum size of the items in one request, in bytes. It is well below the limit of DynamoDB.
const REQUEST_BYTES: usize = 1 << 20;

/// The writes of one `BatchExecuteStatement`, and their statements in the same order.
#[derive(Default)]
pub(super) struct Request<'a> {
    writes: Vec<&'a Write>,
    statements: Vec<BatchStatementRequest>,
    bytes: usize,
}

/// A write that the table can hold, its statement, and the maximum size of both in bytes.
struct Prepared<'a> {
    write: &'a Write,
    statement: BatchStatementRequest,
    bytes: usize,
}

impl<'a> Request<'a> {
    fn has_room(&self, prepared: &Prepared<'_>) -> bool {
        self.statements.len() < STATEMENTS && self.bytes + prepared.bytes <= REQUEST_BYTES
    }

    fn add(&mut self, prepared: Prepared<'a>) {
        self.writes.push(prepared.write);
        self.statements.push(prepared.statement);
        self.bytes += prepared.bytes;
    }
}

/// Adds a write to the last request, or to a new one if that is full.
fn add<'a>(requests: &mut Vec<Request<'a>>, prepared: Prepared<'a>) {
    match requests.last_mut() {
        Some(last) if last.has_room(&prepared) => last.add(prepared),
        _ => {
            let mut request = Request::default();
            request.add(prepared);
            requests.push(request);
        }
    }
}

impl DynamoDb {
    /// Makes writes, in as many requests as their sizes require. Returns one answer for each, in order.
    pub(super) async fn write_all<'a>(
        &self,
        writes: impl Iterator<Item = &'a Write>,
        counted: Option<&Counted>,
    ) -> Vec<Result<Written, StoreError>> {
        let mut requests = Vec::new();
        let prepared: Vec<_> = writes.map(|write| self.prepare(write).map(|prepared| add(&mut requests, prepared))).collect();
        let mut requests = requests.into_iter();
        let mut answers = Vec::with_capacity(prepared.len());
        while requests.len() > 0 {
            let sent = requests.by_ref().take(AT_A_TIME).map(|request| self.execute(request, counted));
            answers.extend(join_all(sent).await.into_iter().flatten());
        }
        let mut answers = answers.into_iter();
        prepared.into_iter().map(|prepared| prepared.and_then(|()| answers.next().unwrap_or_else(|| Err(incomplete())))).collect()
    }

    fn prepare<'a>(&self, write: &'a Write) -> Result<Prepared<'a>, StoreError> {
        let bytes = limit::check(&write.next)?;
        let Statement { text, parameters } = match &write.seen {
            None => insert(&self.table, &write.next)?,
            Some(seen) => update(&self.table, seen, &write.next)?,
        };
        let bytes = bytes + text.len();
        let statement = BatchStatementRequest::builder()
            .statement(text)
            .set_parameters(Some(parameters))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| StoreError::Invalid(error.to_string()))?;
        Ok(Prepared { write, statement, bytes })
    }

    /// Makes writes with one `BatchExecuteStatement`, along with statistics if there is room. If DynamoDB refuses the request as a whole,
    /// splits it in halves, down to single writes.
    pub(super) fn execute<'a>(
        &'a self,
        request: Request<'a>,
        statistics: Option<&'a Counted>,
    ) -> BoxFuture<'a, Vec<Result<Written, StoreError>>> {
        async move {
            let Request { writes, mut statements, .. } = request;
            let room = statistics.filter(|_| statements.len() < STATEMENTS);
            let (share, statement) = room.and_then(|counted| self.share(counted)).unzip();
            statements.extend(statement);
            if statements.is_empty() {
                return Vec::new();
            }
            let sent = self.client.batch_execute_statement().set_statements(Some(statements)).send().await;
            let answer = sent.map_err(|error| failed(&self.table, error));
            if let Some((counter, share)) = &share {
                let answers = answer.as_ref().ok().and_then(|answer| answer.responses.as_ref());
                counter.kept(share, stats::kept(answers.and_then(|answers| answers.get(writes.len()))));
            }
            match (answer, share) {
                (Ok(answer), _) => {
                    self.count_failed(answer.responses.as_deref());
                    let answers = answer.responses.unwrap_or_default().into_iter().map(|answer| written(&self.table, answer));
                    answers.chain(repeat_with(|| Err(incomplete()))).take(writes.len()).collect()
                }
                (Err(StoreError::Invalid(_)), Some((counter, share))) => {
                    let answers = self.write_all(writes.into_iter(), None).await;
                    if answers.is_empty() || answers.iter().any(Result::is_ok) {
                        counter.kept(&share, Kept::Invalid);
                    }
                    answers
                }
                (Err(StoreError::Invalid(_)), None) if writes.len() > 1 => {
                    let (left, right) = writes.split_at(writes.len() / 2);
                    let mut answers = self.write_all(left.iter().copied(), None).await;
                    answers.extend(self.write_all(right.iter().copied(), None).await);
                    answers
                }
                (Err(error), _) => repeated(writes.len(), &error),
            }
        }
        .boxed()
    }

    /// Returns the statistics to write now, if any, with their statement.
    fn share<'a>(&self, Counted { counter, clock }: &'a Counted) -> Option<((&'a Counter, Share), BatchStatementRequest)> {
        let share = counter.next(Instant::now())?;
        let statement = stats::statement(&self.table, &share, clock.now()).ok()?;
        Some(((counter, share), statement))
    }
}

/// Returns `true` if a statement failed for another reason than its condition.
pub(super) fn has_failed(answer: &BatchStatementResponse) -> bool {
    let refusals = [Some(&Code::ConditionalCheckFailed), Some(&Code::DuplicateItem)];
    answer.error.as_ref().is_some_and(|error| !refusals.contains(&error.code.as_ref()))
}

pub(super) fn written(table: &str, answer: BatchStatementResponse) -> Result<Written, StoreError> {
    let Some(error) = answer.error else { return Ok(Written::Done) };
    let text = error.message.unwrap_or_else(|| format!("{:?}", error.code));
    match error.code {
        Some(Code::ConditionalCheckFailed | Code::DuplicateItem) => {
            let stored = error.item.filter(|item| !item.is_empty());
            Ok(Written::Refused(stored.map(record).transpose()?.map(Box::new)))
        }
        Some(Code::ProvisionedThroughputExceeded | Code::RequestLimitExceeded | Code::ThrottlingError | Code::TransactionConflict) => {
            Err(StoreError::Busy(text))
        }
        Some(Code::ValidationError | Code::ItemCollectionSizeLimitExceeded) => Err(StoreError::Invalid(text)),
        Some(Code::InternalServerError) | None => Err(StoreError::unknown(text)),
        Some(code) => Err(StoreError::unavailable(format!("{}: {text} (table {table})", code.as_str()))),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::BatchStatementError;

    use super::*;

    #[test]
    fn a_refused_condition_is_no_failed_statement() {
        let answer = |code| {
            let error = BatchStatementError::builder().set_code(code).build();
            BatchStatementResponse::builder().error(error).build()
        };
        let codes = [Some(Code::ThrottlingError), Some(Code::TransactionConflict), None];
        assert!(codes.into_iter().all(|code| has_failed(&answer(code))));
        let codes = [Some(Code::ConditionalCheckFailed), Some(Code::DuplicateItem)];
        assert!(!codes.into_iter().any(|code| has_failed(&answer(code))));
        assert!(!has_failed(&BatchStatementResponse::builder().build()));
    }

    /// Returns the numbers of writes in the requests for writes of these sizes.
    fn requests(sizes: &[usize]) -> Vec<usize> {
        let write = Write::insert(crate::Record::default());
        let statement = BatchStatementRequest::builder().statement("").build().expect("a statement");
        let mut requests = Vec::new();
        for bytes in sizes {
            add(&mut requests, Prepared { write: &write, statement: statement.clone(), bytes: *bytes });
        }
        assert!(requests.iter().all(|request| request.writes.len() == request.statements.len()));
        requests.iter().map(|request| request.writes.len()).collect()
    }

    #[test]
    fn a_request_has_at_most_25_writes_and_a_megabyte() {
        assert_eq!(requests(&[1; 51]), [25, 25, 1]);
        assert_eq!(requests(&[1, REQUEST_BYTES - 1, 1]), [2, 1]);
        assert_eq!(requests(&[REQUEST_BYTES, 1]), [1, 1]);
    }
}
