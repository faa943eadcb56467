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
    [aws.place.table(), aws.place.schedules_table()].into_iter().try_for_each(|table| output.line(format!("table {table} is ready")))?;
    Ok(true)
}

/// Makes the tables that are not there yet.
pub(super) async fn create(aws: &Aws) -> Result<(), Failure> {
    let (dynamodb, jobs, schedules) = (aws.dynamodb(), aws.place.table(), aws.place.schedules_table());
    if jobs == schedules {
        return Err(Failure::said(format!("records and schedules cannot share table {jobs}; name another by --schedules-table")));
    }
    let there = dynamodb.list_tables().into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
    let there = there.map_err(|error| Failure::because("cannot list tables", told(&error)))?;
    if !there.contains(&jobs) {
        setup::create_table(&dynamodb, &jobs).await?;
    }
    if !there.contains(&schedules) {
        setup::create_schedules_table(&dynamodb, &schedules).await?;
    }
    Ok(())
}
