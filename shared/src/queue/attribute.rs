//! Names of the attributes that the library itself writes.

/// The prefix of these names.
pub(crate) const RESERVED: &str = "sqjobs.";
/// The attribute with the id of the job, where the library itself has written the message.
pub(crate) const ID: &str = "sqjobs.id";
/// The attribute without which a message in a dead-letter queue is no letter of ours.
pub(crate) const KIND: &str = "sqjobs.kind";
/// The attribute with the reason for which a message is a dead letter.
pub(crate) const REASON: &str = "sqjobs.reason";
/// The attribute with the group that the message had on a FIFO queue. A dead letter there is a group of its own: SQS shows no message
/// behind ten others of its group, so that nobody would see an eleventh.
pub(crate) const GROUP: &str = "sqjobs.group";
/// The attribute with the generation that failed.
pub(crate) const DEAD: &str = "sqjobs.dead";
