//! The commands, one a file.

mod beater;
pub(crate) mod cancel;
pub(crate) mod complete;
mod cycle;
mod data;
pub(crate) mod dev;
pub(crate) mod dlq;
pub(crate) mod doctor;
pub(crate) mod enqueue;
mod environment;
pub(crate) mod explain;
mod feeding;
pub(crate) mod find;
pub(crate) mod follow;
pub(crate) mod function;
pub(crate) mod limit;
mod lookup;
mod mapping;
pub(crate) mod mcp;
pub(crate) mod permissions;
mod queue;
pub(crate) mod queues;
pub(crate) mod release;
pub(crate) mod reschedule;
pub(crate) mod retry;
mod runner;
pub(crate) mod schedule;
pub(crate) mod stats;
pub(crate) mod table;
mod tables;
pub(crate) mod tag;
pub(crate) mod tail;
pub(crate) mod tree;
pub(crate) mod ui;
mod workflow;

use clap::CommandFactory as _;

use crate::{
    args::{Args, Command},
    aws::Aws,
    failure::Failure,
    output::Output,
};

/// Runs a command, with a connection that exists already if one is given. Returns `true` if the answer is yes.
pub(crate) async fn run(args: Args, connected: Option<&Aws>) -> Result<bool, Failure> {
    let aws = async || match connected {
        Some(aws) => aws.clone(),
        None => Aws::connect(&args.place).await,
    };
    let changing = async || {
        let aws = aws().await;
        table::check_options(&aws).await.map(|()| aws)
    };
    match args.command {
        Command::Enqueue(wanted) => Box::pin(enqueue::enqueue(&changing().await?, *wanted)).await,
        Command::Get(wanted) => find::get(&aws().await, wanted).await,
        Command::List(wanted) => find::list(&aws().await, wanted).await,
        Command::Tree(wanted) => tree::tree(&aws().await, wanted).await,
        Command::Explain(wanted) => explain::explain(&aws().await, wanted).await,
        Command::Watch(wanted) => follow::watch(&aws().await, wanted).await,
        Command::Tail(wanted) => tail::tail(&aws().await, &wanted).await,
        Command::Cancel(wanted) => cancel::cancel(&changing().await?, wanted).await,
        Command::Complete(wanted) => complete::complete(&changing().await?, wanted).await,
        Command::Retry(wanted) => retry::retry(&changing().await?, *wanted).await,
        Command::Move(wanted) => reschedule::reschedule(&changing().await?, wanted).await,
        Command::Tag(wanted) => tag::tag(&changing().await?, wanted).await,
        Command::Limit(wanted) => limit::limit(&aws().await, wanted).await,
        Command::Stats(wanted) => stats::stats(&aws().await, wanted).await,
        Command::Dlq(wanted) => dlq::dlq(&aws().await, wanted).await,
        Command::Schedule(wanted) => Box::pin(schedule::schedule(aws, wanted)).await,
        Command::Table(wanted) => table::table(&aws().await, wanted).await,
        Command::Queue(wanted) => queues::queue(&aws().await, wanted).await,
        Command::Function(wanted) => release::function(&aws().await, wanted).await,
        Command::Doctor(wanted) => doctor::doctor(&aws().await, &wanted).await,
        Command::Permissions(wanted) => permissions::permissions(&aws().await, &wanted),
        Command::Ui(wanted) => ui::ui(aws().await, &wanted).await,
        Command::Mcp(wanted) => mcp::mcp(aws().await, &wanted).await,
        Command::Dev(wanted) => dev::dev(&args.place, wanted).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "sqjobs", &mut script);
            Output::new().line(String::from_utf8_lossy(&script).trim_end())?;
            Ok(true)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Args::command()).render(&mut page)?;
            Output::new().line(String::from_utf8_lossy(&page).trim_end())?;
            Ok(true)
        }
    }
}
