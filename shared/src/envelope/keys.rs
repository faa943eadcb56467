//! The fields of a job that shares keys with other jobs.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{Envelope, Unreadable, field::take, limit};

/// The feature that a worker needs for these fields.
pub(crate) const FEATURE: &str = "keys";
/// The feature that a worker needs for the rate of a key.
pub(crate) const RATES: &str = "rates";
/// Maximum number of jobs with one key that run at a time.
pub(crate) const MOST: u32 = 100;
/// Maximum period of a rate, in seconds: a day.
const MOST_PERIOD_S: f64 = 86_400.0;
/// Maximum number of attempts per second that a rate allows. Each start writes to the record of the key.
const MOST_PER_SECOND: f64 = 100.0;
/// Maximum burst of a rate.
const MOST_BURST: u32 = 1000;
/// Maximum time for which a job holds a unique key, in seconds: a year. The record of a key is kept for longer.
const MOST_S: f64 = 31_536_000.0;

/// The keys that a job shares with other jobs, in all functions and queues of an environment.
///
/// A job whose key is full, or whose rate is used up, waits. It uses no attempt, and starts as soon as the key allows it. Jobs with other
/// keys do not wait. If another job holds the unique key of a job, [`OnConflict`] decides.
///
/// ```
/// use sqjobs::Keys;
///
/// // At most five calls of the service at a time, and one job for each customer.
/// let keys = Keys::new().limit("billing-service", 5).exclusive("customer-17");
/// ```
///
/// ```
/// use sqjobs::{Keys, Rate};
///
/// // At most 100 attempts a minute, one every 600 ms.
/// let keys = Keys::new().rate("mail-service", Rate::per_minute(100));
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Keys {
    /// A key. At most [`limit`](Self::limit) jobs with this key run at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_key: Option<String>,
    /// Maximum number of jobs with the `limit_key` that run at a time, 1 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// A key. Attempts of jobs with this key start at most at the [`rate`](Self::rate).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_key: Option<String>,
    /// The rate of the `rate_key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// A key that one job holds from its first start until it has ended, also between its attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusive_key: Option<String>,
    /// A key that one job holds from its enqueue, for the time of [`unique_for`](Self::unique_for).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_key: Option<String>,
    /// The time for which a job holds the `unique_key`. `None`: until it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_for: Option<UniqueFor>,
    /// The consequence for a job whose `unique_key` another job holds. `None`: the job is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_conflict: Option<OnConflict>,
}

/// A number of attempts in a period. They start at even intervals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Rate {
    /// Maximum number of attempts that start in a period, 1 or more.
    pub limit: u32,
    /// The period in seconds, above 0 and up to a day. `limit` may be at most 100 for each second of it.
    pub period_s: f64,
    /// Maximum number of attempts that start at once after a pause, 1 to 1000. 1: the attempts always keep their interval.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub burst: u32,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(burst: &u32) -> bool {
    *burst == 1
}

impl Rate {
    /// Allows `limit` attempts in each period.
    pub fn new(limit: u32, period: Duration) -> Self {
        Self { limit, period_s: period.as_secs_f64(), burst: 1 }
    }

    /// Allows `limit` attempts in each second.
    pub fn per_second(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(1))
    }

    /// Allows `limit` attempts in each minute.
    pub fn per_minute(limit: u32) -> Self {
        Self::new(limit, Duration::from_mins(1))
    }

    /// Allows `burst` attempts at once after a pause.
    #[must_use]
    pub fn burst(self, burst: u32) -> Self {
        Self { burst, ..self }
    }

    /// Returns the interval between two starts.
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_secs_f64(self.period_s / f64::from(self.limit))
    }

    /// Checks the limits.
    pub(crate) fn check(&self) -> Result<(), Unreadable> {
        let refuse = |flaw| Err(Unreadable::new("rate", flaw, limit::remedy("rate")));
        match *self {
            Self { limit: 0, .. } => refuse("its limit is 0".to_owned()),
            Self { period_s, .. } if !(period_s > 0.0 && period_s <= MOST_PERIOD_S) => refuse(format!("its period is {period_s} s")),
            Self { limit, period_s, .. } if f64::from(limit) > period_s * MOST_PER_SECOND => {
                refuse(format!("{limit} in {period_s} s is more than {MOST_PER_SECOND} a second"))
            }
            Self { burst, .. } if !(1..=MOST_BURST).contains(&burst) => refuse(format!("its burst is {burst}")),
            _ => Ok(()),
        }
    }
}

/// The time for which a job holds its unique key. In a message: `"ended"`, `"started"`, or a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum UniqueFor {
    /// Until this event.
    Until(Until),
    /// For this number of seconds after the job took the key, even if it has already ended.
    Seconds(f64),
}

/// The event that frees a unique key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Until {
    /// The job has ended.
    Ended,
    /// The job has started for the first time.
    Started,
}

/// The consequence for a job whose unique key another job holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnConflict {
    /// The job is cancelled.
    #[default]
    Drop,
    /// The job is cancelled. If the other job has not started, it gets the arguments, tags, data and run time of this one. It keeps its own
    /// if the two jobs have different names or queues, or if one of them waits for other jobs.
    Replace,
    /// The job fails. If a client enqueues it, the enqueue returns an error.
    Fail,
}

impl Keys {
    /// Creates an empty set of keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets at most `most` jobs with this key run at a time.
    #[must_use]
    pub fn limit(self, key: impl Into<String>, most: u32) -> Self {
        Self { limit_key: Some(key.into()), limit: Some(most), ..self }
    }

    /// Lets attempts of jobs with this key start at most at this rate.
    #[must_use]
    pub fn rate(self, key: impl Into<String>, rate: Rate) -> Self {
        Self { rate_key: Some(key.into()), rate: Some(rate), ..self }
    }

