//! Changes the schedules' table while beaters run.

use std::{fmt, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    entry::Entry,
    rows::{Changed, DynamoDb, Found, Row, Rows},
};
use crate::{Client, Clock, Enqueued, Error, Schedule, Timetable, config, envelope::check_id, store::StoreError};

/// Maximum attempts of a change to a row that others change at the same time.
const TRIES: usize = 5;

/// Creates, changes, pauses and deletes schedules at run time. A change takes effect at the next tick of a beater. That tick also
/// updates or cancels the jobs that were sent ahead for the old schedule. Cheap to clone.
///
/// ```no_run
/// use sqjobs::{Entry, Schedule, Schedules};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), sqjobs::Error> {
/// let schedules = Schedules::from_env().await;
/// let hourly = Schedule::cron("@hourly").timezone("Europe/Madrid");
/// schedules.put(&Entry::named("cleanup", hourly, "cleaner", serde_json::json!({"days": 30}))).await?;
/// schedules.pause("cleanup").await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Schedules {
    rows: Arc<dyn Rows>,
    client: Client,
    clock: Clock,
}

/// A stored schedule.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Scheduled {
    /// The job and its schedule.
    pub entry: Entry,
    /// `true` if it does not fire until it is resumed.
    pub paused: bool,
    /// `true` if it comes from the code of a beater. It is removed with the code unless it is [overridden](Self::overridden).
    pub from_code: bool,
    /// `true` if it was changed since the code wrote it. The beater restores the entry of the code when its next process starts.
    pub overridden: bool,
    /// The next fire that no beater has made yet. `None` if it is paused or does not fire again.
    pub next_fire: Option<Timestamp>,
    /// The fires that a beater has made before their time, oldest first. Several may have passed.
    pub ahead: Vec<Timestamp>,
    /// The instant of its creation, from which its intervals count. `None` if no beater has examined it yet.
    pub created_at: Option<Timestamp>,
    /// The names of the fields of its row that this version does not know, and ignores.
    pub unknown: Vec<String>,
}

impl Scheduled {
    /// Returns its timetable. If no beater has examined it yet, intervals count from `now`.
    ///
    /// # Errors
    ///
    /// Names the wrong field and its valid values.
    pub fn timetable(&self, now: Timestamp) -> Result<Timetable, Error> {
        self.entry.timetable(self.created_at.unwrap_or(now))
    }

    /// Returns the next fire after `now`, even if a beater has already made it. If a tick must examine the schedule first, returns the
    /// due time of that examination.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let timetable = self.timetable(now);
        // A tick withdraws the fires that it made before a change of the timetable.
        let is_fire = |fire: Timestamp| timetable.as_ref().is_ok_and(|own| own.next(fire - SignedDuration::from_nanos(1)) == Some(fire));
        let ahead = self.ahead.iter().copied().find(|fire| *fire > now && is_fire(*fire));
        match self.next_fire {
            Some(next) if next <= now => Some(next),
            next => ahead.or(next),
        }
    }
}

impl Schedules {
    /// Connects to AWS with the variables of the SDK, `SQJOBS_PREFIX`, `SQJOBS_SCHEDULES_TABLE` and `SQJOBS_TABLE`.
    pub async fn from_env() -> Self {
        let dynamodb = aws_sdk_dynamodb::Client::new(&config::sdk().await);
        Self::in_tables(dynamodb, config::schedules_table(), config::table(), Client::from_env().await)
    }

    /// Uses the schedules in the table `schedules` and the records in `jobs`. `client` enqueues jobs that [run now](Self::run_now).
    pub fn in_tables(dynamodb: aws_sdk_dynamodb::Client, schedules: impl Into<String>, jobs: impl Into<String>, client: Client) -> Self {
        Self::new(Arc::new(DynamoDb::new(dynamodb, schedules.into(), jobs.into())), client, Clock::system())
    }

