//! Lists and changes schedules.

mod add;
mod args;
mod field;
mod list;
mod preview;
mod rows;

use serde_json::json;

use self::{
    add::{add, entry, read},
    list::list,
    preview::preview,
    rows::{CODE, MAY_STILL_RUN, find, may_still_run, missing, print_json, readable, report},
};
pub(crate) use self::{args::Schedule, field::suggestion};
use super::{beater, function::Function, table::check_options};
use crate::{
    aws::Aws,
    failure::Failure,
    output::{Output, clean, confirmed},
    shell::creation,
};

pub(super) async fn schedule(aws: impl AsyncFn() -> Aws, wanted: Schedule) -> Result<bool, Failure> {
    let mut output = Output::new();
    match wanted {
        Schedule::Preview(wanted) => preview(aws, &wanted, &mut output).await,
        Schedule::List { json } => list(&checked(&aws).await?, json, &mut output).await,
        Schedule::Add(wanted) => {
            let (json, yes) = (wanted.json, wanted.yes);
            let entries = match &wanted.from {
                Some(file) => read(file)?,
                None => vec![(entry(*wanted)?, false)],
            };
            entries.iter().try_for_each(|(entry, _)| entry.check().map(drop))?;
            if entries.is_empty() {
                note!("no schedule was added: the input is empty");
                return Ok(false);
            }
            let aws = checked(&aws).await?;
            let is_added = add(&aws, &entries, yes, json, &mut output).await?;
            if is_added {
                beater::report_missing(&aws).await;
            }
            Ok(is_added)
        }
        Schedule::Pause { ids, json } => {
            let aws = checked(&aws).await?;
            for stored in readable(&aws, &ids).await? {
                let id = stored.entry.id();
                aws.schedules().pause(id).await?;
                report(id, json, "is paused", may_still_run(&stored, aws.clock.now()), &mut output)?;
                print_json(&aws, id, json, false, &mut output).await?;
            }
            Ok(true)
        }
        Schedule::Resume { ids, json } => {
            let aws = checked(&aws).await?;
            for stored in readable(&aws, &ids).await? {
                let id = stored.entry.id();
                aws.schedules().resume(id).await?;
                let name = stored.entry.queue_name();
                let queue = missing(&aws, [aws.queue(&name)].into()).await.pop_first();
                let message = match &queue {
                    Some(queue) => format!("fires again when queue {queue} exists: {}", creation(&name)),
                    None => "fires again".into(),
                };
                report(id, json, &aws.place.with_options(&message), None, &mut output)?;
                print_json(&aws, id, json, queue.is_some(), &mut output).await?;
            }
            beater::report_missing(&aws).await;
            Ok(true)
        }
        Schedule::Remove { ids, yes, json } => remove(&checked(&aws).await?, &ids, yes, json, &mut output).await,
        Schedule::Beater { function } => {
            let aws = checked(&aws).await?;
            beater::connect(&aws, &Function::find(&aws, &function).await?).await?;
            output.line(format!("EventBridge invokes {function} each minute"))?;
            Ok(true)
        }
        Schedule::Run { id, json } => {
            let aws = checked(&aws).await?;
            let sent = match aws.schedules().run_now(&id).await {
                Ok(sent) => sent,
                Err(error) => {
                    let stored = aws.schedules().get(&id).await.ok().flatten();
                    return Err(match stored {
                        Some(stored) => Failure::of_queue(error, &stored.entry.queue_name()),
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

/// Removes schedules, including those whose rows cannot be read.
async fn remove(aws: &Aws, ids: &[String], yes: bool, json: bool, output: &mut Output) -> Result<bool, Failure> {
    let found = find(aws, ids).await?;
    for (id, stored) in &found {
        if let Err(error) = stored {
            note!("cannot read schedule {}: {}", clean(id), clean(error));
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
        report(id, json, "is removed", still, output)?;
        if json {
            output.json(&json!({"id": id, "removed": true}))?;
        }
        if stored.is_ok_and(|stored| stored.from_code) {
            note!("{} is in the code of a beater: {CODE}. Remove the schedule from the code too", clean(id));
        }
    }
    Ok(true)
}

/// Connects to AWS, and checks the options that name tables.
async fn checked(aws: &impl AsyncFn() -> Aws) -> Result<Aws, Failure> {
    let aws = aws().await;
    check_options(&aws).await.map(|()| aws)
}
