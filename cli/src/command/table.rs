//! Creates the tables.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::{error::ProvideErrorMetadata as _, types::TableDescription};
use clap::Subcommand;
use sqjobs::setup;

use super::{
    environment::refuse_other_tables,
    function::Function,
    mapping::{function_of, mappings, qualifier_of},
    queue,
    tables::{names, others_among, prefixes},
};
use crate::{aws::Aws, failure::Failure, output::Output, place::Place};

#[derive(Debug, Subcommand)]
pub(crate) enum Table {
    /// Create the tables of the records and of the schedules.
    Create,
}

pub(super) async fn table(aws: &Aws, wanted: Table) -> Result<bool, Failure> {
    let Table::Create = wanted;
    create(aws).await?;
    let mut output = Output::new();
    [aws.place.table(), aws.place.schedules_table()].into_iter().try_for_each(|table| output.line(format!("table {table} is ready")))?;
    Ok(true)
}

/// Creates the tables, and completes them after an interruption.
pub(super) async fn create(aws: &Aws) -> Result<(), Failure> {
    let (dynamodb, jobs, schedules) = (aws.dynamodb(), aws.place.table(), aws.place.schedules_table());
    if jobs == schedules {
        return Err(Failure::new(format!("records and schedules cannot share table {jobs}; name another table with --schedules-table")));
    }
    // Without the permission to list tables, other environments are not known.
    let names = names(aws).await.unwrap_or_default();
    if let Some(others) = others_among(&names, &aws.place) {
        note!("{others}");
    }
    refuse_taken(aws, &names).await?;
    check_contents(aws).await?;
    refuse_other_tables(aws).await?;
    setup::create_table(&dynamodb, &jobs).await?;
    Ok(setup::create_schedules_table(&dynamodb, &schedules).await?)
}

/// Refuses to create an environment whose prefix begins the names of queues of another environment: it would take them.
async fn refuse_taken(aws: &Aws, names: &[String]) -> Result<(), Failure> {
    let place = &aws.place;
    if place.prefix.is_empty() || names.contains(&place.table()) {
        return Ok(());
    }
    let owners = prefixes(names).filter(|prefix| place.prefix.starts_with(*prefix));
    let owner = owners.max_by_key(|prefix| prefix.len());
    let (taken, owner): (BTreeSet<_>, _) = match owner {
        None => return Ok(()),
        Some("") => (of_no_prefix(aws).await?, "without a prefix"),
        Some(owner) => {
            let queues = aws.sqs().list_queues().queue_name_prefix(&place.prefix).send().await;
            let queues = queues.map_err(|error| Failure::because("cannot list the queues", error))?.queue_urls.unwrap_or_default();
            (queues.iter().filter_map(|url| url.rsplit('/').next().map(str::to_owned)).collect(), owner)
        }
    };
    if taken.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "cannot create the environment {}: it would take the queues {} from the environment {owner}; choose another prefix",
        place.prefix,
        taken.into_iter().collect::<Vec<_>>().join(", ")
    )))
}

/// Returns the queues with the prefix of this environment that belong to the one without a prefix: those that feed functions of another
/// environment, and those without a function that look like queues of `sqjobs queue create`. Other systems may have further queues.
async fn of_no_prefix(aws: &Aws) -> Result<BTreeSet<String>, Failure> {
    let (mut queues, mut fed) = (BTreeSet::new(), BTreeSet::new());
    // Without the permission to list the mappings or the queues, no such queue is known.
    let Ok(mappings) = mappings(aws, None).await else { return Ok(queues) };
    for mapping in mappings {
        let queue = mapping.event_source_arn.as_deref().and_then(|arn| arn.rsplit(':').next());
        let Some(queue) = queue.filter(|queue| queue.starts_with(&aws.place.prefix)) else { continue };
        let Some(name) = function_of(&mapping) else { continue };
        fed.insert(queue.to_owned());
        let function = Function::get_version(aws, name, qualifier_of(&mapping)).await?;
        if function.is_some_and(|function| Place::of(&function.environment).prefix != aws.place.prefix) {
            queues.insert(queue.to_owned());
        }
    }
    let all = queue::all(aws).await.map(|all| all.pairs).unwrap_or_default();
    let unfed = all.into_iter().filter(|(queue, dlq)| !fed.contains(&queue.name) && dlq.name == setup::dlq_name(&queue.name));
    queues.extend(unfed.map(|(queue, _)| queue.name));
    Ok(queues)
}

/// The content of a table.
#[derive(Clone, Copy, PartialEq)]
enum Content {
    Records,
    Schedules,
}

impl Content {
    /// Returns the content of a table by the range key of its index `due`. None: the table has no such index.
    fn of(described: &TableDescription) -> Option<Self> {
        let indexes = described.global_secondary_indexes();
        let due = indexes.iter().find(|index| index.index_name.as_deref() == Some("due"))?;
        let has = |name: &str| due.key_schema().iter().any(|key| key.attribute_name == name);
        match () {
            () if has("run_at") => Some(Self::Records),
            () if has("next_fire") => Some(Self::Schedules),
            () => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Schedules => "schedules",
        }
    }
}

/// Refuses to change anything by options that name an environment which does not exist, a table of another environment, or a table of
/// the other content. Without such options nothing is requested.
pub(super) async fn check_options(aws: &Aws) -> Result<(), Failure> {
    let missing = check_contents(aws).await?;
    if let Some(table) = missing.first() {
        return Err(Failure::new(format!(
            "there is no table {table}; check --prefix, --table and --schedules-table, or create it with `sqjobs table create`"
        )));
    }
    refuse_other_tables(aws).await
}

/// Refuses tables that options name and that hold something else. Returns those that do not exist. A table that the user may not
/// describe counts as right.
pub(super) async fn check_contents(aws: &Aws) -> Result<Vec<String>, Failure> {
    let place = &aws.place;
    let is_given = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
    let records = (!place.prefix.is_empty() || is_given(&place.table)).then(|| ("--table", place.table(), Content::Records));
    let schedules = is_given(&place.schedules_table).then(|| ("--schedules-table", place.schedules_table(), Content::Schedules));
    let mut missing = Vec::new();
    for (option, table, content) in [records, schedules].into_iter().flatten() {
        let described = match aws.dynamodb().describe_table().table_name(&table).send().await {
            Ok(described) => described.table,
            Err(error) if error.code() == Some("ResourceNotFoundException") => {
                missing.push(table);
                continue;
            }
            Err(_) => continue,
        };
        let Some(described) = described else { continue };
        if let Some(key) = described.key_schema().iter().find(|key| key.attribute_name != "id") {
            return Err(Failure::new(format!(
                "table {table} cannot hold {}: its key contains the attribute {}, but must be only id; give another table with {option}",
                content.as_str(),
                key.attribute_name
            )));
        }
        if let Some(own) = Content::of(&described).filter(|own| *own != content) {
            return Err(Failure::new(format!(
                "table {table} holds {}, not {}; give another table with {option}",
                own.as_str(),
                content.as_str()
            )));
        }
    }
    Ok(missing)
}
