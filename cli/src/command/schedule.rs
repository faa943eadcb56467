//! The schedules.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sqjobs::{CatchUp, Entry, Scheduled};

use super::{
    beater,
    enqueue::{arguments, open},
    function::Function,
    queue::{self, DeadLetterQueues},
};
use crate::{
    args::{AddSchedule, Preview, Schedule, When},
    aws::Aws,
    failure::Failure,
    output::{Output, clean, confirmed},
    sentence::shell,
    time::{brief, exact, from_now},
};

pub(super) async fn schedule(aws: impl AsyncFn() -> Aws, wanted: Schedule) -> Result<bool, Failure> {
    let mut output = Output::new();
    match wanted {
        Schedule::Preview(wanted) => preview(aws, &wanted, &mut output).await,
        Schedule::List { json } => list(&aws().await, json, &mut output).await,
        Schedule::Add(wanted) => {
            let (json, yes) = (wanted.json, wanted.yes);
            let entries = match &wanted.from {
                Some(file) => read(file)?,
                None => vec![(entry(*wanted)?, false)],
            };
            entries.iter().try_for_each(|(entry, _)| entry.check().map(drop))?;
            if entries.is_empty() {
                anstream::eprintln!("no schedule added: the input is empty");
                return Ok(false);
            }
            add(&aws().await, &entries, yes, json, &mut output).await
        }
        Schedule::Pause { ids, json } => {
            let aws = aws().await;
            for id in &ids {
                aws.schedules().pause(id).await?;
                show(&aws, id, json, "is paused", &mut output).await?;
            }
            Ok(true)
        }
        Schedule::Resume { ids, json } => {
            let aws = aws().await;
            for id in &ids {
                aws.schedules().resume(id).await?;
                show(&aws, id, json, "fires again", &mut output).await?;
            }
            Ok(true)
        }
        Schedule::Remove { ids, yes, json } => {
            if !confirmed(&format!("Remove {}?", clean(&ids.join(", "))), yes)? {
                return Ok(false);
            }
            let schedules = aws().await.schedules();
            for id in &ids {
                let stored = schedules.get(id).await?;
                schedules.delete(id).await?;
                if json {
                    output.json(&json!({"id": id, "removed": true}))?;
                } else {
                    output.line(format!("{} is removed", clean(id)))?;
                }
                if stored.is_some_and(|stored| stored.from_code) {
                    anstream::eprintln!("{} comes from the code of a beater: {CODE}. Remove it from the code", clean(id));
                }
            }
            Ok(true)
        }
        Schedule::Beater { function } => {
            let aws = aws().await;
            beater::wake(&aws, &Function::find(&aws, &function).await?).await?;
            output.line(format!("{function} is woken each minute"))?;
            Ok(true)
        }
        Schedule::Run { id, json } => {
            let sent = aws().await.schedules().run_now(&id).await?;
            if json {
                output.json(&json!({"id": sent.id, "message_id": sent.message_id}))?;
            } else {
                output.line(&sent.id)?;
            }
            Ok(true)
        }
    }
}

/// Reads the schedules of a file, as `list --json` prints them, and whether each is paused. Refuses an id that the file has twice.
fn read(file: &Path) -> Result<Vec<(Entry, bool)>, Failure> {
    let (lines, _) = open(file)?;
    let (mut entries, mut line_of) = (Vec::new(), BTreeMap::new());
    for (number, line) in (1..).zip(lines) {
        let wrong = |error: serde_json::Error| {
            Failure::said(format!("line {number} is no schedule: {error}; write one as `sqjobs schedule list --json` prints it"))
        };
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let row: Value = serde_json::from_str(&line).map_err(wrong)?;
        let paused = row["paused"] == true;
        let entry: Entry = serde_json::from_value(row).map_err(wrong)?;
        if let Some(first) = line_of.insert(entry.id().to_owned(), number) {
            let id = entry.id();
            return Err(Failure::said(format!(
                "schedule {id:?} stands in line {first} and in line {number}; remove one, or give it another id"
            )));
        }
        entries.push((entry, paused));
    }
    Ok(entries)
}

/// The reason why a change of a schedule of the code does not last.
const CODE: &str = "each process of that beater writes the schedules of its code when it starts, at the latest after the next deployment";

