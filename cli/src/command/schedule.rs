//! The schedules.

use serde_json::json;
use sqjobs::{CatchUp, Entry, Timetable};

use super::{beater, enqueue::arguments, function::Function};
use crate::{
    args::{AddSchedule, Preview, Schedule, When},
    aws::Aws,
    failure::Failure,
    output::{Output, clean, confirmed},
    time::{exact, from_now},
};

pub(super) async fn schedule(aws: impl AsyncFn() -> Aws, wanted: Schedule) -> Result<bool, Failure> {
    let mut output = Output::new();
    match wanted {
        Schedule::Preview(wanted) => preview(&wanted, &mut output),
        Schedule::List { json } => list(&aws().await, json, &mut output).await,
        Schedule::Add(wanted) => {
            let entry = entry(*wanted)?;
            let timetable = entry.check()?;
            aws().await.schedules().put(&entry).await?;
            output.line(format!("{} fires {timetable}", clean(entry.id())))?;
            Ok(true)
        }
        Schedule::Pause { ids } => {
            let schedules = aws().await.schedules();
            for id in &ids {
                schedules.pause(id).await?;
                output.line(format!("{} is paused", clean(id)))?;
            }
            Ok(true)
        }
        Schedule::Resume { ids } => {
            let schedules = aws().await.schedules();
            for id in &ids {
                schedules.resume(id).await?;
                output.line(format!("{} fires again", clean(id)))?;
            }
            Ok(true)
        }
        Schedule::Remove { ids, yes } => {
            if !confirmed(&format!("Remove {}?", clean(&ids.join(", "))), yes)? {
                return Ok(false);
            }
            let schedules = aws().await.schedules();
            for id in &ids {
                schedules.delete(id).await?;
                output.line(format!("{} is removed", clean(id)))?;
            }
            Ok(true)
        }
        Schedule::Beater { function } => {
            let aws = aws().await;
            beater::wake(&aws, &Function::find(&aws, &function).await?).await?;
            output.line(format!("{function} is woken each minute"))?;
            Ok(true)
        }
        Schedule::Run { id } => {
            let sent = aws().await.schedules().run_now(&id).await?;
            output.line(&sent.id)?;
            Ok(true)
        }
    }
}

async fn list(aws: &Aws, json: bool, output: &mut Output) -> Result<bool, Failure> {
    let (schedules, now) = (aws.schedules().list().await?, aws.clock.now());
    if json {
        for schedule in &schedules {
            let mut row = serde_json::to_value(&schedule.entry)?;
            row["paused"] = schedule.paused.into();
            row["next_fire"] = json!(schedule.next_fire);
            output.json(&row)?;
        }
        return Ok(true);
    }
    if schedules.is_empty() {
        anstream::eprintln!("none");
        return Ok(true);
    }
    let rows = schedules.iter().map(|schedule| {
        let when = schedule.entry.check().map_or_else(|error| error.to_string(), |timetable| timetable.to_string());
        let next = match schedule.next_fire {
            _ if schedule.paused => "paused".into(),
            Some(at) => format!("{}, {}", exact(at), from_now(at, now)),
            None => "never".into(),
        };
        [schedule.entry.id().to_owned(), schedule.entry.job().to_owned(), when, next]
    });
    output.table(["id", "job", "fires", "next"], rows)?;
    Ok(true)
}

/// When it fires, as a row has it.
fn when(when: &When) -> Result<sqjobs::Schedule, Failure> {
    let schedule = match (&when.cron, when.every) {
        (Some(expression), _) => sqjobs::Schedule::cron(expression),
        (None, Some(every)) => sqjobs::Schedule::every(every),
        (None, None) => return Err(Failure::said("when does it fire? Give --cron or --every")),
    };
    let schedule = if let Some(zone) = &when.tz { schedule.timezone(zone) } else { schedule };
    let schedule = if let Some(offset) = when.offset { schedule.offset(offset) } else { schedule };
    Ok(if when.skip_gap { schedule.skip_gap() } else { schedule })
}

fn entry(wanted: AddSchedule) -> Result<Entry, Failure> {
    let mut entry = Entry::named(wanted.id, when(&wanted.when)?, wanted.job, arguments(wanted.args.as_deref())?);
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

fn preview(wanted: &Preview, output: &mut Output) -> Result<bool, Failure> {
    let now = sqjobs::Clock::system().now();
    let after = wanted.after.unwrap_or(now);
    let timetable: Timetable = when(&wanted.when)?.timetable(after).map_err(|error| Failure::said(error.to_string()))?;
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
