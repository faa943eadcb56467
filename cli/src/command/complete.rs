//! Completes jobs that no function runs.

use clap::Args;
use serde_json::json;
use sqjobs::State;

use super::enqueue;
use crate::{
    aws::Aws,
    failure::Failure,
    output::{Output, clean},
    sentence::ended,
    shell::shell,
    value::text,
};

#[derive(Debug, Args)]
pub(crate) struct Complete {
    /// The id for which other jobs wait.
    #[arg(value_parser = text)]
    pub(crate) id: String,
    /// The result as JSON. Use @FILE to read it from a file, or - to read it from standard input.
    pub(crate) result: Option<String>,
    /// Also complete an id without a record, for which no job waits yet. Functions then discard messages with this id.
    #[arg(long)]
    pub(crate) unseen: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn complete(aws: &Aws, wanted: Complete) -> Result<bool, Failure> {
    let (client, id) = (aws.client(), clean(&wanted.id));
    let result = enqueue::value("result", "result", wanted.result.as_deref())?;
    let is_unseen = !wanted.unseen && client.get(&wanted.id).await?.is_none();
    let is_done = !is_unseen && client.complete(&wanted.id, result).await?;
    let sentence = if is_unseen {
        format!(
            "no job waits for {id} yet, and it has no record, so nothing was completed; check the id. To complete it in advance: `sqjobs \
             complete {} RESULT --unseen`. Functions then discard messages with this id",
            shell(&wanted.id)
        )
    } else if is_done {
        format!("{id} is completed; jobs that wait for it go on")
    } else {
        match client.get(&wanted.id).await? {
            Some(record) if record.state == State::Cancelled && record.name.is_empty() => format!(
                "{id} was refused{}, and a refusal is final, so nothing was changed. `sqjobs explain {}` names the jobs that it holds. To run \
                 such a job anyway, let it wait for a new id: `sqjobs cancel JOB`, then `sqjobs retry JOB ARGS --after NEW`, then \
                 `sqjobs complete NEW RESULT`",
                ended(&record),
                shell(&wanted.id)
            ),
            Some(record) if record.state.is_terminal() => format!("{id} had already ended{}, so nothing was changed", ended(&record)),
            _ => format!("{id} is a job of a function, so nothing was changed; it ends when its function has run it"),
        }
    };
    let mut output = Output::new();
    if wanted.json {
        output.json(&json!({"id": wanted.id, "completed": is_done}))?;
    } else if is_done {
        output.line(sentence)?;
    } else {
        note!("{}", aws.place.with_options(&sentence));
    }
    Ok(is_done)
}