/// Creates or replaces schedules, unless a queue does not exist or is of another environment. Prints those that it would replace, and
/// asks before it does.
async fn add(aws: &Aws, entries: &[(Entry, bool)], yes: bool, json: bool, output: &mut Output) -> Result<bool, Failure> {
    queue::refuse_others(aws, entries.iter().map(|(entry, _)| entry.queue_name())).await?;
    let dlqs = DeadLetterQueues::read(aws).await;
    for name in entries.iter().map(|(entry, _)| entry.queue_name()).collect::<BTreeSet<_>>() {
        dlqs.refuse(aws, name).await?;
    }
    let schedules = aws.schedules();
    let missing = missing(aws, entries.iter().map(|(entry, _)| aws.queue(entry.queue_name())).collect()).await;
    let mut stored = Vec::new();
    for (entry, _) in entries {
        let (id, name) = (entry.id(), entry.queue_name());
        if let Some(queue) = missing.get(&aws.queue(name)) {
            let remedy = format!("create it by `sqjobs queue create {}`, or name another by --queue", shell(name));
            return Err(Failure::said(format!("cannot add schedule {id:?}: its queue {queue} does not exist; {remedy}")));
        }
        stored.push(schedules.get(id).await?);
    }
    let replaced = entries.iter().zip(&stored).filter_map(|((entry, _), stored)| stored.as_ref().filter(|stored| stored.entry != *entry));
    let (from_code, by_hand): (Vec<_>, Vec<_>) = replaced.partition(|stored| stored.from_code);
    if !(from_code.is_empty() && by_hand.is_empty()) {
        anstream::eprintln!("These schedules are replaced. `sqjobs schedule add --from -` restores them from these lines:");
        for stored in from_code.iter().chain(&by_hand) {
            anstream::eprintln!("{}", told(stored)?);
        }
        let ids = |stored: &[&Scheduled]| stored.iter().map(|stored| clean(stored.entry.id())).collect::<Vec<_>>().join(", ");
        let mut questions = Vec::new();
        if !from_code.is_empty() {
            let ids = ids(&from_code);
            questions.push(format!(
                "The code of a beater has schedule {ids}: {CODE}. Change the code to keep a change. Change the schedule here?"
            ));
        }
        if !by_hand.is_empty() {
            questions.push(format!("Replace schedule {}?", ids(&by_hand)));
        }
        if !confirmed(&questions.join(" "), yes)? {
            return Ok(false);
        }
    }
    for ((entry, paused), stored) in entries.iter().zip(stored) {
        let id = entry.id();
        // One that is from code and the same stays so.
        if !stored.as_ref().is_some_and(|stored| stored.from_code && stored.entry == *entry) {
            schedules.put(entry).await?;
        }
        if *paused {
            schedules.pause(id).await?;
        }
        let was = stored.as_ref().and_then(|stored| was(&stored.entry, entry)).map(|was| format!("; changed, was: {was}"));
        let overrides = stored.as_ref().is_some_and(|stored| stored.from_code && stored.entry != *entry);
        let is_paused = *paused || stored.is_some_and(|stored| stored.paused);
        let is_paused = if is_paused { "; it is paused" } else { "" };
        if let Some(was) = was.as_ref().filter(|_| json) {
            anstream::eprintln!("{}{}", clean(id), clean(was));
        }
        show(aws, id, json, &format!("fires {}{}{is_paused}", entry.check()?, clean(&was.unwrap_or_default())), output).await?;
        if overrides {
            anstream::eprintln!("{} comes from the code of a beater: {CODE}. Change the code to keep this", clean(id));
        }
    }
    Ok(true)
}

/// Describes how a schedule differed before a change.
fn was(before: &Entry, now: &Entry) -> Option<String> {
    let [Ok(Value::Object(before)), Ok(Value::Object(now))] = [before, now].map(serde_json::to_value) else { return None };
    let names: BTreeSet<_> = before.keys().chain(now.keys()).filter(|name| before.get(*name) != now.get(*name)).collect();
    let was = names.iter().map(|name| match (name.as_str(), before.get(*name)) {
        ("args" | "kwargs" | "meta", _) => format!("other {name}"),
        (_, Some(value)) => format!("{name} {value}"),
        (_, None) => format!("no {name}"),
    });
    (!names.is_empty()).then(|| was.collect::<Vec<_>>().join(", "))
}

/// Says what was done to a schedule, or prints it as JSON.
async fn show(aws: &Aws, id: &str, json: bool, said: &str, output: &mut Output) -> Result<(), Failure> {
    if !json {
        return output.line(format!("{} {said}", clean(id)));
    }
    match aws.schedules().get(id).await? {
        // Its queue was looked at when it was added.
        Some(schedule) => {
            let now = aws.clock.now();
            output.json(&row(&schedule, status(&schedule, false, now), now)?)
        }
        None => Err(Failure::said(format!("schedule {id:?} was removed meanwhile"))),
    }
}

/// A fire that is later than this was made by no beater. A tick comes each minute, and takes some seconds.
const LATE: SignedDuration = SignedDuration::from_mins(2);

/// Of these queues, those that do not exist. Where this user may not look, that is said and none is taken to be missing.
async fn missing(aws: &Aws, queues: BTreeSet<String>) -> BTreeSet<String> {
    queue::missing(aws, queues).await.unwrap_or_else(|failure| {
        anstream::eprintln!("it is not known if the queues exist: {}", clean(&aws.place.with_options(&failure.told())));
        BTreeSet::new()
    })
}

/// Returns the status of a schedule in one word.
fn status(schedule: &Scheduled, is_missing: bool, now: Timestamp) -> &'static str {
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

/// Returns a schedule as it was added, as JSON.
fn told(schedule: &Scheduled) -> Result<Value, Failure> {
    let mut row = serde_json::to_value(&schedule.entry)?;
    row["paused"] = schedule.paused.into();
    row["from_code"] = schedule.from_code.into();
    row["overridden"] = schedule.overridden.into();
    Ok(row)
}

