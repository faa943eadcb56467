//! Reads the rows of schedules, and prints what was done to them.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sqjobs::Scheduled;

use crate::{
    aws::Aws,
    command::queue,
    failure::Failure,
    output::{Output, clean},
    shell::shell,
};

/// The time by which a beater makes fires in advance. Its next tick withdraws the fires of a changed schedule.
const AHEAD: SignedDuration = SignedDuration::from_mins(2);
pub(super) const MAY_STILL_RUN: &str = "a fire that was planned before this command may still run in the next minute";
/// The reason why a change of a schedule from code does not last.
pub(super) const CODE: &str = "the beater undoes the change when one of its processes starts, at the latest after the next deployment";
/// Delay after which a fire is overdue. A tick comes each minute, and takes several seconds.
const LATE: SignedDuration = SignedDuration::from_mins(2);

/// Finds schedules, each once, or the errors of rows that cannot be read. Refuses all if one does not exist.
pub(super) async fn find<'a>(aws: &Aws, ids: &'a [String]) -> Result<Vec<(&'a str, Result<Scheduled, String>)>, Failure> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for id in ids.iter().collect::<BTreeSet<_>>() {
        match aws.schedules().try_get(id).await? {
            Some(stored) => found.push((&**id, stored)),
            None => missing.push(format!("{id:?}")),
        }
    }
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(Failure::new(format!(
            "there is no schedule {missing}, so nothing was changed; `sqjobs schedule list` shows all schedules"
        )));
    }
    Ok(found)
}

/// Finds schedules. Refuses all if one does not exist or cannot be read.
pub(super) async fn readable(aws: &Aws, ids: &[String]) -> Result<Vec<Scheduled>, Failure> {
    let found = find(aws, ids).await?.into_iter();
    found.map(|(id, stored)| stored.map_err(|error| Failure::new(format!("{}; nothing was changed", cannot_be_read(id, &error))))).collect()
}

/// Returns the error of a row that cannot be read, with the remedy.
pub(super) fn cannot_be_read(id: &str, error: &str) -> String {
    let id = shell(id);
    format!("cannot read schedule {id}: {error}; correct its row, or delete it with `sqjobs schedule remove {id}`")
}

/// Returns a warning if a beater may already have made a fire of the schedule as it was before a change at `now`.
pub(super) fn may_still_run(stored: &Scheduled, now: Timestamp) -> Option<&'static str> {
    let next = if stored.paused { None } else { stored.timetable(now).ok().and_then(|timetable| timetable.next(now)) };
    let mut fires = stored.ahead.iter().copied().chain(next);
    fires.any(|fire| fire > now && fire.duration_since(now) <= AHEAD).then_some(MAY_STILL_RUN)
}

/// Returns the queues that do not exist. Reports if this user has no permission to check; then none is missing.
pub(super) async fn missing(aws: &Aws, queues: BTreeSet<String>) -> BTreeSet<String> {
    queue::missing(aws, queues).await.unwrap_or_else(|failure| {
        note!("cannot check whether the queues exist: {}", clean(&aws.place.with_options(&failure.into_message())));
        BTreeSet::new()
    })
}

/// Returns the status of a schedule in one word.
pub(super) fn status(schedule: &Scheduled, is_missing: bool, now: Timestamp) -> &'static str {
    let is_over = || schedule.timetable(now).is_ok_and(|timetable| timetable.next(now).is_none());
    match schedule.next(now) {
        _ if schedule.paused => "paused",
        _ if schedule.timetable(now).is_err() => "wrong",
        _ if is_missing => "queue_missing",
        Some(at) if at > now => "scheduled",
        Some(at) if now.duration_since(at) > LATE => "overdue",
        None if is_over() => "over",
        _ => "due",
    }
}

/// Returns a schedule as JSON, as `schedule add --from` reads it.
pub(super) fn entry_json(schedule: &Scheduled) -> Result<Value, Failure> {
    let mut row = serde_json::to_value(&schedule.entry)?;
    row["paused"] = schedule.paused.into();
    row["from_code"] = schedule.from_code.into();
    row["overridden"] = schedule.overridden.into();
    Ok(row)
}

/// Returns a schedule with its status as JSON.
pub(super) fn row(schedule: &Scheduled, status: &str, now: Timestamp) -> Result<Value, Failure> {
    let mut row = entry_json(schedule)?;
    row["next_fire"] = json!(schedule.next(now));
    row["status"] = status.into();
    Ok(row)
}

/// Reports a change of a schedule, and the fires that may still run. With JSON, only the latter.
pub(super) fn report(id: &str, json: bool, message: &str, still: Option<&str>, output: &mut Output) -> Result<(), Failure> {
    let id = clean(id);
    match still {
        Some(still) if json => note!("{id}: {still}"),
        None if json => {}
        Some(still) => output.line(format!("{id} {message}; {still}"))?,
        None => output.line(format!("{id} {message}"))?,
    }
    Ok(())
}

/// Prints a schedule as JSON, if `json`.
pub(super) async fn print_json(aws: &Aws, id: &str, json: bool, is_missing: bool, output: &mut Output) -> Result<(), Failure> {
    if !json {
        return Ok(());
    }
    match aws.schedules().get(id).await? {
        Some(schedule) => {
            let now = aws.clock.now();
            output.json(&row(&schedule, status(&schedule, is_missing, now), now)?)
        }
        None => Err(Failure::new(format!("schedule {id:?} was removed in the meantime"))),
    }
}
