//! Creates and replaces schedules.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sqjobs::{CatchUp, Entry, Scheduled, Timetable};

use super::{
    args::AddSchedule,
    field::unknown_field,
    preview::when,
    rows::{CODE, MAY_STILL_RUN, entry_json, may_still_run, missing, print_json, report},
};
use crate::{
    aws::Aws,
    command::{
        enqueue::arguments,
        queue::{self, DeadLetterQueues},
    },
    failure::Failure,
    lines::open,
    output::{Output, clean, confirmed},
    shell::creation,
    time::exact,
};

/// The interval between two ticks of a beater.
const TICK: SignedDuration = SignedDuration::from_mins(1);

/// Creates or replaces schedules. Refuses missing queues, and queues of other environments. Prints the schedules that it would replace, and
/// asks first.
pub(super) async fn add(aws: &Aws, entries: &[(Entry, bool)], yes: bool, json: bool, output: &mut Output) -> Result<bool, Failure> {
    let queues: BTreeSet<_> = entries.iter().map(|(entry, _)| entry.queue_name()).collect();
    queue::refuse_others(aws, queues.iter().map(|queue| &**queue)).await?;
    let dlqs = DeadLetterQueues::read(aws).await;
    for name in &queues {
        dlqs.refuse(aws, name).await?;
    }
    let schedules = aws.schedules();
    let missing = missing(aws, queues.iter().map(|queue| aws.queue(queue)).collect()).await;
    let (mut stored, mut unread) = (Vec::new(), Vec::new());
    for (entry, _) in entries {
        let (id, name) = (entry.id(), entry.queue_name());
        if let Some(queue) = missing.get(&aws.queue(&name)) {
            let remedy = format!("create it with {}, or give another queue with --queue", creation(&name));
            return Err(Failure::new(format!("cannot add schedule {id:?}: its queue {queue} does not exist; {remedy}")));
        }
        match schedules.try_get(id).await?.transpose() {
            Ok(found) => stored.push(found),
            Err(error) => {
                note!("cannot read schedule {}: {}", clean(id), clean(&error));
                unread.push(id);
                stored.push(None);
            }
        }
    }
    let replaced = entries.iter().zip(&stored).filter_map(|((entry, _), stored)| stored.as_ref().filter(|stored| stored.entry != *entry));
    let (from_code, by_hand): (Vec<_>, Vec<_>) = replaced.partition(|stored| stored.from_code);
    // An unchanged schedule from code is not written.
    let is_put = |entry: &Entry, stored: Option<&Scheduled>| !stored.is_some_and(|stored| stored.from_code && stored.entry == *entry);
    for ((entry, _), stored) in entries.iter().zip(&stored) {
        if is_put(entry, stored.as_ref()) {
            schedules.check(entry)?;
        }
    }
    let mut questions = Vec::new();
    if !unread.is_empty() {
        let ids: Vec<_> = unread.iter().map(|id| clean(id)).collect();
        questions.push(format!("Replace schedule {}, whose row cannot be read? The row will be lost.", ids.join(", ")));
    }
    if !(from_code.is_empty() && by_hand.is_empty()) {
        note!("The command replaces these schedules. To restore them, give these lines to `sqjobs schedule add --from -`:");
        for stored in from_code.iter().chain(&by_hand) {
            note!("{}", entry_json(stored)?);
        }
        let ids = |stored: &[&Scheduled]| stored.iter().map(|stored| clean(stored.entry.id())).collect::<Vec<_>>().join(", ");
        if !from_code.is_empty() {
            let ids = ids(&from_code);
            questions.push(format!(
                "Schedule {ids} is in the code of a beater: {CODE}. To keep the change, make it in the code. Change the schedule anyway?"
            ));
        }
        if !by_hand.is_empty() {
            questions.push(format!("Replace schedule {}?", ids(&by_hand)));
        }
    }
    if !(questions.is_empty() || confirmed(&questions.join(" "), yes)?) {
        return Ok(false);
    }
    for ((entry, paused), stored) in entries.iter().zip(stored) {
        let id = entry.id();
        if unread.contains(&id) {
            schedules.delete(id).await?;
        }
        if is_put(entry, stored.as_ref()) {
            schedules.put(entry).await?;
        }
        if *paused {
            schedules.pause(id).await?;
        }
        let was = stored.as_ref().and_then(|stored| was(&stored.entry, entry)).map(|was| format!("; changed: {was}"));
        let is_changed = was.is_some() || stored.as_ref().is_some_and(|stored| *paused && !stored.paused);
        let still = match &stored {
            _ if unread.contains(&id) => Some(MAY_STILL_RUN),
            Some(stored) if is_changed => may_still_run(stored, aws.clock.now()),
            _ => None,
        };
        let overrides = stored.as_ref().is_some_and(|stored| stored.from_code && stored.entry != *entry);
        let is_paused = *paused || stored.as_ref().is_some_and(|stored| stored.paused);
        let now = aws.clock.now();
        let first = match &stored {
            _ if is_paused => "; it is paused".to_owned(),
            Some(stored) => {
                let mut changed = stored.clone();
                changed.entry = entry.clone();
                let is_ticked = stored.next_fire.is_some_and(|next| next > now);
                first(&changed.timetable(now)?, is_ticked && stored.entry.schedule() == entry.schedule(), now)
            }
            None => first(&schedules.check(entry)?, false, now),
        };
        if let Some(was) = was.as_ref().filter(|_| json) {
            note!("{}{}", clean(id), clean(was));
        }
        report(id, json, &format!("fires {}{}{first}", entry.check()?, clean(&was.unwrap_or_default())), still, output)?;
        print_json(aws, id, json, false, output).await?;
        if overrides {
            note!("{} is in the code of a beater: {CODE}. To keep this change, make it in the code", clean(id));
        }
    }
    Ok(true)
}