    pub(crate) fn new(rows: Arc<dyn Rows>, client: Client, clock: Clock) -> Self {
        Self { rows, client, clock }
    }

    /// Creates a schedule, or changes the one with this id. A paused schedule stays paused. A deleted schedule is created anew.
    ///
    /// A schedule from the code of a beater becomes [overridden](Scheduled::overridden): it stays when the code no longer contains
    /// it. While the code contains it, the beater restores the entry of the code when its next process starts.
    ///
    /// # Errors
    ///
    /// When the entry is wrong or never fires (the error names the field), or when the table refuses the write.
    pub async fn put(&self, entry: &Entry) -> Result<(), Error> {
        self.check(entry)?;
        let now = self.clock.now();
        let changed = |row: Option<Row>| match row {
            Some(row) => {
                let row = row.put(entry.clone(), now);
                Ok(Row { overridden: row.from_code, ..row })
            }
            None => Ok(Row::new(entry.clone(), now)),
        };
        edit(&*self.rows, entry.id(), changed).await
    }

    /// Checks that an entry can be [put](Self::put), and returns its timetable.
    ///
    /// # Errors
    ///
    /// When the entry is wrong or never fires. The error names the field.
    pub fn check(&self, entry: &Entry) -> Result<Timetable, Error> {
        let now = self.clock.now();
        let timetable = entry.timetable(now)?;
        if timetable.next(now).is_none() {
            return Err(Error::Invalid(format!(
                "schedule {:?} is invalid: year: it does not fire any more; choose a later year",
                entry.id()
            )));
        }
        Ok(timetable)
    }

    /// Reads a schedule.
    ///
    /// # Errors
    ///
    /// When the table does not answer, or the row cannot be read.
    pub async fn get(&self, id: &str) -> Result<Option<Scheduled>, Error> {
        self.try_get(id).await?.transpose().map_err(|error| unreadable(id, &error))
    }

    /// Reads a schedule, or the reason why its row cannot be read.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn try_get(&self, id: &str) -> Result<Option<Result<Scheduled, String>>, Error> {
        Ok(match find(&*self.rows, id).await? {
            Some(Ok(row)) => (!row.deleted).then(|| Ok(Scheduled::from(row))),
            Some(Err((_, error))) => Some(Err(error)),
            None => None,
        })
    }

    /// Reads every schedule, sorted by id. Unreadable rows are left out and logged.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn list(&self) -> Result<Vec<Scheduled>, Error> {
        let (schedules, unreadable) = self.list_all().await?;
        for (id, error) in unreadable {
            tracing::error!(schedule = id, error, "cannot read a schedule");
        }
        Ok(schedules)
    }

    /// Reads every schedule, sorted by id, and the ids of unreadable rows with their reasons.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn list_all(&self) -> Result<(Vec<Scheduled>, Vec<(String, String)>), Error> {
        let (mut schedules, mut unreadable) = (Vec::new(), Vec::new());
        for found in self.rows.all().await.map_err(unanswered)? {
            match found {
                Ok(row) if row.deleted => {}
                Ok(row) => schedules.push(Scheduled::from(row)),
                Err(wrong) => unreadable.push(wrong),
            }
        }
        schedules.sort_by(|a, b| a.entry.id().cmp(b.entry.id()));
        unreadable.sort();
        Ok((schedules, unreadable))
    }

    /// Stops a schedule until it is resumed.
    ///
    /// # Errors
    ///
    /// When no schedule has this id, or the table refuses the write.
    pub async fn pause(&self, id: &str) -> Result<(), Error> {
        self.change(id, |row| Row { paused: true, ..row }).await
    }

    /// Resumes a paused schedule. Fires during the pause are not caught up with.
    ///
    /// # Errors
    ///
    /// When no schedule has this id, or the table refuses the write.
    pub async fn resume(&self, id: &str) -> Result<(), Error> {
        self.change(id, |row| Row { paused: false, ..row }).await
    }

    /// Deletes a schedule, even if its row cannot be read. A beater removes the row.
    ///
    /// # Errors
    ///
    /// When no schedule has this id, or the table refuses the write.
    pub async fn delete(&self, id: &str) -> Result<(), Error> {
        if let Some(Err(_)) = find(&*self.rows, id).await? {
            // The job of an unreadable row is unknown. Beaters delete only rows that they can read.
            let unknown = Entry::named(id, Schedule::every(Duration::from_mins(1)), "unknown", Value::Null);
            let row = Row { deleted: true, ..Row::new(unknown, self.clock.now()) };
            return self.rows.overwrite(&row).await.map_err(unanswered);
        }
        self.change(id, |row| Row { deleted: true, ..row }).await
    }

    /// Enqueues the job of a schedule now, in addition to its fires.
    ///
    /// # Errors
    ///
    /// When no schedule has this id, it was deleted, or SQS refuses the message.
    pub async fn run_now(&self, id: &str) -> Result<Enqueued, Error> {
        let row = read(&*self.rows, id).await?.ok_or_else(|| missing(id))?;
        if row.deleted {
            let why = "it was removed, and its row stays until a beater deletes it; add it again, or enqueue its job by name";
            return Err(Error::Conflict(format!("cannot run schedule {id:?}: {why}")));
        }
        self.client.enqueue_one(row.entry.now()).await
    }

    async fn change(&self, id: &str, change: impl Fn(Row) -> Row + Send + Sync) -> Result<(), Error> {
        let now = self.clock.now();
        edit(&*self.rows, id, |row| match row {
            Some(row) if !row.deleted => Ok(change(row).looked_at(now)),
            _ => Err(missing(id)),
        })
        .await
    }
}

