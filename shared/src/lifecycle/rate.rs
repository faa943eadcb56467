//! The rate of a key: how many attempts of its jobs may start in a period.
//!
//! This is the generic cell rate algorithm (ITU-T I.371). Only the start of an attempt uses up the rate. A job that waits uses up nothing,
//! even if it dies or comes late. A job that finds the rate used up waits. The messages of waiting jobs are sent for the instants at which
//! they can start, the oldest first.

use std::time::Duration;

use jiff::Timestamp;

use super::key::key_kept_until;
use crate::{
    clock::{after, from_millis},
    envelope::Rate,
    record::{KeyRate, Record},
};

/// Maximum time ahead for which the messages of waiting jobs are sent. A beater looks at the key each minute. For waiting jobs, a change
/// of the rate takes effect within this time.
const AHEAD: Duration = Duration::from_mins(2);

/// Time after which a job that was sent to start and has not started no longer counts.
const LATE: Duration = Duration::from_secs(30);

/// Returns the record of a rate key that no job has used, with this id.
pub(crate) fn new_rate_key(id: &str, now: Timestamp) -> Record {
    Record { id: id.to_owned(), purge_at: Some(key_kept_until(now)), ..Record::default() }
}

/// Returns the record of a key after the start of one more attempt. Returns the instant of the earliest start if the rate is used up.
pub(crate) fn started(key: &Record, declared: &Rate, owner: &str, now: Timestamp) -> Result<Record, Timestamp> {
    let mut rate = declared_by(key, declared, now);
    let current = rate.current();
    let now_us = now.as_microsecond();
    let at = rate.earliest();
    if at > now_us {
        return Err(from_millis(at / 1000 + 1)); // the clock has no microseconds
    }
    rate.used_until = rate.used_until.max(now_us) + micros(current.interval());
    Ok(with_rate(key, rate, owner, now))
}

/// Returns the record of a key with the rate that its jobs declare.
pub(crate) fn with_declared(key: &Record, declared: &Rate, owner: &str, now: Timestamp) -> Record {
    with_rate(key, declared_by(key, declared, now), owner, now)
}

/// Returns the record of a key with the rate that an operator sets. `None`: the rate is the one that the jobs declare.
pub(crate) fn with_fixed_rate(key: &Record, fixed: Option<Rate>, owner: &str, now: Timestamp) -> Record {
    let rate = KeyRate { fixed, ..key.rate.as_deref().cloned().unwrap_or_default() };
    with_rate(key, rate.changed(now), owner, now)
}

/// Returns the instants for which the messages of the next `most` waiting jobs can be sent now, and the record of the key after that.
pub(crate) fn next_starts(key: &Record, most: usize, owner: &str, now: Timestamp) -> (Vec<Timestamp>, Record) {
    let mut rate = key.rate.as_deref().cloned().unwrap_or_default();
    let interval = micros(rate.current().interval());
    let (now_us, last) = (now.as_microsecond(), after(now, AHEAD).as_microsecond());
    // The job that was sent last has not started: it was cancelled, or has lost its turn.
    if rate.earliest() <= now_us && rate.sent_until.saturating_sub(interval).saturating_add(micros(LATE)) <= now_us {
        rate.sent_until = 0;
    }
    rate.sent_until = rate.sent_until.max(rate.earliest()).max(now_us);
    let mut starts = Vec::new();
    while starts.len() < most && rate.sent_until <= last {
        starts.push(Timestamp::from_microsecond(rate.sent_until).unwrap_or(now));
        rate.sent_until += interval;
    }
    (starts, with_rate(key, rate, owner, now))
}

/// Returns the instant at which the message of the next waiting job can be sent.
pub(crate) fn next_look(key: &Record) -> Option<Timestamp> {
    let rate = key.rate.as_ref()?;
    let at = rate.earliest().max(rate.sent_until).saturating_sub(micros(AHEAD));
    Timestamp::from_microsecond(at).ok()
}

fn declared_by(key: &Record, declared: &Rate, now: Timestamp) -> KeyRate {
    let rate = key.rate.as_deref().cloned().unwrap_or_default();
    if rate.declared.as_ref() == Some(declared) {
        return rate;
    }
    let declared = KeyRate { declared: Some(*declared), ..rate.clone() };
    if declared.current() == rate.current() { declared } else { declared.changed(now) }
}

fn with_rate(key: &Record, rate: KeyRate, owner: &str, now: Timestamp) -> Record {
    Record {
        // A late repetition of `Link::Await` brings back an earlier owner, but not an earlier generation.
        generation: key.generation.saturating_add(1),
        rate: Some(Box::new(rate)),
        owner: Some(owner.to_owned()),
        purge_at: Some(key_kept_until(now)),
        ..key.clone()
    }
}

impl KeyRate {
    /// Returns the rate that applies: the set one, or else the declared one.
    pub(crate) fn current(&self) -> Rate {
        self.fixed.or(self.declared).unwrap_or(Rate::per_second(1))
    }

    /// Returns this rate after a change at `now`. The earlier rate may have been slower, and used up for a longer time than the new
    /// rate allows.
    fn changed(self, now: Timestamp) -> Self {
        let current = self.current();
        let most = micros(current.interval()).saturating_mul(current.burst.into());
        Self { used_until: self.used_until.min(now.as_microsecond().saturating_add(most)), sent_until: 0, ..self }
    }

    /// Returns the instant of the earliest start, in microseconds since the epoch. It may have passed.
    fn earliest(&self) -> i64 {
        let current = self.current();
        self.used_until.saturating_sub(micros(current.interval()).saturating_mul(i64::from(current.burst) - 1))
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
