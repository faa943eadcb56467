//! Creates the tables.

use clap::Subcommand;
use sqjobs::setup;

use crate::{
    aws::Aws,
    failure::{Failure, describe},
    output::Output,
};

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
    if let Some(others) = others_than_new(aws).await {
        anstream::eprintln!("{others}");
    }
    setup::create_table(&dynamodb, &jobs).await?;
    Ok(setup::create_schedules_table(&dynamodb, &schedules).await?)
}

/// Returns the names of all tables.
async fn names(aws: &Aws) -> Result<Vec<String>, String> {
    let names = aws.dynamodb().list_tables().into_paginator().items().send().collect::<Result<_, _>>().await;
    names.map_err(|error| describe(&error))
}

/// Returns the tables of this environment that do not exist.
pub(super) async fn missing(aws: &Aws) -> Result<Vec<String>, String> {
    let names = names(aws).await?;
    Ok([aws.place.table(), aws.place.schedules_table()].into_iter().filter(|table| !names.contains(table)).collect())
}

/// Returns the prefixes of other environments that begin with the prefix of this one. An environment has a table of records and a table
/// of schedules with its prefix.
pub(super) async fn environments(aws: &Aws) -> Result<Vec<String>, String> {
    let (names, ours) = (names(aws).await?, &aws.place);
    let prefixes = names.iter().filter(|name| **name != ours.table()).filter_map(|name| name.strip_suffix(&*setup::jobs_table("")));
    let is_other = |prefix: &&str| prefix.len() > ours.prefix.len() && prefix.starts_with(&ours.prefix);
    let is_whole = |prefix: &&str| names.contains(&setup::schedules_table(prefix));
    Ok(prefixes.filter(is_other).filter(is_whole).map(str::to_owned).collect())
}

/// Lists the existing environments, if this one has a prefix but no table yet, because the prefix may be mistyped. Returns `None` if the
/// user may not list the tables.
pub(super) async fn others_than_new(aws: &Aws) -> Option<String> {
    let (names, place) = (names(aws).await.ok()?, &aws.place);
    if place.prefix.is_empty() || names.contains(&place.table()) {
        return None;
    }
    let prefixes = names.iter().filter_map(|name| name.strip_suffix(&*setup::jobs_table("")));
    let whole = prefixes.filter(|prefix| names.contains(&setup::schedules_table(prefix)));
    let others: Vec<_> =
        whole.map(|prefix| if prefix.is_empty() { "the one without a prefix".into() } else { format!("{prefix:?}") }).collect();
    (!others.is_empty()).then(|| {
        format!(
            "the environment {:?} is new: it has no table {}. The existing environments are {}; if you meant one of these, give its --prefix",
            place.prefix,
            place.table(),
            others.join(", ")
        )
    })
}

/// Refuses the table of another environment together with the prefix of this one. Refuses nothing if the user may not list the tables.
pub(super) async fn refuse_other(aws: &Aws) -> Result<(), Failure> {
    let (place, table) = (&aws.place, aws.place.table());
    let usual = setup::jobs_table(&place.prefix);
    let other = table.strip_suffix(&*setup::jobs_table("")).filter(|other| table != usual && !other.is_empty());
    let Some(other) = other else { return Ok(()) };
    let schedules = setup::schedules_table(other);
    // Both tables of an environment, if given, mean that environment.
    if place.schedules_table() == schedules || !names(aws).await.unwrap_or_default().contains(&schedules) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "table {table} belongs to the environment {other}, but this command uses the prefix \"{}\": give --prefix {other}, or do not \
         give --table (the variable SQJOBS_TABLE)",
        place.prefix
    )))
}

/// Returns the environment, among these, that a queue belongs to.
pub(super) fn environment_of<'a>(environments: &'a [String], queue: &str) -> Option<&'a String> {
    // One prefix may begin with another one, so the longest match counts.
    environments.iter().filter(|prefix| queue.starts_with(*prefix)).max_by_key(|prefix| prefix.len())
}