    /// Lets one job with this key run at a time, from its first start until it has ended, also between its attempts.
    #[must_use]
    pub fn exclusive(self, key: impl Into<String>) -> Self {
        Self { exclusive_key: Some(key.into()), ..self }
    }

    /// Lets one job hold this key, from its enqueue until it has ended. Another job with the key is dropped.
    #[must_use]
    pub fn unique(self, key: impl Into<String>) -> Self {
        Self { unique_key: Some(key.into()), ..self }
    }

    /// Frees the unique key when the job starts for the first time.
    #[must_use]
    pub fn until_started(self) -> Self {
        Self { unique_for: Some(UniqueFor::Until(Until::Started)), ..self }
    }

    /// Frees the unique key when this time has passed since the job took it, even if the job has ended before or still runs.
    #[must_use]
    pub fn unique_for(self, time: Duration) -> Self {
        Self { unique_for: Some(UniqueFor::Seconds(time.as_secs_f64())), ..self }
    }

    /// Sets the consequence for a job whose unique key another job holds.
    #[must_use]
    pub fn on_conflict(self, on_conflict: OnConflict) -> Self {
        Self { on_conflict: Some(on_conflict), ..self }
    }

    /// Returns `true` if there is no key.
    pub fn is_empty(&self) -> bool {
        self.limit_key.is_none() && self.rate_key.is_none() && self.exclusive_key.is_none() && self.unique_key.is_none()
    }

    /// Returns the keys for a message or a job type. `None`: there is none.
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        (!self.is_empty()).then(|| Box::new(self))
    }

    /// Adds the keys of `others` whose kinds are missing here.
    pub(crate) fn or(self, others: Self) -> Self {
        let (limits, rates, uniques) = (self.limit_key.is_some(), self.rate_key.is_some(), self.unique_key.is_some());
        Self {
            limit: if limits { self.limit } else { others.limit },
            limit_key: self.limit_key.or(others.limit_key),
            rate: if rates { self.rate } else { others.rate },
            rate_key: self.rate_key.or(others.rate_key),
            exclusive_key: self.exclusive_key.or(others.exclusive_key),
            unique_for: if uniques { self.unique_for } else { others.unique_for },
            on_conflict: if uniques { self.on_conflict } else { others.on_conflict },
            unique_key: self.unique_key.or(others.unique_key),
        }
    }

    /// Checks the keys and their limits.
    pub(crate) fn check(&self) -> Result<(), Unreadable> {
        let refuse = |field: &str, flaw: String| Err(Unreadable::new(field, flaw, limit::remedy(field)));
        let keys = [
            ("limit_key", &self.limit_key),
            ("rate_key", &self.rate_key),
            ("exclusive_key", &self.exclusive_key),
            ("unique_key", &self.unique_key),
        ];
        for (field, key) in keys {
            key.iter().try_for_each(|key| limit::id(field, key))?;
        }
        match (&self.limit_key, self.limit) {
            (None, Some(_)) => return refuse("limit", "the message has no `limit_key`".into()),
            (Some(_), None) => return refuse("limit", "it is missing beside `limit_key`".into()),
            (Some(_), Some(most)) if !(1..=MOST).contains(&most) => return refuse("limit", format!("it is {most}")),
            _ => {}
        }
        match (&self.rate_key, &self.rate) {
            (None, Some(_)) => return refuse("rate", "the message has no `rate_key`".into()),
            (Some(_), None) => return refuse("rate", "it is missing beside `rate_key`".into()),
            (_, rate) => rate.iter().try_for_each(Rate::check)?,
        }
        if self.unique_key.is_none() {
            let fields = [("unique_for", self.unique_for.is_some()), ("on_conflict", self.on_conflict.is_some())];
            if let Some((field, _)) = fields.into_iter().find(|(_, is_set)| *is_set) {
                return refuse(field, "the message has no `unique_key`".into());
            }
        }
        match self.unique_for {
            Some(UniqueFor::Seconds(seconds)) if !(seconds > 0.0 && seconds <= MOST_S) => refuse("unique_for", format!("it is {seconds}")),
            _ => Ok(()),
        }
    }
}

/// Reads the keys of a message. An optional field would ignore wrong ones.
pub(super) fn read<'de, D: Deserializer<'de>>(fields: D) -> Result<Option<Box<Keys>>, D::Error> {
    let keys = Keys::deserialize(fields)?;
    Ok((keys != Keys::default()).then(|| Box::new(keys)))
}

/// Takes the fields out of a message.
pub(super) fn fields(message: &mut Map<String, Value>) -> Result<Option<Box<Keys>>, Unreadable> {
    if message.is_empty() {
        return Ok(None); // almost always
    }
    let keys = Keys {
        limit_key: take(message, "limit_key")?,
        limit: take(message, "limit")?,
        rate_key: take(message, "rate_key")?,
        rate: take(message, "rate")?,
        exclusive_key: take(message, "exclusive_key")?,
        unique_key: take(message, "unique_key")?,
        unique_for: take(message, "unique_for")?,
        on_conflict: take(message, "on_conflict")?,
    };
    Ok((keys != Keys::default()).then(|| Box::new(keys)))
}

/// Checks the keys of a message.
pub(super) fn check(envelope: &Envelope) -> Result<(), Unreadable> {
    let Some(keys) = &envelope.keys else { return Ok(()) };
    if !envelope.jobs.is_empty() && keys.unique_key.is_some() {
        return Err(Unreadable::new(
            "unique_key",
            "the message is a workflow",
            "give it to a job of the workflow, or use the id of the workflow",
        ));
    }
    keys.check()
}
