//! Finds the tables of an account, and the environments that they belong to.

use sqjobs::setup;

use crate::{aws::Aws, failure::describe, place::Place};

/// Returns the names of all tables.
pub(super) async fn names(aws: &Aws) -> Result<Vec<String>, String> {
    let names = aws.dynamodb().list_tables().into_paginator().items().send().collect::<Result<_, _>>().await;
    names.map_err(|error| describe(&error))
}

/// Returns the prefixes of the environments among tables. An environment has a table of records and a table of schedules with its prefix.
pub(super) fn prefixes(names: &[String]) -> impl Iterator<Item = &str> {
    let of_records = names.iter().filter_map(|name| name.strip_suffix(&*setup::jobs_table("")));
    of_records.filter(|prefix| names.contains(&setup::schedules_table(prefix)))
}

/// Returns the tables of this environment that do not exist.
pub(super) async fn missing(aws: &Aws) -> Result<Vec<String>, String> {
    let names = names(aws).await?;
    Ok([aws.place.table(), aws.place.schedules_table()].into_iter().filter(|table| !names.contains(table)).collect())
}

/// Returns the prefixes of other environments that begin with the prefix of this one.
pub(super) async fn environments(aws: &Aws) -> Result<Vec<String>, String> {
    let (names, ours) = (names(aws).await?, &aws.place);
    let is_other =
        |prefix: &&str| prefix.len() > ours.prefix.len() && prefix.starts_with(&ours.prefix) && setup::jobs_table(prefix) != ours.table();
    Ok(prefixes(&names).filter(is_other).map(str::to_owned).collect())
}

/// Lists the existing environments, if this one has a prefix but no table yet, because the prefix may be mistyped. Returns `None` if the
/// user may not list the tables.
pub(super) async fn others_than_new(aws: &Aws) -> Option<String> {
    others_among(&names(aws).await.ok()?, &aws.place)
}

pub(super) fn others_among(names: &[String], place: &Place) -> Option<String> {
    if place.prefix.is_empty() || names.contains(&place.table()) {
        return None;
    }
    let shown = |prefix: &str| if prefix.is_empty() { "the one without a prefix".into() } else { format!("{prefix:?}") };
    let others: Vec<_> = prefixes(names).map(shown).collect();
    (!others.is_empty()).then(|| {
        format!(
            "the environment {:?} is new: it has no table {}. The existing environments are {}; if you meant one of these, give its --prefix",
            place.prefix,
            place.table(),
            others.join(", ")
        )
    })
}

/// Returns the environment, among these, that a queue belongs to.
pub(super) fn environment_of<'a>(environments: &'a [String], queue: &str) -> Option<&'a String> {
    // One prefix may begin with another one, so the longest match counts.
    environments.iter().filter(|prefix| queue.starts_with(*prefix)).max_by_key(|prefix| prefix.len())
}
