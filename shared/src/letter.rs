//! Dead letters: copies of messages in a dead-letter queue, with the reason, and their redrive.

use serde_json::Value;

use crate::{
    envelope::{Envelope, Form, Unreadable},
    lifecycle::{Request, is_of, is_unclaimed},
    names::is_fifo,
    queue::{
        MAX_BYTES, Message, OLD_MAX_BYTES, Outgoing,
        attribute::{DEAD, GROUP, ID, KIND, REASON},
        dedup,
    },
    record::{Dlq, Failure, Record, State},
};

/// The kind of a message that a producer has sent directly to the dead-letter queue.
pub(crate) const MISDIRECTED: &str = "misdirected";

/// A message in a dead-letter queue.
///
/// A worker's copy contains the reason. Two other kinds contain none until a beater has examined them: messages that SQS itself has
/// moved because they were received too often, and messages that a producer has sent to the dead-letter queue by mistake.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Letter {
    /// The message.
    pub message: Message,
    /// The id of its job.
    pub id: String,
    /// The envelope, or the reason why it cannot be read.
    pub envelope: Result<Envelope, Unreadable>,
}

/// The action for a dead letter that is redriven.
#[derive(Debug, Clone, PartialEq)]
pub enum Redrive {
    /// Send this message to the queue, then delete the letter. Repeating it does not run the job again.
    Send(Outgoing),
    /// Delete the letter: its job has ended since, or continues without it.
    Drop,
    /// Keep the letter: the job with its id has other arguments, so the message would be discarded as a duplicate, or run in its place. The
    /// letter may be the only copy of its arguments.
    OtherArguments,
    /// Keep the letter: the message has no room for the attributes that it needs.
    Stuck,
}

impl Letter {
    /// Reads a message of a dead-letter queue.
    pub fn open(message: Message) -> Self {
        let (id, envelope) = message.open();
        Self { message, id, envelope }
    }

    /// Returns the kind of the failure; `None` if SQS has moved the message or a producer has sent it here.
    pub fn kind(&self) -> Option<&str> {
        self.message.attributes.get(KIND).map(String::as_str)
    }

    /// Returns `true` if a producer has sent the message directly to the dead-letter queue: it has no reason from a worker, and SQS names
    /// no source queue.
    pub fn is_misdirected(&self) -> bool {
        self.message.source.is_none() && self.kind().is_none_or(|kind| kind == MISDIRECTED)
    }

    /// Returns `true` if `id` is the id of its job. A message that cannot be read has the id of its SQS message. The id in its body
    /// counts as well, since users search for it.
    pub fn has_id(&self, id: &str) -> bool {
        let number = |given: &Value| given.as_number().map(ToString::to_string);
        let is_it = |given: &Value| given == id || number(given).as_deref() == Some(id);
        let given = || serde_json::from_str::<Value>(&self.message.body).is_ok_and(|body| is_it(&body["id"]));
        self.id == id || self.envelope.is_err() && given()
    }

    /// Returns the reason, shortened if the body left too little room.
    pub fn reason(&self) -> Option<&str> {
        self.message.attributes.get(REASON).map(String::as_str)
    }

    /// Returns `true` if it has no reason yet, or if SQS has moved it here, possibly after a redrive.
    pub(crate) fn is_unexplained(&self) -> bool {
        self.message.source.is_some() || self.kind().is_none()
    }

    /// Decides how to redrive it to `queue`, given the stored record of its job.
    ///
    /// The message is sent unless the job certainly continues without it: the worst result is a discarded duplicate.
    pub fn redrive(&self, record: Option<&Record>, queue: &str) -> Redrive {
        let dead = self.message.dead();
        let record = record.filter(|record| self.is_of(record, queue) && !is_unclaimed(record));
        // The due index holds the message of such a job.
        let is_filed = |record: &Record| record.state == State::Scheduled && record.envelope.is_some();
        let failed = match record.map(|record| (record, record.state)) {
            Some((record, _)) if self.has_other_arguments(record) => return Redrive::OtherArguments,
            // It was redriven and has failed again: there is a newer dead letter.
            Some((record, State::Failed)) if record.dlq != Some(Dlq::Pending) && dead.is_some_and(|dead| dead != record.generation) => {
                return Redrive::Drop;
            }
            Some((record, State::Failed)) => Some(record.generation),
            // For other unfinished jobs, this letter may be the only message, since a rejected or parked message leaves the record
            // unchanged.
            Some((record, state)) if state.is_terminal() || is_filed(record) => return Redrive::Drop,
            _ => dead,
        };
        self.back(failed, queue).map_or(Redrive::Stuck, Redrive::Send)
    }

