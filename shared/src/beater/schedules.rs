//! Changes the schedules' table while beaters run.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    entry::Entry,
    rows::{Changed, DynamoDb, Found, Row, Rows},
};
use crate::{Client, Clock, Enqueued, Error, Schedule, Timetable, config, envelope::check_id, store::StoreError};

/// How often a change is tried of a row that changes meanwhile.
const TRIES: usize = 5;

/// Creates, changes, pauses and deletes schedules at run time. A change takes effect at the next tick of a beater, which
/// also takes back what it has sent ahead for the schedule as it was. Cheap to clone.
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

/// A schedule as it stands.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Scheduled {
    /// What it enqueues, and when.
    pub entry: Entry,
    /// Whether it fires nothing until it is resumed.
    pub paused: bool,
    /// Whether it comes from the code of a beater, and goes with it unless it is [overridden](Self::overridden).
    pub from_code: bool,
    /// Whether it was changed since the code wrote it: the next process of the beater that starts puts the code's back.
    pub overridden: bool,
    /// The next fire that no beater has made yet. None: it is paused, or will not fire any more.
    pub next_fire: Option<Timestamp>,
    /// The fires that a beater has made before their time, oldest first. Some may have passed.
    pub ahead: Vec<Timestamp>,
    /// When it was created: its intervals count from then. None: no beater has looked at it yet.
    pub created_at: Option<Timestamp>,
}

impl Scheduled {
    /// Returns when it fires; where no beater has looked at it yet, as if it were created `now`.
    ///
    /// # Errors
    ///
    /// Names the field that is wrong, and what would be right.
    pub fn timetable(&self, now: Timestamp) -> Result<Timetable, Error> {
        self.entry.timetable(self.created_at.unwrap_or(now))
    }

    /// Returns the next fire after `now`, also where a beater has made it already. Of a schedule that the next tick of a
    /// beater is to look at, it is the instant from which that is due.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let ahead = self.ahead.iter().copied().find(|fire| *fire > now);
        match self.next_fire {
            Some(next) if next <= now => Some(next),
            next => ahead.or(next),
        }
    }
}

impl Schedules {
    /// Those of AWS, configured by the variables of the SDK, `SQJOBS_PREFIX`, `SQJOBS_SCHEDULES_TABLE` and `SQJOBS_TABLE`.
    pub async fn from_env() -> Self {
        let dynamodb = aws_sdk_dynamodb::Client::new(&config::sdk().await);
        Self::in_tables(dynamodb, config::schedules_table(), config::table(), Client::from_env().await)
    }

    /// Those of the table `schedules`, beside the records in `jobs`; `client` enqueues what is to [run now](Self::run_now).
    pub fn in_tables(dynamodb: aws_sdk_dynamodb::Client, schedules: impl Into<String>, jobs: impl Into<String>, client: Client) -> Self {
        Self::new(Arc::new(DynamoDb::new(dynamodb, schedules.into(), jobs.into())), client, Clock::system())
    }

    pub(crate) fn new(rows: Arc<dyn Rows>, client: Client, clock: Clock) -> Self {
        Self { rows, client, clock }
    }

    /// Creates a schedule, or changes the one that has this id; a paused one stays so. One that was deleted comes back as new.
    ///
    /// One that comes from the code of a beater is [overridden](Scheduled::overridden): it stays when the code no longer has
    /// it. While the code has it, the next process of the beater that starts puts the entry of the code back.
    ///
    /// # Errors
    ///
    /// When the entry is wrong or will never fire, in a sentence that names the field, or the table does not take it.
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

    /// Checks that an entry can be [put](Self::put), and returns when it fires.
    ///
    /// # Errors
    ///
    /// When the entry is wrong or will never fire, in a sentence that names the field.
    pub fn check(&self, entry: &Entry) -> Result<Timetable, Error> {
        let now = self.clock.now();
        let timetable = entry.timetable(now)?;
        if timetable.next(now).is_none() {
            return Err(Error::config(format!("schedule {:?} is wrong: year: it does not fire any more; choose a later year", entry.id())));
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

    /// Reads every schedule, by id. Rows that cannot be read are left out and logged.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn list(&self) -> Result<Vec<Scheduled>, Error> {
        let (schedules, unreadable) = self.list_all().await?;
        for (id, error) in unreadable {
            tracing::error!(schedule = id, error, "a schedule cannot be read");
        }
        Ok(schedules)
    }

    /// Reads every schedule, by id, and the ids of the rows that cannot be read, each with the reason.
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
    /// When there is none of this id, or the table does not take it.
    pub async fn pause(&self, id: &str) -> Result<(), Error> {
        self.change(id, |row| Row { paused: true, ..row }).await
    }

    /// Lets a paused schedule fire again. What was due meanwhile is not made up for.
    ///
    /// # Errors
    ///
    /// When there is none of this id, or the table does not take it.
    pub async fn resume(&self, id: &str) -> Result<(), Error> {
        self.change(id, |row| Row { paused: false, ..row }).await
    }

    /// Deletes a schedule, also one whose row cannot be read; a beater removes the row.
    ///
    /// # Errors
    ///
    /// When there is none of this id, or the table does not take it.
    pub async fn delete(&self, id: &str) -> Result<(), Error> {
        if let Some(Err(_)) = find(&*self.rows, id).await? {
            // What it enqueued is not known. Beaters delete a row that they can read.
            let unknown = Entry::named(id, Schedule::every(Duration::from_mins(1)), "unknown", Value::Null);
            let row = Row { deleted: true, ..Row::new(unknown, self.clock.now()) };
            return self.rows.overwrite(&row).await.map_err(unanswered);
        }
        self.change(id, |row| Row { deleted: true, ..row }).await
    }

    /// Enqueues a schedule's job now, beside its fires.
    ///
    /// # Errors
    ///
    /// When there is none of this id, it was deleted, or SQS does not take the message.
    pub async fn run_now(&self, id: &str) -> Result<Enqueued, Error> {
        let row = read(&*self.rows, id).await?.ok_or_else(|| missing(id))?;
        if row.deleted {
            let why = "it was removed, and its row stays until a beater deletes it; add it again, or enqueue its job by name";
            return Err(Error::config(format!("cannot run schedule {id:?}: {why}")));
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

/// Replaces a row by what `change` makes of it, as often as it changes meanwhile.
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
    Err(Error::config(format!("schedule {id:?} changes all the time; try again")))
}

async fn read(rows: &dyn Rows, id: &str) -> Result<Option<Row>, Error> {
    find(rows, id).await?.transpose().map_err(|(id, error)| unreadable(&id, &error))
}

async fn find(rows: &dyn Rows, id: &str) -> Result<Option<Found>, Error> {
    check_id(id).map_err(|error| Error::because(&format!("there is no schedule {id:?}"), error))?;
    rows.get(id).await.map_err(unanswered)
}

fn unreadable(id: &str, error: &str) -> Error {
    Error::config(format!("schedule {id:?} cannot be read: {error}; correct its row, or remove the schedule"))
}

fn missing(id: &str) -> Error {
    Error::config(format!("there is no schedule {id:?}"))
}

pub(super) fn unanswered(error: StoreError) -> Error {
    Error::because("cannot reach the schedules", error)
}

impl From<Row> for Scheduled {
    fn from(row: Row) -> Self {
        let next_fire = row.next_fire.and_then(|text| text.parse().ok());
        let Row { entry, paused, from_code, overridden, ahead, created_at, .. } = row;
        Self { entry, paused, from_code, overridden, next_fire, ahead, created_at }
    }
}

impl fmt::Debug for Schedules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedules").finish_non_exhaustive()
    }
}
