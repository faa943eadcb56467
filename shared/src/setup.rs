//! Creates the tables and the queues, for local stacks and for accounts without Terraform.

use std::{error::Error as StdError, time::Duration};

use aws_sdk_dynamodb::client::Waiters;
use aws_sdk_dynamodb::{
    error::BuildError,
    operation::create_table::CreateTableError,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType, ScalarAttributeType,
        TimeToLiveSpecification, TimeToLiveStatus,
    },
};
use aws_sdk_sqs::types::QueueAttributeName;
use jiff::Timestamp;

pub use crate::names::{jobs_table, schedules_table};
use crate::{
    Error, Priority,
    names::is_fifo,
    queue::MAX_BYTES,
    store::{self, DLQS, DUE_INDEX, DynamoDb, Index as _, LIST_INDEX, Listing, listing_id, text},
};

/// Number of receives after which SQS itself moves a message to the dead-letter queue. It is a safeguard, not the limit of attempts.
const MAX_RECEIVES: u32 = 1000;

/// Maximum time to wait for a new table.
const CREATION: Duration = Duration::from_mins(2);
/// Time for which queues keep messages, the maximum of SQS.
const RETENTION_S: u32 = 14 * 86_400;

/// Creates the table of records, with on-demand capacity, indexes and time to live. It leaves existing parts unchanged, so that an
/// interrupted call can be repeated.
///
/// # Errors
///
/// When DynamoDB refuses.
pub async fn create_table(client: &aws_sdk_dynamodb::Client, table: &str) -> Result<(), Error> {
    // The indexes hold only the keys of the few jobs that have a long wait, failed or are listed.
    create_indexed_table(client, table, &[(DUE_INDEX, "due", "run_at"), (LIST_INDEX, "listed", "listed_at")], ProjectionType::KeysOnly)
        .await?;
    let described = client.describe_time_to_live().table_name(table).send().await.map_err(|error| refused(table, error))?;
    let status = described.time_to_live_description.and_then(|described| described.time_to_live_status);
    if matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)) {
        return Ok(());
    }
    let ttl = TimeToLiveSpecification::builder().attribute_name("purge_at").enabled(true).build().map_err(|error| refused(table, error))?;
    client.update_time_to_live().table_name(table).time_to_live_specification(ttl).send().await.map_err(|error| refused(table, error))?;
    Ok(())
}

/// Creates the table of schedules, with on-demand capacity and its due index. It leaves an existing table unchanged.
///
/// # Errors
///
/// When DynamoDB refuses.
pub async fn create_schedules_table(client: &aws_sdk_dynamodb::Client, table: &str) -> Result<(), Error> {
    create_indexed_table(client, table, &[(DUE_INDEX, "due", "next_fire")], ProjectionType::All).await
}

/// An index: its name, its hash key and its range key.
type IndexKeys<'a> = (&'a str, &'a str, &'a str);

/// Creates a table with sparse indexes.
async fn create_indexed_table(
    client: &aws_sdk_dynamodb::Client,
    table: &str,
    indexes: &[IndexKeys<'_>],
    projection: ProjectionType,
) -> Result<(), Error> {
    let names = std::iter::once("id").chain(indexes.iter().flat_map(|(_, hash, range)| [*hash, *range]));
    let attributes = names.map(attribute).collect::<Result<_, _>>().map_err(|error| refused(table, error))?;
    let indexes =
        indexes.iter().map(|keys| index(*keys, projection.clone())).collect::<Result<_, _>>().map_err(|error| refused(table, error))?;
    let create = client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    let create = create.set_attribute_definitions(Some(attributes));
    let create = create.key_schema(key("id", KeyType::Hash).map_err(|error| refused(table, error))?);
    let create = create.set_global_secondary_indexes(Some(indexes));
    match create.send().await {
        Err(error) if error.as_service_error().is_some_and(CreateTableError::is_resource_in_use_exception) => {} // it exists
        created => drop(created.map_err(|error| refused(table, error))?),
    }
    client.wait_until_table_exists().table_name(table).wait(CREATION).await.map_err(|error| refused(table, error))?;
    Ok(())
}

fn refused<E: StdError + Send + Sync + 'static>(table: &str, error: E) -> Error {
    Error::setup(format!("cannot create table {table}"), error)
}

fn index((name, hash, range): IndexKeys<'_>, projection: ProjectionType) -> Result<GlobalSecondaryIndex, BuildError> {
    let projection = Projection::builder().projection_type(projection).build();
    let index = GlobalSecondaryIndex::builder().index_name(name).projection(projection);
    index.key_schema(key(hash, KeyType::Hash)?).key_schema(key(range, KeyType::Range)?).build()
}

fn attribute(name: &str) -> Result<AttributeDefinition, BuildError> {
    AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build()
}

fn key(name: &str, part: KeyType) -> Result<KeySchemaElement, BuildError> {
    KeySchemaElement::builder().attribute_name(name).key_type(part).build()
}

/// Returns the default name of the dead-letter queue of a queue.
pub fn dlq_name(queue: &str) -> String {
    match queue.strip_suffix(".fifo") {
        Some(name) => format!("{name}-dlq.fifo"),
        None => format!("{queue}-dlq"),
    }
}