    /// Returns `true` if both digests are known and differ.
    fn has_other_arguments(&self, record: &Record) -> bool {
        let own = self.envelope.as_ref().map(Envelope::digest);
        own.is_ok_and(|own| record.digest.is_some_and(|digest| digest != own))
    }

    /// Returns `true` if the record belongs to this letter's job. The aliases of the job are not known here.
    fn is_of(&self, record: &Record, queue: &str) -> bool {
        let native = self.envelope.as_ref().ok().filter(|envelope| envelope.form == Form::Native);
        let name = native.map_or(&record.name, |envelope| &envelope.name);
        is_of(record, &Request { name: name.clone(), queue: queue.into(), ..Request::default() })
    }

    /// Returns the message for the queue, or `None` if it has no room for its attributes.
    fn back(&self, failed: Option<u64>, queue: &str) -> Option<Outgoing> {
        let mut back = Outgoing::new(&self.message.body);
        back.attributes = self.message.attributes.clone();
        back.attributes.retain(|name, _| ![KIND, REASON, GROUP].contains(&name.as_str()));
        for (name, value) in [(ID, Some(self.id.clone())), (DEAD, failed.map(|failed| failed.to_string()))] {
            back.attributes.remove(name);
            if let Some(value) = value {
                back.add_attribute(name, &value, MAX_BYTES);
                back.attributes.get(name)?;
            }
        }
        back.group = self.message.attributes.get(GROUP).or(self.message.group.as_ref()).cloned();
        if is_fifo(queue) {
            back.group = back.group.or_else(|| Some(dedup(&self.id)));
            // The same letter always has the same id, which no other letter has.
            back.dedup = Some(dedup(&format!("{}:{}", self.id, self.message.id)));
        }
        Some(back)
    }
}

