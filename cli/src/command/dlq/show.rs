//! Shows dead letters with the records of their jobs.

use std::collections::HashSet;

use super::{
    args::Show,
    letter::DeadLetter,
    walk::{Pair, WAVE, Walk, more, ways_back},
};
use crate::{
    aws::Aws,
    command::lookup,
    failure::Failure,
    output::{Output, clean},
    shell::shell,
};

pub(super) async fn show(aws: &Aws, wanted: Show) -> Result<bool, Failure> {
    let (now, mut output, pair) = (aws.clock.now(), Output::new(), Pair::find(aws, &wanted.queue).await?);
    let mut missing: HashSet<_> = wanted.ids.iter().collect();
    let mut walk = Walk::new(aws, &pair);
    let mut shown = Vec::new();
    while !missing.is_empty() {
        let found = walk.next(WAVE).await?;
        if found.is_empty() {
            break;
        }
        shown.extend(found.into_iter().filter(|DeadLetter { letter, .. }| {
            let has_id = |id: &String| letter.has_id(id) || letter.message.id == *id;
            missing.retain(|id| !has_id(id));
            wanted.ids.iter().any(has_id)
        }));
    }
    for found in &shown {
        if wanted.json {
            output.json(&found.json(aws.short(&pair.queue)))?;
            continue;
        }
        output.letter(&found.letter, [found.name(), found.kind(), &found.reason()], now)?;
        if let Some(record) = &found.record {
            output.job(record, now)?;
        }
        if let Some(reason) = &found.unreadable {
            note!("{}", clean(reason));
        }
        let queue = aws.short(&pair.queue);
        if let Some(own) = lookup::belongs_to(aws, queue, &found.letter).await {
            let (id, after) = (shell(&found.letter.id), lookup::after(&found.letter));
            let message = lookup::misplaced(&aws.place.prefix, &shell(queue), &own, &id, &after);
            note!("{}", clean(&aws.place.with_options(&message)));
        }
    }
    if !wanted.json && !shown.is_empty() {
        note!("{}", clean(&aws.place.with_options(&ways_back(aws.short(&pair.queue), &pair.arn))));
    }
    for id in &missing {
        note!("no dead letter of {} was found", clean(id));
    }
    if !missing.is_empty() && walk.unseen() > 0 {
        note!("{}", more(walk.unseen(), &pair.dlq));
    }
    walk.end().await;
    Ok(missing.is_empty())
}