/// A queue and its dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queues {
    /// The URL of the queue.
    pub url: String,
    /// The URL of its dead-letter queue.
    pub dlq_url: String,
}

/// Creates a queue and its dead-letter queue, as FIFO queues if the name ends in `.fifo`. Both keep messages for 14 days.
///
/// `visibility_s` should be at least six times the function's timeout.
///
/// # Errors
///
/// When SQS refuses, for example because a queue with that name has other attributes.
pub async fn create_queues(client: &aws_sdk_sqs::Client, name: &str, visibility_s: u32) -> Result<Queues, Error> {
    let dlq_name = dlq_name(name);
    let dlq_url = create_queue(client, &dlq_name, vec![]).await?;
    let attributes = client.get_queue_attributes().queue_url(&dlq_url).attribute_names(QueueAttributeName::QueueArn);
    let attributes = attributes.send().await.map_err(|error| Error::setup(format!("cannot read queue {dlq_name}"), error))?;
    let arn = attributes.attributes.and_then(|mut attributes| attributes.remove(&QueueAttributeName::QueueArn)).unwrap_or_default();
    let redrive = serde_json::json!({"deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVES}).to_string();
    let attributes = vec![(QueueAttributeName::VisibilityTimeout, visibility_s.to_string()), (QueueAttributeName::RedrivePolicy, redrive)];
    Ok(Queues { url: create_queue(client, name, attributes).await?, dlq_url })
}

/// Creates the queue of a priority, given the name of the queue of the default priority and the ARN of its dead-letter queue. Returns the
/// name of the new queue.
///
/// # Errors
///
/// When SQS refuses, for example because a queue with that name has other attributes.
pub async fn create_priority_queue(
    client: &aws_sdk_sqs::Client,
    name: &str,
    priority: Priority,
    dlq_arn: &str,
    visibility_s: u32,
) -> Result<String, Error> {
    let redrive = serde_json::json!({"deadLetterTargetArn": dlq_arn, "maxReceiveCount": MAX_RECEIVES}).to_string();
    let attributes = vec![(QueueAttributeName::VisibilityTimeout, visibility_s.to_string()), (QueueAttributeName::RedrivePolicy, redrive)];
    let name = priority.queue(name);
    create_queue(client, &name, attributes).await?;
    Ok(name)
}

/// The time to live of an item that does not expire: the end of the year 9999, in seconds since the epoch.
const NEVER: i64 = 253_402_300_799;

/// Adds dead-letter queues to the list that the beaters of a table search. Known queues stay in the list.
///
/// # Errors
///
/// When DynamoDB refuses.
pub async fn add_dlqs(client: &aws_sdk_dynamodb::Client, table: &str, names: &[String]) -> Result<(), Error> {
    let listings: Vec<_> = names.iter().map(|name| dlq_listing(name)).collect();
    let written = DynamoDb::new(client.clone(), table).enlist(&listings).await.into_iter().collect::<Result<Vec<_>, _>>();
    written.map(drop).map_err(|error| Error::store("cannot write the list of dead-letter queues", error))
}

/// Removes a dead-letter queue from the list that the beaters of a table search. A beater still searches it if its variables name it.
///
/// # Errors
///
/// When DynamoDB refuses.
pub async fn remove_dlq(client: &aws_sdk_dynamodb::Client, table: &str, name: &str) -> Result<(), Error> {
    let delete = client.delete_item().table_name(table).key("id", text(&listing_id(&dlq_listing(name))));
    let refused = |error| Error::setup(format!("cannot remove {name} from the list of dead-letter queues"), error);
    delete.send().await.map(drop).map_err(refused)
}

/// Returns the names in the list of dead-letter queues of a table. The list may lag behind by a second.
///
/// # Errors
///
/// When DynamoDB refuses.
pub async fn dlqs(client: &aws_sdk_dynamodb::Client, table: &str) -> Result<Vec<String>, Error> {
    let names = store::dlqs(&DynamoDb::new(client.clone(), table)).await;
    names.map_err(|error| Error::store("cannot read the list of dead-letter queues", error))
}

/// Returns the item of a dead-letter queue. All writers, including Terraform, write the same item at any time.
fn dlq_listing(name: &str) -> Listing {
    Listing { list: DLQS.into(), id: name.to_owned(), at: Timestamp::UNIX_EPOCH, purge_at: NEVER }
}

async fn create_queue(
    client: &aws_sdk_sqs::Client,
    name: &str,
    mut attributes: Vec<(QueueAttributeName, String)>,
) -> Result<String, Error> {
    if is_fifo(name) {
        attributes.push((QueueAttributeName::FifoQueue, "true".into()));
    }
    attributes.push((QueueAttributeName::MessageRetentionPeriod, RETENTION_S.to_string()));
    // This is the default of AWS. Other tools that create queues set the former default of 256 KiB.
    attributes.push((QueueAttributeName::MaximumMessageSize, MAX_BYTES.to_string()));
    let create = client.create_queue().queue_name(name).set_attributes(Some(attributes.into_iter().collect()));
    let created = create.send().await.map_err(|error| Error::setup(format!("cannot create queue {name}"), error))?;
    created.queue_url.ok_or_else(|| Error::Process(format!("cannot create queue {name}: the answer has no URL")))
}
