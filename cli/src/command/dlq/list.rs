//! Lists dead letters.

use std::collections::HashSet;

use super::{
    args::List,
    walk::{Pair, WAVE, Walk, more},
};
use crate::{
    aws::Aws,
    command::queue,
    failure::Failure,
    output::{Output, first_line, print_notes},
    time::from_now,
};

pub(super) async fn list(aws: &Aws, wanted: List) -> Result<bool, Failure> {
    let queues = if let Some(queue) = wanted.queue {
        vec![queue]
    } else {
        let all = queue::all(aws).await?;
        print_notes(&all.left_out.notes());
        if all.pairs.is_empty() && !wanted.json {
            note!("{}", queue::no_queue(aws).await);
            return Ok(true);
        }
        all.statuses(aws).into_iter().filter(|queue| queue.dead > 0).map(|queue| queue.name).collect()
    };
    let (now, mut output, mut rows) = (aws.clock.now(), Output::new(), Vec::new());
    let mut read = HashSet::new();
    for queue in queues {
        let pair = Pair::find(aws, &queue).await?;
        if !read.insert(pair.dlq.clone()) {
            continue; // the queues of all priorities share it
        }
        let mut walk = Walk::new(aws, &pair);
        while rows.len() < wanted.limit {
            let found = walk.next(WAVE).await?;
            if found.is_empty() {
                break;
            }
            let matching = found.into_iter().filter(|found| wanted.filter.selects(found, now));
            rows.extend(matching.map(|found| (aws.short(pair.queue_of(&found)).to_owned(), found)));
        }
        if rows.len() < wanted.limit && walk.unseen() > 0 {
            note!("{}", more(walk.unseen(), &pair.dlq));
        }
        walk.end().await;
    }
    if rows.len() >= wanted.limit {
        note!("only the first {} are shown; --limit shows more", wanted.limit);
    }
    rows.truncate(wanted.limit);
    if wanted.json {
        rows.iter().try_for_each(|(queue, found)| output.json(&found.json(queue)))?;
    } else if rows.is_empty() {
        note!("none");
    } else {
        let rows = rows.iter().map(|(queue, found)| {
            let since = found.letter.message.sent_at.map(|at| from_now(at, now)).unwrap_or_default();
            let none = if found.unreadable.is_some() { "unreadable" } else { "no record" };
            let state = found.record.as_ref().map_or(none, |record| record.state.as_str());
            let [id, name, kind] = [&found.letter.id, found.name(), found.kind()].map(str::to_owned);
            [queue.clone(), id, name, kind, since, state.into(), first_line(&found.reason())]
        });
        output.table(["queue", "id", "name", "kind", "since", "state", "reason"], rows)?;
    }
    Ok(true)
}
