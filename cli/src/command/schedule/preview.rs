//! Shows when a schedule fires.

use super::args::{Preview, When};
use crate::{
    aws::Aws,
    failure::Failure,
    output::{Output, clean},
};

pub(super) async fn preview(aws: impl AsyncFn() -> Aws, wanted: &Preview, output: &mut Output) -> Result<bool, Failure> {
    let now = sqjobs::Clock::system().now();
    let after = wanted.after.unwrap_or(now);
    let timetable = match &wanted.id {
        None => when(&wanted.when)?.timetable(after).map_err(|error| Failure::new(error.to_string()))?,
        Some(id) => {
            let stored = aws().await.schedules().get(id).await?;
            let none = || Failure::new(format!("there is no schedule {id:?}; `sqjobs schedule list` shows all schedules"));
            let stored = stored.ok_or_else(none)?;
            if stored.paused {
                note!("{} is paused: it fires again after `sqjobs schedule resume`", clean(id));
            }
            stored.timetable(now)?
        }
    };
    let fires = timetable.preview(after).take(wanted.count.into());
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

/// Returns the schedule of the options.
pub(super) fn when(when: &When) -> Result<sqjobs::Schedule, Failure> {
    let schedule = match (&when.cron, when.every) {
        (Some(expression), _) => sqjobs::Schedule::cron(expression),
        (None, Some(every)) => sqjobs::Schedule::every(every),
        (None, None) => return Err(Failure::new("no times are given; give --cron or --every")),
    };
    let schedule = if let Some(zone) = &when.timezone { schedule.timezone(zone) } else { schedule };
    let schedule = if let Some(offset) = when.offset { schedule.offset(offset) } else { schedule };
    Ok(if when.skip_gap { schedule.skip_gap() } else { schedule })
}
