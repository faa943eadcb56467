//! The schedules.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sqjobs::{CatchUp, Entry, Scheduled, Timetable};

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
            for stored in readable(&aws, &ids).await? {
                let id = stored.entry.id();
                aws.schedules().pause(id).await?;
                say(id, json, "is paused", may_still_run(&stored, aws.clock.now()), &mut output)?;
                print(&aws, id, json, false, &mut output).await?;
            }
            Ok(true)
        }
        Schedule::Resume { ids, json } => {
            let aws = aws().await;
            for stored in readable(&aws, &ids).await? {
                let id = stored.entry.id();
                aws.schedules().resume(id).await?;
                let name = stored.entry.queue_name();
                let queue = missing(&aws, [aws.queue(name)].into()).await.pop_first();
                let said = match &queue {
                    Some(queue) => format!("fires again once queue {queue} exists: `sqjobs queue create {}`", shell(name)),
                    None => "fires again".into(),
                };
                say(id, json, &aws.place.with_options(&said), None, &mut output)?;
                print(&aws, id, json, queue.is_some(), &mut output).await?;
            }
            Ok(true)
        }
        Schedule::Remove { ids, yes, json } => remove(&aws().await, &ids, yes, json, &mut output).await,
        Schedule::Beater { function } => {
            let aws = aws().await;
            beater::wake(&aws, &Function::find(&aws, &function).await?).await?;
            output.line(format!("{function} is woken each minute"))?;
            Ok(true)
        }
        Schedule::Run { id, json } => {
            let aws = aws().await;
            let sent = match aws.schedules().run_now(&id).await {
                Ok(sent) => sent,
                Err(error) => {
                    let stored = aws.schedules().get(&id).await.ok().flatten();
                    return Err(match stored {
                        Some(stored) => Failure::of_queue(error, &shell(stored.entry.queue_name())),
                        None => Failure::from(error),
                    });
                }
            };
            if json {
                output.json(&json!({"id": sent.id, "message_id": sent.message_id}))?;
            } else {
                output.line(&sent.id)?;
            }
            Ok(true)
        }
    }
}

/// Removes schedules, also those whose rows cannot be read.
async fn remove(aws: &Aws, ids: &[String], yes: bool, json: bool, output: &mut Output) -> Result<bool, Failure> {
    let found = find(aws, ids).await?;
    for (id, stored) in &found {
        if let Err(error) = stored {
            anstream::eprintln!("schedule {} cannot be read: {}", clean(id), clean(error));
        }
    }
    let ids: Vec<_> = found.iter().map(|(id, _)| clean(id)).collect();
    if !confirmed(&format!("Remove {}?", ids.join(", ")), yes)? {
        return Ok(false);
    }
    for (id, stored) in found {
        aws.schedules().delete(id).await?;
        let still = match &stored {
            Ok(stored) => may_still_run(stored, aws.clock.now()),
            Err(_) => Some(MAY_STILL_RUN),
        };
        say(id, json, "is removed", still, output)?;
        if json {
            output.json(&json!({"id": id, "removed": true}))?;
        }
        if stored.is_ok_and(|stored| stored.from_code) {
            anstream::eprintln!("{} comes from the code of a beater: {CODE}. Remove it from the code", clean(id));
        }
    }
    Ok(true)
}

/// Finds schedules, each once: as they stand, or why their rows cannot be read. Refuses all where one does not exist.
async fn find<'a>(aws: &Aws, ids: &'a [String]) -> Result<Vec<(&'a str, Result<Scheduled, String>)>, Failure> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for id in ids.iter().collect::<BTreeSet<_>>() {
        match aws.schedules().try_get(id).await? {
            Some(stored) => found.push((&**id, stored)),
            None => missing.push(format!("{id:?}")),
        }
    }
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(Failure::said(format!("there is no schedule {missing}; nothing was changed; `sqjobs schedule list` shows all")));
    }
    Ok(found)
}

/// Finds schedules. Refuses all where one does not exist or cannot be read.
async fn readable(aws: &Aws, ids: &[String]) -> Result<Vec<Scheduled>, Failure> {
    let found = find(aws, ids).await?.into_iter();
    found
        .map(|(id, stored)| stored.map_err(|error| Failure::said(format!("{}; nothing was changed", cannot_be_read(id, &error)))))
        .collect()
}

