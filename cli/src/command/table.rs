//! Makes the tables.

use sqjobs::setup;

use crate::{args::Table, aws::Aws, failure::Failure, output::Output};

pub(super) async fn table(aws: &Aws, wanted: Table) -> Result<bool, Failure> {
    let Table::Create = wanted;
    let (dynamodb, place, mut output) = (aws.dynamodb(), &aws.place, Output::new());
    setup::create_table(&dynamodb, &place.table).await?;
    output.line(format!("table {} is ready", place.table))?;
    setup::create_schedules_table(&dynamodb, &place.schedules_table).await?;
    output.line(format!("table {} is ready", place.schedules_table))?;
    Ok(true)
}
