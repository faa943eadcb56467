//! Makes the tables.

use sqjobs::setup;

use crate::{args::Table, aws::Aws, failure::Failure, output::Output};

pub(super) async fn table(aws: &Aws, wanted: Table) -> Result<bool, Failure> {
    let Table::Create = wanted;
    create(aws).await?;
    let mut output = Output::new();
    [aws.place.table(), aws.place.schedules_table()].into_iter().try_for_each(|table| output.line(format!("table {table} is ready")))?;
    Ok(true)
}

/// Makes the tables, and what they lack after an interruption.
pub(super) async fn create(aws: &Aws) -> Result<(), Failure> {
    let (dynamodb, jobs, schedules) = (aws.dynamodb(), aws.place.table(), aws.place.schedules_table());
    if jobs == schedules {
        return Err(Failure::said(format!("records and schedules cannot share table {jobs}; name another by --schedules-table")));
    }
    setup::create_table(&dynamodb, &jobs).await?;
    Ok(setup::create_schedules_table(&dynamodb, &schedules).await?)
}
