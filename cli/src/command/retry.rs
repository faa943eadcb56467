//! Runs a job again after it has ended.

use clap::Args;
use serde_json::json;
use sqjobs::{Envelope, Letter, Record, State, queue::is_fifo};

use super::{
    dlq::walk::{Pair, Walk},
    enqueue::{Options, job},
    environment::refuse_other_record,
    lookup::{self, Facts},
    queue::{self, DeadLetterQueues},
    workflow,
};
use crate::{
    aws::Aws,
    failure::Failure,
    output::{Output, clean, confirmed},
    shell::shell,
    time::exact,
    value::text,
};

#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// The job's id.
    #[arg(value_parser = text)]
    pub(crate) id: String,
    /// The job's arguments as JSON. Use @FILE to read them from a file, or - to read them from standard input.
    #[arg(required_unless_present = "tree")]
    pub(crate) args: Option<String>,
    /// Retry the jobs of a workflow that have ended without success, with their own arguments.
    #[arg(long, conflicts_with_all = ["args", "name"])]
    pub(crate) tree: bool,
    /// The job's name. It is needed only for a job that was cancelled before any function received it.
    #[arg(long, value_parser = text)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) options: Options,
    /// Do not ask for confirmation before a job that succeeded runs again, or before a rejected job runs without the jobs to which its
    /// message connects it.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn retry(aws: &Aws, wanted: Retry) -> Result<bool, Failure> {
    if wanted.tree {
        return workflow::retry(aws, &wanted.id, wanted.json).await;
    }
    let client = aws.client();
    let args = wanted.args.clone().unwrap_or_default();
    let Some(record) = client.get(&wanted.id).await? else {
        return Err(no_record(aws, &wanted, &args).await);
    };
    refuse_other_record(aws, &record)?;
    if let Some(queue) = &wanted.options.queue {
        DeadLetterQueues::read(aws).await.refuse(aws, queue).await?;
    }
    let queue = wanted.options.queue.as_deref().map(|queue| aws.queue(queue));
    let queue = queue.or_else(|| Some(record.queue.clone()).filter(|queue| !queue.is_empty()));
    if let Some(queue) = queue.filter(|_| record.state.is_terminal()) {
        queue::refuse_missing(aws, &format!("cannot run {} again", clean(&wanted.id)), &queue).await?;
    }
    if record.state == State::Succeeded {
        let at = record.finished_at.map(|at| format!(" at {}", exact(at))).unwrap_or_default();
        if !confirmed(&format!("{} succeeded{at}. Run it again?", clean(&wanted.id)), wanted.yes)? {
            return Ok(false);
        }
    }
    let name = match wanted.name.as_deref().unwrap_or(&record.name) {
        "" => {
            let why = "its record has no name, because it was cancelled before any function received it; give the name with --name";
            return Err(Failure::new(format!("cannot run {:?} again: {why}", wanted.id)));
        }
        name => name,
    };
    let mut again = job(name, Some(&args), &wanted.options)?.id(&wanted.id);
    if wanted.options.queue.is_none() && !record.queue.is_empty() {
        again = again.queue(aws.short(&record.queue));
    }
    let has_letters = record.state.is_terminal() && !record.queue.is_empty();
    let pair = if has_letters { Pair::find(aws, aws.short(&record.queue)).await.map(Some) } else { Ok(None) };
    // The search comes before the retry, so that it finds no dead letter of the new run.
    let mut own = match &pair {
        Ok(Some(pair)) => DeadLetters::find(aws, pair, &record, again.envelope()).await,
        _ => DeadLetters::none(),
    };
    let kept = own.kept;
    if own.connects && wanted.options.after.is_empty() {
        let question = format!(
            "The message of {} was rejected, and connects it to other jobs. This command runs the job without them. To run it with them, \
             correct the message and send it again with the same id, for example with `sqjobs enqueue --from FILE`. Run the job alone?",
            clean(&wanted.id)
        );
        let answer = confirmed(&question, wanted.yes);
        if !matches!(answer, Ok(true)) {
            own.end().await;
            return answer;
        }
    }
    let leaves_group = wanted.options.group.is_none() && is_fifo(wanted.options.queue.as_ref().unwrap_or(&record.queue));
    let retried = client.retry(again).await;
    let deleted = if let Ok(true) = retried { own.delete().await } else { 0 };
    let left = own.end().await;
    let retried = retried.map_err(|error| Failure::of_queue(error, aws.short(&record.queue)))?;
    let mut output = Output::new();
    let shown = clean(&wanted.id);
    match (retried, deleted) {
        _ if wanted.json => output.json(&json!({"id": wanted.id, "retried": retried, "dead_letters_deleted": deleted}))?,
        (false, _) if record.state.is_terminal() => {
            let message = format!(
                "{shown} was not run again by this command, because another command changed the job in the meantime; `sqjobs explain {}` \
                 shows its state",
                shell(&wanted.id)
            );
            output.line(aws.place.with_options(&message))?;
        }
        (false, _) => output.line(format!("{shown} has not ended, so nothing was changed: it is {}", record.state.as_str()))?,
        (true, 0) => output.line(format!("{shown} runs again"))?,
        (true, _) => output.line(format!("{shown} runs again; its dead letter is deleted"))?,
    }
    if retried && leaves_group {
        note!("note: without --group, this run has a message group of its own, and does not wait for the earlier group");
    }
    if retried && kept > 0 {
        let (queue, id) = (shell(aws.short(&record.queue)), shell(&wanted.id));
        let count = if kept == 1 { "1 dead letter".to_owned() } else { format!("{kept} dead letters") };
        let message = format!(
            "kept {count} with this id, because the job or its arguments differ from yours: `sqjobs dlq show {queue} {id}` shows the \
             arguments, `sqjobs dlq purge {queue} --id {id}` deletes all dead letters with this id"
        );
        note!("{}", aws.place.with_options(&message));
    }
    let why = match pair {
        Err(error) => Some(error.into_message()),
        Ok(_) => left.filter(|_| record.dlq.is_some()),
    };
    if let Some(why) = why.filter(|_| retried && deleted == 0) {
        let (queue, id) = (shell(aws.short(&record.queue)), shell(&wanted.id));
        let message = format!("its dead letter was not deleted: {}; delete it with `sqjobs dlq purge {queue} --id {id}`", clean(&why));
        note!("{}", aws.place.with_options(&message));
    }
    Ok(retried)
}

