//! Makes the tables.

use sqjobs::setup;

use crate::{
    args::Table,
    aws::Aws,
    failure::{Failure, told},
    output::Output,
};

pub(super) async fn table(aws: &Aws, wanted: Table) -> Result<bool, Failure> {
    let Table::Create = wanted;
    create(aws).await?;
    let mut output = Output::new();
    [&aws.place.table, &aws.place.schedules_table].into_iter().try_for_each(|table| output.line(format!("table {table} is ready")))?;
    Ok(true)
}

/// Makes the tables that are not there yet.
pub(super) async fn create(aws: &Aws) -> Result<(), Failure> {
    let (dynamodb, place) = (aws.dynamodb(), &aws.place);
    if place.table == place.schedules_table {
        return Err(Failure::said(format!("records and schedules cannot share table {}; name another by --schedules-table", place.table)));
    }
    let there = dynamodb.list_tables().into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
    let there = there.map_err(|error| Failure::because("cannot list tables", told(&error)))?;
    if !there.contains(&place.table) {
        setup::create_table(&dynamodb, &place.table).await?;
    }
    if !there.contains(&place.schedules_table) {
        setup::create_schedules_table(&dynamodb, &place.schedules_table).await?;
    }
    Ok(())
}
