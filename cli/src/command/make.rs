//! Makes tables and queues.

use sqjobs::setup;

use crate::{
    args::{Queue, Table},
    aws::Aws,
    failure::Failure,
    output::Output,
};

pub(super) async fn table(aws: &Aws, wanted: Table) -> Result<bool, Failure> {
    let Table::Create = wanted;
    let (dynamodb, place, mut output) = (aws.dynamodb(), &aws.place, Output::new());
    setup::create_table(&dynamodb, &place.table).await?;
    output.line(format!("table {} is ready", place.table))?;
    setup::create_schedules_table(&dynamodb, &place.schedules_table).await?;
    output.line(format!("table {} is ready", place.schedules_table))?;
    Ok(true)
}

pub(super) async fn queue(aws: &Aws, wanted: Queue) -> Result<bool, Failure> {
    let Queue::Create { name, timeout } = wanted;
    let visibility = u32::try_from(timeout.as_secs()).ok().and_then(|seconds| seconds.checked_mul(6)).filter(|seconds| *seconds <= 43_200);
    let visibility = visibility.ok_or_else(|| Failure::said("--timeout is too long; a function runs for 15m at most"))?;
    let queues = setup::create_queues(&aws.sqs(), &(aws.place.prefix.clone() + &name), visibility).await?;
    let mut output = Output::new();
    output.line(&queues.url)?;
    output.line(&queues.dlq_url)?;
    Ok(true)
}