/// Describes the old values of the changed fields.
fn was(before: &Entry, now: &Entry) -> Option<String> {
    let [Ok(Value::Object(before)), Ok(Value::Object(now))] = [before, now].map(serde_json::to_value) else { return None };
    let names: BTreeSet<_> = before.keys().chain(now.keys()).filter(|name| before.get(*name) != now.get(*name)).collect();
    let was = names.iter().map(|name| match (name.as_str(), before.get(*name)) {
        ("args" | "kwargs" | "meta", _) => (*name).clone(),
        (_, Some(value)) => format!("{name} (was {value})"),
        (_, None) => format!("{name} (was not set)"),
    });
    (!names.is_empty()).then(|| was.collect::<Vec<_>>().join(", "))
}

/// Describes the next fire of an added schedule. A beater makes no fire before its first tick after the change, except those that it had
/// made before.
fn first(timetable: &Timetable, fires_as_before: bool, now: Timestamp) -> String {
    match (timetable.next(now), timetable.next(now + TICK)) {
        (Some(next), Some(sure)) if !fires_as_before && next != sure => {
            format!("; it fires next at {} at the latest: a fire within the next minute may be missed", exact(sure))
        }
        (Some(next), _) => format!("; it fires next at {}", exact(next)),
        (None, _) => String::new(),
    }
}

/// Reads schedules from a file, in the form of `list --json`, with true for each paused one. Refuses duplicate ids.
pub(super) fn read(file: &Path) -> Result<Vec<(Entry, bool)>, Failure> {
    let (lines, _) = open(file)?;
    let (mut entries, mut line_of) = (Vec::new(), BTreeMap::new());
    for (number, line) in (1..).zip(lines) {
        let wrong = |error: serde_json::Error| {
            Failure::new(format!("line {number} is not a schedule: {error}; write it as `sqjobs schedule list --json` prints it"))
        };
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let row: Value = serde_json::from_str(&line).map_err(wrong)?;
        if let Some(unknown) = unknown_field(&row) {
            return Err(Failure::new(format!("line {number}: {unknown} Nothing was added")));
        }
        let paused = match row.get("paused") {
            None => false,
            Some(Value::Bool(paused)) => *paused,
            Some(other) => {
                return Err(Failure::new(format!(
                    "line {number}: its field \"paused\" is {other}; write true or false. Nothing was added"
                )));
            }
        };
        let entry: Entry = serde_json::from_value(row).map_err(wrong)?;
        if let Some(first) = line_of.insert(entry.id().to_owned(), number) {
            let id = entry.id();
            return Err(Failure::new(format!(
                "schedule {id:?} is in line {first} and in line {number}; remove one of them, or give it another id"
            )));
        }
        entries.push((entry, paused));
    }
    Ok(entries)
}

pub(super) fn entry(wanted: AddSchedule) -> Result<Entry, Failure> {
    let (Some(id), Some(job)) = (wanted.id, wanted.job) else {
        return Err(Failure::new("no schedule is given; give an id and the name of its job, or a file with --from"));
    };
    let mut entry = Entry::named(id, when(&wanted.when)?, job, arguments(wanted.args.as_deref())?);
    if let Some(queue) = wanted.queue {
        entry = entry.queue(queue);
    }
    if let Some(priority) = wanted.priority {
        entry = entry.priority(priority);
    }
    if let Some(attempts) = wanted.max_attempts {
        entry = entry.max_attempts(attempts);
    }
    if let Some(rule) = wanted.catch_up {
        entry = entry.catch_up(match &*rule {
            "skip" => CatchUp::Skip,
            "all" => CatchUp::All,
            _ => CatchUp::One,
        });
    }
    if let Some(jitter) = wanted.jitter {
        entry = entry.jitter(jitter);
    }
    Ok(wanted.tags.into_iter().fold(entry, Entry::tag))
}