/// Says that the row of a schedule cannot be read, and what to do.
fn cannot_be_read(id: &str, error: &str) -> String {
    let id = shell(id);
    format!("schedule {id} cannot be read: {error}; correct its row, or delete it by `sqjobs schedule remove {id}`")
}

/// A beater fires schedules so long before their time. Its next tick takes back the fires of a schedule that has changed.
const AHEAD: SignedDuration = SignedDuration::from_mins(2);
const MAY_STILL_RUN: &str = "a fire before the next tick of a beater, within a minute, may still run";

/// Says that a schedule that is changed at `now` may still fire as it was, where a beater may have made such a fire already.
fn may_still_run(stored: &Scheduled, now: Timestamp) -> Option<&'static str> {
    let next = if stored.paused { None } else { stored.timetable(now).ok().and_then(|timetable| timetable.next(now)) };
    let mut fires = stored.ahead.iter().copied().chain(next);
    fires.any(|fire| fire > now && fire.duration_since(now) <= AHEAD).then_some(MAY_STILL_RUN)
}

/// A tick of a beater comes within that.
const TICK: SignedDuration = SignedDuration::from_mins(1);

/// Says when a schedule that was added fires next. A beater makes no fire before its first tick after the change, unless it had made it
/// for the schedule as it was.
fn first(timetable: &Timetable, fires_as_before: bool, now: Timestamp) -> String {
    match (timetable.next(now), timetable.next(now + TICK)) {
        (Some(next), Some(sure)) if !fires_as_before && next != sure => format!(
            "; next at {} at the latest: a fire before the next tick of a beater, within a minute, may not be made, and one that was cancelled \
             stays so",
            exact(sure)
        ),
        (Some(next), _) => format!("; next at {}", exact(next)),
        (None, _) => String::new(),
    }
}

/// The fields that `list --json` adds to those of an entry. A line of a file may have them: all but `paused` are ignored.
const ADDED: [&str; 5] = ["paused", "from_code", "overridden", "next_fire", "status"];

fn fields() -> impl Iterator<Item = &'static str> {
    Entry::FIELDS.into_iter().chain(ADDED)
}

/// The least similarity of a name and a field, by Jaro's measure, at which the field is suggested.
const ALIKE: f64 = 0.7;

/// Says which field is unknown, and which is meant. A schedule without one of its fields would be wrong each time that it fires.
fn unknown_field(row: &Value) -> Option<String> {
    let field = row.as_object()?.keys().find(|field| fields().all(|known| known != *field))?;
    Some(format!("a schedule has no field {field:?}; {}", meant(field)))
}