/// Replaces a row by the result of `change`. Tries again if the row is changed at the same time.
pub(super) async fn edit(rows: &dyn Rows, id: &str, change: impl Fn(Option<Row>) -> Result<Row, Error>) -> Result<(), Error> {
    for _ in 0..TRIES {
        let seen = read(rows, id).await?;
        let next = change(seen.clone())?;
        if seen.as_ref() == Some(&next) {
            return Ok(());
        }
        match rows.change(id, seen.as_ref(), Some(&next), &[]).await.map_err(unanswered)? {
            Changed::Done => return Ok(()),
            Changed::Refused | Changed::Known(_) => {}
        }
    }
    Err(Error::Conflict(format!("cannot change schedule {id:?}: it changed at each try; try again")))
}

async fn read(rows: &dyn Rows, id: &str) -> Result<Option<Row>, Error> {
    find(rows, id).await?.transpose().map_err(|(id, error)| unreadable(&id, &error))
}

async fn find(rows: &dyn Rows, id: &str) -> Result<Option<Found>, Error> {
    check_id(id).map_err(|error| Error::Invalid(format!("there is no schedule {id:?}: {error}")))?;
    rows.get(id).await.map_err(unanswered)
}

fn unreadable(id: &str, error: &str) -> Error {
    Error::Invalid(format!("schedule {id:?} cannot be read: {error}; correct its row, or remove the schedule"))
}

fn missing(id: &str) -> Error {
    Error::NotFound(format!("there is no schedule {id:?}"))
}

pub(super) fn unanswered(error: StoreError) -> Error {
    Error::store("cannot read or write the schedules", error)
}

impl From<Row> for Scheduled {
    fn from(row: Row) -> Self {
        let next_fire = row.next_fire.and_then(|text| text.parse().ok());
        let mut unknown: Vec<_> = row.unknown.into_keys().collect();
        unknown.sort_unstable();
        let Row { entry, paused, from_code, overridden, ahead, created_at, .. } = row;
        Self { entry, paused, from_code, overridden, next_fire, ahead, created_at, unknown }
    }
}

impl fmt::Debug for Schedules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedules").finish_non_exhaustive()
    }
}