/// Returns an error that a job without a record is not run again, with advice.
async fn no_record(aws: &Aws, wanted: &Retry, args: &str) -> Failure {
    let (shown, id) = (clean(&wanted.id), shell(&wanted.id));
    let looked = match lookup::search_queues(aws, &wanted.id, None, None).await {
        Ok(Facts { dead_letter: Some(letter), .. }) => {
            let message = lookup::describe_dead_letter(&aws.place.prefix, &letter, &wanted.id, &shell(args), aws.clock.now()).join(" ");
            return Failure::new(format!("cannot run {shown} again: it has no record, because it never started. {}", clean(&message)));
        }
        Ok(_) => "and no dead letter of it was found".to_owned(),
        Err(error) => format!("and the dead letters cannot be read ({})", clean(&error.into_message())),
    };
    let name = wanted.name.as_deref().map_or("NAME".into(), shell);
    Failure::new(format!(
        "cannot run {shown} again: it has no record, {looked}; `sqjobs explain {id}` searches further, and `sqjobs enqueue {name} {} \
         --id {id}` enqueues the job",
        shell(args)
    ))
}

/// The dead letters with the id of a job that is to be run again.
struct DeadLetters<'a> {
    walk: Option<Walk<'a>>,
    /// The dead letters whose job and arguments run again.
    found: Vec<Letter>,
    /// The number of all others.
    kept: usize,
    /// True if the rejected message of the job connects it to other jobs.
    connects: bool,
    /// The reason why dead letters may remain.
    left: Option<String>,
}

impl<'a> DeadLetters<'a> {
    fn none() -> Self {
        Self { walk: None, found: Vec::new(), kept: 0, connects: false, left: None }
    }

    async fn find(aws: &Aws, pair: &'a Pair, record: &Record, again: &Envelope) -> Self {
        let mut walk = Walk::new(aws, pair);
        // No other copy of the arguments may exist, so only those that run again are deleted.
        let runs_again = |letter: &Letter| {
            let is_same = |own: &Envelope| [&again.name, &record.name].contains(&&own.name) && own.digest() == again.digest();
            letter.id == record.id && letter.kind() != Some("id_in_use") && letter.envelope.as_ref().is_ok_and(is_same)
        };
        match walk.of_job(&record.id, |_| false).await {
            Ok(letters) => {
                let connects = letters.iter().any(|letter| lookup::connects(letter, Some(record)));
                let (found, others): (Vec<_>, Vec<_>) = letters.into_iter().partition(runs_again);
                let kept = others.len();
                let is_left = found.is_empty() && kept == 0 && walk.unseen() > 0;
                let left = is_left.then(|| format!("it is not among the {} dead letters that {} returned", walk.seen(), pair.dlq));
                Self { walk: Some(walk), found, kept, connects, left }
            }
            Err(error) => Self { walk: Some(walk), found: Vec::new(), kept: 0, connects: false, left: Some(error.into_message()) },
        }
    }

    /// Deletes the dead letters. Returns the number of deleted ones.
    async fn delete(&mut self) -> u64 {
        let Some(walk) = &mut self.walk else { return 0 };
        let failed = walk.delete(&self.found.iter().collect::<Vec<_>>()).await;
        if failed > 0 {
            self.left = Some("SQS did not delete it".into());
        }
        self.found.len() as u64 - failed
    }

    /// Makes the remaining dead letters visible again. Returns the reason why some remain.
    async fn end(self) -> Option<String> {
        if let Some(walk) = self.walk {
            walk.end().await;
        }
        self.left
    }
}