/// Says which field is meant by one that is unknown.
pub(super) fn meant(field: &str) -> String {
    let likeness = |known: &str| if known.contains(field) { 1.0 } else { strsim::jaro(field, known) };
    let nearest = fields().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    match nearest.filter(|nearest| likeness(nearest) > ALIKE) {
        Some(nearest) => format!("did you mean {nearest:?}?"),
        None => format!("its fields are {}.", fields().collect::<Vec<_>>().join(", ")),
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
        if let Some(unknown) = unknown_field(&row) {
            return Err(Failure::said(format!("line {number}: {unknown} Nothing was added")));
        }
        let paused = match row.get("paused") {
            None => false,
            Some(Value::Bool(paused)) => *paused,
            Some(other) => {
                return Err(Failure::said(format!(
                    "line {number}: its field \"paused\" is {other}; write true or false. Nothing was added"
                )));
            }
        };
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
    let (mut stored, mut unread) = (Vec::new(), Vec::new());
    for (entry, _) in entries {
        let (id, name) = (entry.id(), entry.queue_name());
        if let Some(queue) = missing.get(&aws.queue(name)) {
            let remedy = format!("create it by `sqjobs queue create {}`, or name another by --queue", shell(name));
            return Err(Failure::said(format!("cannot add schedule {id:?}: its queue {queue} does not exist; {remedy}")));
        }
        match schedules.try_get(id).await?.transpose() {
            Ok(found) => stored.push(found),
            Err(error) => {
                anstream::eprintln!("schedule {} cannot be read: {}", clean(id), clean(&error));
                unread.push(id);
                stored.push(None);
            }
        }
    }
    let replaced = entries.iter().zip(&stored).filter_map(|((entry, _), stored)| stored.as_ref().filter(|stored| stored.entry != *entry));
    let (from_code, by_hand): (Vec<_>, Vec<_>) = replaced.partition(|stored| stored.from_code);
    // One that is from code and the same stays so.
    let is_put = |entry: &Entry, stored: Option<&Scheduled>| !stored.is_some_and(|stored| stored.from_code && stored.entry == *entry);
    for ((entry, _), stored) in entries.iter().zip(&stored) {
        if is_put(entry, stored.as_ref()) {
            schedules.check(entry)?;
        }
    }
    let mut questions = Vec::new();
    if !unread.is_empty() {
        let ids: Vec<_> = unread.iter().map(|id| clean(id)).collect();
        questions.push(format!("Replace schedule {}, whose row cannot be read and is lost?", ids.join(", ")));
    }
    if !(from_code.is_empty() && by_hand.is_empty()) {
        anstream::eprintln!("These schedules are replaced. `sqjobs schedule add --from -` restores them from these lines:");
        for stored in from_code.iter().chain(&by_hand) {
            anstream::eprintln!("{}", told(stored)?);
        }
        let ids = |stored: &[&Scheduled]| stored.iter().map(|stored| clean(stored.entry.id())).collect::<Vec<_>>().join(", ");
        if !from_code.is_empty() {
            let ids = ids(&from_code);
            questions.push(format!(
                "The code of a beater has schedule {ids}: {CODE}. Change the code to keep a change. Change the schedule here?"
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
        let was = stored.as_ref().and_then(|stored| was(&stored.entry, entry)).map(|was| format!("; changed, was: {was}"));
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
            anstream::eprintln!("{}{}", clean(id), clean(was));
        }
        say(id, json, &format!("fires {}{}{first}", entry.check()?, clean(&was.unwrap_or_default())), still, output)?;
        print(aws, id, json, false, output).await?;
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

/// Says what was done to a schedule, and what may still run; beside JSON only the latter.
fn say(id: &str, json: bool, said: &str, still: Option<&str>, output: &mut Output) -> Result<(), Failure> {
    let id = clean(id);
    match still {
        Some(still) if json => anstream::eprintln!("{id}: {still}"),
        None if json => {}
        Some(still) => output.line(format!("{id} {said}; {still}"))?,
        None => output.line(format!("{id} {said}"))?,
    }
    Ok(())
}

/// Prints a schedule where JSON is asked for.
async fn print(aws: &Aws, id: &str, json: bool, is_missing: bool, output: &mut Output) -> Result<(), Failure> {
    if !json {
        return Ok(());
    }
    match aws.schedules().get(id).await? {
        Some(schedule) => {
            let now = aws.clock.now();
            output.json(&row(&schedule, status(&schedule, is_missing, now), now)?)
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
        anstream::eprintln!("{}", aws.place.with_options(&clean(&cannot_be_read(&id, &error))));
    }
    for schedule in &schedules {
        for field in &schedule.unknown {
            anstream::eprintln!(
                "schedule {} has the unknown field {}, which is ignored; {}",
                clean(schedule.entry.id()),
                clean(field),
                meant(field)
            );
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_line_are_those_that_a_list_prints() {
        let schema: Value = serde_json::from_str(include_str!("../../output.schema.json")).expect("JSON");
        let printed: BTreeSet<_> = schema["$defs"]["schedule list"]["properties"].as_object().expect("an object").keys().cloned().collect();
        assert_eq!(printed, fields().map(str::to_owned).collect());
    }

    #[test]
    fn an_unknown_field_of_a_schedule_is_named_with_the_one_that_is_meant() {
        let meant = [
            ("tz", "timezone"),
            ("zone", "timezone"),
            ("argz", "args"),
            ("max_attemps", "max_attempts"),
            ("catchup", "catch_up"),
            ("every", "every_s"),
        ];
        for (wrong, right) in meant {
            let said = unknown_field(&json!({"id": "a", wrong: 1})).expect("it is unknown");
            assert_eq!(said, format!("a schedule has no field {wrong:?}; did you mean {right:?}?"));
        }
        let said = unknown_field(&json!({"colour": "red"})).expect("it is unknown");
        assert!(said.contains("no field \"colour\"; its fields are id, cron, "), "{said}");
        assert_eq!(unknown_field(&json!({"id": "a", "args": [], "status": "due"})), None);
    }
}