/// Creates the dead letter of a message, with the reason; the reason is cut or omitted if the body leaves no room. If the record
/// stores the arguments, the dead letter contains those instead of the message's.
pub(crate) fn letter(message: &Message, id: &str, reason: Option<&Failure>, record: Option<&Record>, dlq: &str) -> Outgoing {
    let body = record.and_then(|record| record.envelope.as_ref()).unwrap_or(&message.body);
    let mut copy = Outgoing::new(if body.is_empty() { " " } else { body });
    // The dead-letter queue may have a lower size limit than this library's maximum.
    let limit = if copy.bytes() <= OLD_MAX_BYTES { OLD_MAX_BYTES } else { MAX_BYTES };
    // Without a record, the generation from an earlier redrive still counts.
    let dead = record.map(|record| record.generation.to_string()).or_else(|| message.attributes.get(DEAD).cloned());
    copy.add_attribute(DEAD, &dead.unwrap_or_default(), limit);
    copy.add_attribute(ID, id, limit);
    if is_fifo(dlq) {
        let group = message.attributes.get(GROUP).or(message.group.as_ref());
        copy.add_attribute(GROUP, group.map(String::as_str).unwrap_or_default(), limit);
        // A job that fails again, or a redriven message that is rejected again, needs its own dead letter.
        copy.dedup = Some(dedup(&match record {
            Some(record) => format!("{id}:{}", record.generation),
            None => format!("{id}:{}", message.id),
        }));
        copy.group.clone_from(&copy.dedup);
    }
    copy.add_attribute(KIND, reason.map_or("", |reason| &reason.kind), limit);
    copy.add_cut_attribute(REASON, reason.map_or("", |reason| &reason.message), limit);
    for (name, value) in message.own_attributes() {
        copy.add_attribute(&name, &value, limit);
    }
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"name":"n","id":"a"}"#;

    /// Returns a letter of job `a` that failed at generation `dead`, or that SQS has moved.
    fn letter_of(dead: Option<u64>) -> Letter {
        let mut message = Message { id: "m".into(), body: BODY.into(), ..Message::default() };
        match dead {
            Some(dead) => message.attributes.extend([(DEAD.into(), dead.to_string()), (KIND.into(), "error".into())]),
            None => message.source = Some("q".into()),
        }
        Letter::open(message)
    }

    fn record(state: State, generation: u64, dlq: Option<Dlq>) -> Record {
        Record { id: "a".into(), name: "n".into(), queue: "q".into(), state, generation, dlq, ..Record::default() }
    }

    fn sent(next: Redrive) -> Option<u64> {
        let Redrive::Send(back) = next else { panic!("it is sent, not {next:?}") };
        assert_eq!(&*back.body, BODY);
        assert_eq!(&*back.attributes[ID], "a");
        assert!(!back.attributes.contains_key(KIND), "on its way it is no letter");
        back.attributes.get(DEAD).map(|dead| dead.parse().expect("a number"))
    }

    #[test]
    fn a_redrive_sends_letters_of_failed_jobs_and_drops_outdated_ones() {
        let next = |dead, record: &Record| letter_of(dead).redrive(Some(record), "q");
        let failed = |generation| record(State::Failed, generation, Some(Dlq::Sent));
        assert_eq!(sent(next(Some(3), &failed(3))), Some(3));
        assert_eq!(next(Some(3), &failed(4)), Redrive::Drop, "there is a newer letter");
        for state in [State::Succeeded, State::Cancelled, State::Expired] {
            assert_eq!(next(Some(3), &record(state, 4, None)), Redrive::Drop, "{state:?}");
        }
        let waiting = Record { envelope: Some(BODY.into()), ..record(State::Scheduled, 4, None) };
        assert_eq!(next(Some(3), &waiting), Redrive::Drop, "a beater sends its message");
        assert_eq!(sent(letter_of(Some(3)).redrive(None, "q")), Some(3), "its record was purged");
    }

    #[test]
    fn a_redrive_sends_a_letter_that_may_be_the_only_copy() {
        let next = |dead, record: &Record| letter_of(dead).redrive(Some(record), "q");
        for state in [State::Queued, State::Running, State::Retrying, State::Scheduled, State::Blocked] {
            assert_eq!(sent(next(None, &record(state, 2, None))), None, "SQS has moved it: {state:?}");
            assert_eq!(sent(next(Some(1), &record(state, 2, None))), Some(1), "it was redriven, and then rejected: {state:?}");
            let rejected = Message { body: BODY.into(), attributes: [(KIND.into(), "rejected".into())].into(), ..Message::default() };
            assert_eq!(sent(Letter::open(rejected).redrive(Some(&record(state, 2, None)), "q")), None, "{state:?}");
        }
        assert_eq!(sent(next(None, &record(State::Failed, 2, Some(Dlq::Pending)))), Some(2));
        assert_eq!(sent(next(Some(1), &record(State::Failed, 2, Some(Dlq::Pending)))), Some(2), "the copy is still owed");
        assert_eq!(next(None, &record(State::Succeeded, 2, None)), Redrive::Drop);
        let mut redriven = letter_of(Some(1));
        redriven.message.source = Some("q".into());
        assert_eq!(sent(redriven.redrive(Some(&record(State::Retrying, 2, None)), "q")), Some(1), "SQS has moved it again");
    }

    #[test]
    fn a_letter_is_kept_if_its_id_has_other_arguments() {
        let of = |record: Record, envelope: &Letter| {
            envelope.envelope.as_ref().map(|own| Record { digest: Some(own.digest()), ..record }).expect("it is read")
        };
        let other = Letter::open(Message { body: r#"{"name":"n","id":"a","args":[1]}"#.into(), ..Message::default() });
        let filed = Record { envelope: Some(BODY.into()), ..record(State::Scheduled, 0, None) };
        for seen in [record(State::Succeeded, 1, None), record(State::Cancelled, 0, None), filed] {
            let (same, different) = (of(seen.clone(), &letter_of(None)), of(seen, &other));
            for dead in [None, Some(0)] {
                assert_eq!(letter_of(dead).redrive(Some(&same), "q"), Redrive::Drop);
                assert_eq!(letter_of(dead).redrive(Some(&different), "q"), Redrive::OtherArguments, "it is the only copy");
            }
        }
        for state in [State::Queued, State::Running, State::Retrying, State::Scheduled] {
            let seen = of(record(state, 1, None), &other);
            for dead in [None, Some(0)] {
                assert_eq!(letter_of(dead).redrive(Some(&seen), "q"), Redrive::OtherArguments, "{state:?}");
            }
        }
        let dead = of(record(State::Failed, 1, Some(Dlq::Sent)), &other);
        assert_eq!(letter_of(None).redrive(Some(&dead), "q"), Redrive::OtherArguments, "the letter of the job is another one");
        for generation in [0, 1] {
            assert_eq!(letter_of(Some(generation)).redrive(Some(&dead), "q"), Redrive::OtherArguments, "others failed after a retry");
        }
    }

    #[test]
    fn a_letter_ignores_the_record_of_another_job_with_its_id() {
        let other = Record { name: "other".into(), ..record(State::Succeeded, 2, None) };
        assert_eq!(sent(letter_of(Some(3)).redrive(Some(&other), "q")), Some(3));
        let elsewhere = Record { queue: "elsewhere".into(), ..record(State::Succeeded, 2, None) };
        assert_eq!(sent(letter_of(None).redrive(Some(&elsewhere), "q")), None);
    }

    #[test]
    fn an_unreadable_letter_is_found_by_the_id_in_its_body() {
        let open = |body: &str| Letter::open(Message { id: "m".into(), body: body.into(), ..Message::default() });
        let wrong = open(r#"{"name": "n", "id": "a", "max_attempts": "five"}"#);
        assert_eq!(&*wrong.id, "a");
        assert!(wrong.has_id("a"));
        assert!(!wrong.has_id("m"));
        assert!(!wrong.has_id("b"));
        assert!(open(r#"{"name":"n","id":7}"#).has_id("7"), "an id must be a text, and a person knows it all the same");
        for body in ["garbage", "[]", r#"{"id": 1}"#, ""] {
            assert!(!open(body).has_id("a") && open(body).has_id("m"), "{body}");
        }
    }

    #[test]
    fn a_letter_that_a_producer_has_sent_is_misdirected() {
        let direct = Message { body: BODY.into(), ..Message::default() };
        assert!(Letter::open(direct).is_misdirected());
        assert!(!letter_of(None).is_misdirected() && !letter_of(Some(1)).is_misdirected());
    }

    #[test]
    fn a_letter_without_room_for_its_id_stays() {
        let mut full = letter_of(None);
        full.message.body = "x".repeat(crate::queue::MAX_BYTES);
        assert_eq!(full.redrive(None, "q"), Redrive::Stuck);
    }

    #[test]
    fn a_dead_letter_fits_into_a_queue_of_256_kib_if_its_message_did() {
        let reason = Failure { kind: "error".into(), message: "x".repeat(2000), ..Failure::default() };
        let of = |bytes: usize| letter(&Message { body: "x".repeat(bytes), ..Message::default() }, "a", Some(&reason), None, "q-dlq");
        for bytes in [OLD_MAX_BYTES - 1000, OLD_MAX_BYTES - 10, OLD_MAX_BYTES] {
            assert!(of(bytes).bytes() <= OLD_MAX_BYTES, "{bytes}");
        }
        assert!(of(OLD_MAX_BYTES - 1000).attributes[REASON].len() > 900);
        let Outgoing { body, attributes, .. } = of(1);
        let received = Letter::open(Message { body, attributes, ..Message::default() });
        assert_eq!(received.kind(), Some("error"));
        assert_eq!(received.reason(), Some(&*reason.message));
        assert_eq!(of(OLD_MAX_BYTES + 1).attributes[REASON].len(), 2000);
    }

    #[test]
    fn on_a_fifo_queue_the_same_letter_is_sent_once_and_in_its_group() {
        let mut letter = letter_of(Some(3));
        letter.message.group = Some("g".into());
        let [one, two] = [letter.redrive(None, "q.fifo"), letter.redrive(None, "q.fifo")];
        assert_eq!(one, two);
        let Redrive::Send(back) = one else { panic!("it is sent") };
        assert_eq!(back.group.as_deref(), Some("g"));
        assert_eq!(back.dedup, Some(dedup("a:m")));
    }

    #[test]
    fn a_fifo_dead_letter_has_its_own_group_until_it_is_redriven() {
        let message = |id: &str| Message { id: id.into(), body: BODY.into(), group: Some("g".into()), ..Message::default() };
        let dead = |id: &str| letter(&message(id), id, Some(&Failure::default()), None, "q-dlq.fifo");
        assert_ne!(dead("a").group, dead("b").group);
        let Outgoing { body, attributes, group, .. } = dead("a");
        let received = Letter::open(Message { id: "n".into(), body, attributes, group, ..Message::default() });
        let Redrive::Send(back) = received.redrive(None, "q.fifo") else { panic!("it is sent") };
        assert_eq!(back.group.as_deref(), Some("g"));
        assert_eq!(back.attributes.get(GROUP), None);
    }

    #[test]
    fn a_fifo_job_that_fails_again_has_another_dead_letter() {
        let message = Message { id: "m".into(), body: BODY.into(), group: Some("g".into()), ..Message::default() };
        let failed = |generation| letter(&message, "a", None, Some(&record(State::Failed, generation, None)), "q-dlq.fifo").dedup;
        assert_eq!(failed(1), failed(1), "the same failure");
        assert_ne!(failed(1), failed(2));
        let rejected = |id: &str| letter(&Message { id: id.into(), ..message.clone() }, "a", None, None, "q-dlq.fifo").dedup;
        assert_eq!(rejected("m"), rejected("m"));
        assert_ne!(rejected("m"), rejected("n"), "it was redriven");
    }
}
