//! Names of queues and tables, and the shards of the tables' indexes.

/// Number of shards of the due index.
pub(crate) const SHARDS: u8 = 16;

/// Number of shards of the due index for keys.
const KEY_SHARDS: u8 = 4;

/// A member of the dependents of a job that has pages. It is no id of a record.
pub(crate) const MORE: &str = "\u{1f}\u{1f}more";

/// Returns `true` if a queue of this name is a FIFO queue.
#[expect(clippy::case_sensitive_file_extension_comparisons, reason = "it is no file, and SQS wants lower case")]
pub fn is_fifo(queue: &str) -> bool {
    queue.ends_with(".fifo")
}

/// Returns the default name of the table of records in the environment with this prefix.
pub fn jobs_table(prefix: &str) -> String {
    format!("{prefix}jobs")
}

/// Returns the default name of the table of schedules in the environment with this prefix.
pub fn schedules_table(prefix: &str) -> String {
    format!("{prefix}schedules")
}

/// Returns the shard of the due index for an id.
pub(crate) fn shard(id: &str) -> String {
    shard_name(shard_of(id))
}

/// Returns the number of the shard for an id.
pub(crate) fn shard_of(id: &str) -> u8 {
    id.bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte)) % SHARDS
}

/// Returns the shards of the due index that list the keys for which jobs wait. They are other ones than those of due jobs, so that many keys
/// never delay a job.
pub(crate) fn key_shards() -> std::ops::Range<u8> {
    SHARDS..SHARDS + KEY_SHARDS
}

/// Returns the shard of the due index for the record of a key.
pub(crate) fn key_shard(id: &str) -> String {
    shard_name(SHARDS + shard_of(id) % KEY_SHARDS)
}

/// Returns the name of a shard of due jobs, as stored in records.
pub(crate) fn shard_name(shard: u8) -> String {
    format!("due#{shard}")
}

/// Returns `true` for the name of a shard of due jobs.
pub(crate) fn is_shard(name: &str) -> bool {
    (0..SHARDS).any(|shard| shard_name(shard) == name)
}

/// Returns the name of a shard of failed jobs, as stored in records. Shards spread many simultaneous failures over the table.
pub(crate) fn failed_shard_name(shard: u8) -> String {
    format!("failed#{shard}")
}
