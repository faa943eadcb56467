//! Names of the message attributes that the library writes.

/// The prefix of these names.
pub(crate) const RESERVED: &str = "sqjobs.";
/// The id of the job, on messages that the library itself has written.
pub(crate) const ID: &str = "sqjobs.id";
/// The kind of the failure. A message without it in a dead-letter queue was not put there by a worker.
pub(crate) const KIND: &str = "sqjobs.kind";
/// The reason why a message is a dead letter.
pub(crate) const REASON: &str = "sqjobs.reason";
/// The original message group of a dead letter on a FIFO queue. The dead letter itself gets its own group: SQS returns no message
/// behind ten others of its group, so that an eleventh would stay hidden.
pub(crate) const GROUP: &str = "sqjobs.group";
/// The generation of the claim that failed.
pub(crate) const DEAD: &str = "sqjobs.dead";