/// A schedule as JSON.
fn row(schedule: &Scheduled, status: &str, now: Timestamp) -> Result<Value, Failure> {
    let mut row = told(schedule)?;
    row["next_fire"] = json!(schedule.next(now));
    row["status"] = status.into();
    Ok(row)
}

async fn list(aws: &Aws, json: bool, output: &mut Output) -> Result<bool, Failure> {
    let ((schedules, unreadable), now) = (aws.schedules().list_all().await?, aws.clock.now());
    for (id, error) in unreadable {
        anstream::eprintln!("schedule {} cannot be read: {}; correct its row, or delete it", clean(&id), clean(&error));
    }
    let queues = schedules.iter().map(|schedule| aws.queue(schedule.entry.queue_name())).collect();
    let missing = missing(aws, queues).await;
    let status = |schedule: &Scheduled| status(schedule, missing.contains(&aws.queue(schedule.entry.queue_name())), now);
    if json {
        schedules.iter().try_for_each(|schedule| output.json(&row(schedule, status(schedule), now)?))?;
        return Ok(true);
    }
    if schedules.is_empty() {
        anstream::eprintln!("none");
        return Ok(true);
    }
    let rows = schedules.iter().map(|schedule| {
        let when = schedule.timetable(now).map_or_else(|error| error.to_string(), |timetable| timetable.to_string());
        let next = match (status(schedule), schedule.next(now)) {
            ("queue_missing", _) => format!("not before queue {} exists", aws.queue(schedule.entry.queue_name())),
            ("overdue", Some(at)) => format!("overdue for {}: no beater fires it", brief(now.duration_since(at).unsigned_abs())),
            ("scheduled", Some(at)) => format!("{}, {}", exact(at), from_now(at, now)),
            ("due", _) => "the next tick of a beater looks at it".into(),
            ("over", _) => "never".into(),
            ("wrong", _) => "not before its row is corrected".into(),
            (status, _) => status.into(),
        };
        [schedule.entry.id().to_owned(), schedule.entry.job().to_owned(), when, next]
    });
    output.table(["id", "job", "fires", "next"], rows)?;
    for schedule in schedules.iter().filter(|schedule| schedule.overridden) {
        anstream::eprintln!("{} was changed and comes from the code of a beater: {CODE}", clean(schedule.entry.id()));
    }
    for queue in &missing {
        let queue = aws.short(queue);
        anstream::eprintln!("{}", clean(&aws.place.with_options(&format!("`sqjobs queue create {queue}` creates queue {queue}"))));
    }
    if schedules.iter().any(|schedule| status(schedule) == "overdue") {
        anstream::eprintln!("{}", aws.place.with_options("`sqjobs doctor` says why schedules are overdue"));
    }
    Ok(true)
}

/// When it fires, as a row has it.
fn when(when: &When) -> Result<sqjobs::Schedule, Failure> {
    let schedule = match (&when.cron, when.every) {
        (Some(expression), _) => sqjobs::Schedule::cron(expression),
        (None, Some(every)) => sqjobs::Schedule::every(every),
        (None, None) => return Err(Failure::said("when does it fire? Give --cron or --every")),
    };
    let schedule = if let Some(zone) = &when.timezone { schedule.timezone(zone) } else { schedule };
    let schedule = if let Some(offset) = when.offset { schedule.offset(offset) } else { schedule };
    Ok(if when.skip_gap { schedule.skip_gap() } else { schedule })
}

fn entry(wanted: AddSchedule) -> Result<Entry, Failure> {
    let (Some(id), Some(job)) = (wanted.id, wanted.job) else {
        return Err(Failure::said("what is to be added? Give a schedule's id and its job's name, or a file by --from"));
    };
    let mut entry = Entry::named(id, when(&wanted.when)?, job, arguments(wanted.args.as_deref())?);
    if let Some(queue) = wanted.queue {
        entry = entry.queue(queue);
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

async fn preview(aws: impl AsyncFn() -> Aws, wanted: &Preview, output: &mut Output) -> Result<bool, Failure> {
    let now = sqjobs::Clock::system().now();
    let after = wanted.after.unwrap_or(now);
    let timetable = match &wanted.id {
        None => when(&wanted.when)?.timetable(after).map_err(|error| Failure::said(error.to_string()))?,
        Some(id) => {
            let stored = aws().await.schedules().get(id).await?;
            let none = || Failure::said(format!("there is no schedule {id:?}; `sqjobs schedule list` shows all"));
            let stored = stored.ok_or_else(none)?;
            if stored.paused {
                anstream::eprintln!("{} is paused: it fires only after it is resumed", clean(id));
            }
            stored.timetable(now)?
        }
    };
    let fires = timetable.preview(after).take(wanted.count);
    if wanted.json {
        let instants: Vec<_> = fires.map(|fire| fire.at.to_string()).collect();
        output.json(&instants)?;
        return Ok(true);
    }
    output.line(timetable.to_string())?;
    for fire in fires {
        output.line(format!("  {fire}"))?;
    }
    Ok(true)
}
