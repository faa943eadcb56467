//! Changes jobs: calls them off, runs them again, moves them.

use jiff::SignedDuration;

use super::enqueue::job;
use crate::{
    args::{Cancel, Move, Retry},
    aws::Aws,
    failure::Failure,
    output::{Output, clean, confirmed},
    time::exact,
};

pub(super) async fn cancel(aws: &Aws, wanted: Cancel) -> Result<bool, Failure> {
    let (client, mut output) = (aws.client(), Output::new());
    if wanted.ids.len() > 1 && !confirmed(&format!("Call {} jobs off?", wanted.ids.len()), wanted.yes)? {
        return Ok(false);
    }
    let mut all = true;
    for id in &wanted.ids {
        let called_off = client.cancel(id).await?;
        all &= called_off;
        let said = if called_off { "is called off, or is asked to stop where it runs" } else { "has ended already" };
        output.line(format!("{} {said}", clean(id)))?;
    }
    Ok(all)
}

pub(super) async fn retry(aws: &Aws, wanted: Retry) -> Result<bool, Failure> {
    let client = aws.client();
    let Some(record) = client.get(&wanted.id).await? else {
        return Err(Failure::said(format!("there is no record of {:?}; enqueue it by `sqjobs enqueue NAME ARGS --id ID`", wanted.id)));
    };
    let queue = record.queue.strip_prefix(&*aws.place.prefix).unwrap_or(&record.queue).to_owned();
    let mut again = job(&record.name, Some(&wanted.args), &wanted.options)?.id(&wanted.id);
    if wanted.options.queue.is_none() {
        again = again.queue(queue);
    }
    let done = client.retry(again).await?;
    let said = if done { "runs again" } else { "has not ended, and was left alone" };
    Output::new().line(format!("{} {said}", clean(&wanted.id)))?;
    Ok(done)
}

pub(super) async fn reschedule(aws: &Aws, wanted: Move) -> Result<bool, Failure> {
    let now = aws.clock.now();
    let later = wanted.delay.and_then(|delay| now.checked_add(SignedDuration::try_from(delay).ok()?).ok());
    let Some(at) = wanted.at.or(later) else { return Err(Failure::said("there is no time that late; give an instant by --at")) };
    let moved = aws.client().reschedule(&wanted.id, at).await?;
    let said = if moved {
        format!("waits until {}", exact(at))
    } else {
        "does not wait in the due index, and was left alone: only what waits for more than 15 minutes can be moved".into()
    };
    Output::new().line(format!("{} {said}", clean(&wanted.id)))?;
    Ok(moved)
}
