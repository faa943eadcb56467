//! Runs the whole system on one machine, until Ctrl-C.

mod deploy;
mod stack;
mod view;
mod workspace;

use std::{fs, path::Path, process::Stdio, time::Duration};

use clap::Args;
use notify::{RecursiveMode, Watcher as _};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::spawn_blocking,
    time::{interval, sleep},
};

use self::{
    deploy::Deployment,
    stack::Stack,
    view::View,
    workspace::{Programs, Workspace},
};
use crate::{aws::Aws, failure::Failure, place::Place, value::text};

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Run only the functions of these packages. Default: those in the folders `functions` and `beater`; without these folders, all
    /// packages that depend on sqjobs. Two kinds of packages do not count: those that depend on sqjobs with `default-features = false`, as
    /// producers do, and those with `queues = []` under [package.metadata.sqjobs].
    #[arg(long = "package", short, value_name = "PACKAGE", value_parser = text)]
    pub(crate) packages: Vec<String>,
    /// Build and deploy again whenever a file changes.
    #[arg(long)]
    pub(crate) watch: bool,
    /// Keep tables and queues from one run to the next.
    #[arg(long)]
    pub(crate) keep: bool,
    /// The port of the local stack, on the loopback address.
    #[arg(long, default_value_t = 4566)]
    pub(crate) port: u16,
    /// More arguments for `cargo build`, such as --release.
    #[arg(last = true, value_name = "CARGO ARGUMENT")]
    pub(crate) cargo: Vec<String>,
}

/// Interval between two redraws of the view.
const FRAME: Duration = Duration::from_secs(1);
/// Changes within this time start one build.
const TOGETHER: Duration = Duration::from_millis(300);

pub(super) async fn dev(place: &Place, wanted: Dev) -> Result<bool, Failure> {
    let workspace = Workspace::read(&wanted.packages, wanted.cargo)?;
    let (_watcher, changes) = watch(&workspace, wanted.watch)?; // from now on, so that no change is missed
    let names: Vec<_> = workspace.functions.iter().map(|function| &*function.name).collect();
    note!("building {}; the first build takes several minutes", names.join(", "));
    let programs = workspace.build().run(Stdio::inherit()).map_err(Failure::new)?;
    let (mut interrupted, mut ended) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut stack = Stack::start(&workspace.target, wanted.port, wanted.keep)?;
    let lived = tokio::select! {
        lived = live(place, &workspace, &mut stack, &programs, changes) => lived,
        _ = interrupted.recv() => Ok(()),
        _ = ended.recv() => Ok(()),
    };
    let left = if wanted.keep { "are kept for the next `sqjobs dev --keep`" } else { "are deleted; `--keep` keeps them" };
    note!("\nthe local stack stops; its tables and queues {left}");
    lived.map(|()| true)
}

/// Deploys all functions, shows the view, and deploys changed functions again.
async fn live(
    place: &Place,
    workspace: &Workspace,
    stack: &mut Stack,
    programs: &Programs,
    mut changes: UnboundedReceiver<()>,
) -> Result<(), Failure> {
    let aws = Aws::local(place, stack.url()).await;
    stack.ready(&aws).await?;
    let beaters = workspace.functions.iter().filter(|function| function.queue.is_none());
    let beaters: Vec<_> = beaters.map(|beater| aws.queue(&beater.name)).collect();
    if !beaters.is_empty() {
        stack.log_beaters(&beaters)?;
    }
    let mut deployment = Deployment::new(&aws, workspace);
    deployment.deploy(programs).await?;
    let mut view = View::new(&aws, workspace, stack)?;
    let mut frames = interval(FRAME);
    loop {
        tokio::select! {
            _ = frames.tick() => {
                stack.lives()?;
                view.draw().await?;
            }
            Some(()) = changes.recv() => {
                sleep(TOGETHER).await;
                while changes.try_recv().is_ok() {}
                view.say("building");
                view.draw().await?;
                match rebuilt(workspace, &mut deployment).await {
                    Ok(deployed) => view.say(&deployed),
                    Err(flaw) => view.say(&flaw),
                }
            }
        }
    }
}

/// Builds and deploys the changed functions; returns a message about the outcome.
async fn rebuilt(workspace: &Workspace, deployment: &mut Deployment<'_>) -> Result<String, String> {
    let build = workspace.build();
    let programs = spawn_blocking(|| build.run(Stdio::piped())).await.map_err(|error| error.to_string())??;
    match deployment.deploy(&programs).await {
        Ok(0) => Ok("built; no function has changed".into()),
        Ok(1) => Ok("built; 1 function was deployed again".into()),
        Ok(functions) => Ok(format!("built; {functions} functions were deployed again")),
        Err(Failure::Message(flaw)) => Err(flaw),
        Err(Failure::BrokenPipe) => Err("the output is closed".into()),
    }
}

/// Sends a message for each change of a file of the workspace, if `wanted`.
fn watch(workspace: &Workspace, wanted: bool) -> Result<(Option<notify::RecommendedWatcher>, UnboundedReceiver<()>), Failure> {
    let (sender, changes) = unbounded_channel();
    if !wanted {
        return Ok((None, changes));
    }
    let cannot = |error: notify::Error| Failure::because("cannot watch the files of the workspace", error);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            sender.send(()).ok();
        }
    })
    .map_err(cannot)?;
    // The build folder changes with each build, and is large.
    let is_hidden = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    for path in
        fs::read_dir(&workspace.root)?.flatten().map(|entry| entry.path()).filter(|path| !is_hidden(path) && *path != workspace.target)
    {
        watcher.watch(&path, RecursiveMode::Recursive).map_err(cannot)?;
    }
    Ok((Some(watcher), changes))
}
