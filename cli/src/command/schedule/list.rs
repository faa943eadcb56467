//! Lists schedules.

use sqjobs::Scheduled;

use super::{
    field::suggestion,
    rows::{CODE, cannot_be_read, missing, row, status},
};
use crate::{
    aws::Aws,
    command::beater,
    failure::Failure,
    output::{Output, clean},
    time::{brief, exact, from_now},
};

pub(super) async fn list(aws: &Aws, json: bool, output: &mut Output) -> Result<bool, Failure> {
    let ((schedules, unreadable), now) = (aws.schedules().list_all().await?, aws.clock.now());
    for (id, error) in unreadable {
        note!("{}", aws.place.with_options(&clean(&cannot_be_read(&id, &error))));
    }
    for schedule in &schedules {
        for field in &schedule.unknown {
            note!(
                "schedule {} has the unknown field {}, which has no effect; {}",
                clean(schedule.entry.id()),
                clean(field),
                suggestion(field)
            );
        }
    }
    let queues = schedules.iter().map(|schedule| aws.queue(&schedule.entry.queue_name())).collect();
    let missing = missing(aws, queues).await;
    let status = |schedule: &Scheduled| status(schedule, missing.contains(&aws.queue(&schedule.entry.queue_name())), now);
    if schedules.iter().any(|schedule| !schedule.paused) {
        beater::report_missing(aws).await;
    }
    if json {
        schedules.iter().try_for_each(|schedule| output.json(&row(schedule, status(schedule), now)?))?;
        return Ok(true);
    }
    if schedules.is_empty() {
        note!("none");
        return Ok(true);
    }
    let rows = schedules.iter().map(|schedule| {
        let when = schedule.timetable(now).map_or_else(|error| error.to_string(), |timetable| timetable.to_string());
        let next = match (status(schedule), schedule.next(now)) {
            ("queue_missing", _) => format!("when queue {} exists", aws.queue(&schedule.entry.queue_name())),
            ("overdue", Some(at)) => format!("overdue for {}: no beater runs", brief(now.duration_since(at).unsigned_abs())),
            ("scheduled", Some(at)) => format!("{}, {}", exact(at), from_now(at, now)),
            // Another program wrote the row. Without an entry in the due index, only a scan finds it.
            ("due", None) => "at the next tick of a beater, or within an hour if its row lacks due and next_fire".into(),
            ("due", Some(_)) => "at the next tick of a beater".into(),
            ("over", _) => "never".into(),
            ("wrong", _) => "when its row is corrected".into(),
            (status, _) => status.into(),
        };
        [schedule.entry.id().to_owned(), schedule.entry.job().to_owned(), when, next]
    });
    output.table(["id", "job", "fires", "next"], rows)?;
    for schedule in schedules.iter().filter(|schedule| schedule.overridden) {
        note!("{} differs from the code of its beater: {CODE}", clean(schedule.entry.id()));
    }
    for queue in &missing {
        let queue = aws.short(queue);
        note!("{}", clean(&aws.place.with_options(&format!("`sqjobs queue create {queue}` creates queue {queue}"))));
    }
    if schedules.iter().any(|schedule| status(schedule) == "overdue") {
        note!("{}", aws.place.with_options("`sqjobs doctor` shows why schedules are overdue"));
    }
    Ok(true)
}
