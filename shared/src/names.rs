//! Names of queues and tables, and the shards into which the indexes of the tables are divided.

/// The number of shards that share the load of the due index.
pub(crate) const SHARDS: u8 = 16;

/// Returns true if a queue of this name keeps its messages in order.
#[expect(clippy::case_sensitive_file_extension_comparisons, reason = "it is no file, and SQS wants lower case")]
pub fn is_fifo(queue: &str) -> bool {
    queue.ends_with(".fifo")
}

/// Returns the usual name of the table of the records, in the environment that has this prefix.
pub fn jobs_table(prefix: &str) -> String {
    format!("{prefix}jobs")
}

/// Returns the usual name of the table of the schedules, in the environment that has this prefix.
pub fn schedules_table(prefix: &str) -> String {
    format!("{prefix}schedules")
}

/// Returns the usual name of the dead-letter queue of a queue.
pub fn dlq_name(queue: &str) -> String {
    match queue.strip_suffix(".fifo") {
        Some(name) => format!("{name}-dlq.fifo"),
        None => format!("{queue}-dlq"),
    }
}

/// One of the shards of the due index, by the id.
pub(crate) fn shard(id: &str) -> String {
    shard_name(shard_of(id))
}

/// The number of the shard of an id.
pub(crate) fn shard_of(id: &str) -> u8 {
    id.bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte)) % SHARDS
}

/// The name of a shard of due jobs, as records have it.
pub(crate) fn shard_name(shard: u8) -> String {
    format!("due#{shard}")
}

/// The name of a shard of failed jobs, as records have it. Shards spread many failures at once over the table.
pub(crate) fn failed_shard_name(shard: u8) -> String {
    format!("failed#{shard}")
}
