//! Dead letters: what a dead-letter queue holds of a message, with the reason.

use crate::{
    client::dedup,
    queue::{Message, Outgoing, is_fifo},
    record::{Failure, Record},
};

/// The attribute without which a message in a dead-letter queue is no letter of ours.
pub(crate) const KIND: &str = "sqjobs.kind";

/// The copy of a message for the dead-letter queue, with the reason; cut, then omitted, where the body leaves no room.
pub(crate) fn letter(message: &Message, id: &str, reason: Option<&Failure>, record: Option<&Record>, dlq: &str) -> Outgoing {
    let mut copy = Outgoing::new(if message.body.is_empty() { " " } else { &message.body });
    // Without a record, what it was redriven from still counts.
    let dead = record.map(|record| record.generation.to_string()).or_else(|| message.attributes.get("sqjobs.dead").cloned());
    copy.add_attribute("sqjobs.dead", &dead.unwrap_or_default());
    copy.add_attribute("sqjobs.id", id);
    copy.add_attribute(KIND, reason.map_or("", |reason| &reason.kind));
    copy.add_cut_attribute("sqjobs.reason", reason.map_or("", |reason| &reason.message));
    for (name, value) in message.attributes.iter().filter(|(name, _)| !name.starts_with("sqjobs.")) {
        copy.add_attribute(name, value);
    }
    if is_fifo(dlq) {
        copy.group = Some(message.group.clone().unwrap_or_else(|| dedup(id)));
        // A job that fails again, or a message that is redriven and rejected again, is no repetition.
        copy.dedup = Some(dedup(&match record {
            Some(record) => format!("{id}:{}", record.generation),
            None => format!("{id}:{}", message.id),
        }));
    }
    copy
}
