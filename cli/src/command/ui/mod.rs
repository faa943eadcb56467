//! `sqjobs ui`: a page for operators, on the loopback address.
//!
//! Each view runs commands of this program in this process, and shows their JSON. Each action runs a command too, and shows its line. So the
//! page does what the command line does, with the same rights.

mod action;
mod args;
mod form;
mod guard;
mod kept;
mod page;
mod svg;
mod view;

use std::{net::Ipv4Addr, sync::Arc};

use axum::{
    Router,
    http::header,
    middleware,
    response::IntoResponse,
    routing::{get, post},
};
use tokio::{net::TcpListener, signal::ctrl_c, task::LocalSet};

pub(crate) use self::args::Ui;
use self::{guard::Guard, kept::Kept};
use super::runner::Runner;
use crate::{aws::Aws, failure::Failure, output::Output};

/// The state that all requests to the page share.
pub(super) struct Shared {
    aws: Aws,
    runner: Runner,
    kept: Kept,
    may_write: bool,
}

type Page = Arc<Shared>;

/// Serves the page until Ctrl-C.
pub(super) async fn ui(aws: Aws, wanted: &Ui) -> Result<bool, Failure> {
    let cannot = |error| Failure::because(&format!("cannot use port {}; give another port with --port", wanted.port), error);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted.port)).await.map_err(cannot)?;
    let guard = Arc::new(Guard::new(listener.local_addr()?.port()));
    Output::new().line(guard.address())?;
    let way = if wanted.write { "changes are allowed" } else { "read-only; `--write` allows changes" };
    note!("the page is open to whoever has this address; {way}; Ctrl-C stops it");
    LocalSet::new()
        .run_until(async {
            let runner = Runner::start(aws.clone());
            let shared = Arc::new(Shared { aws, runner, kept: Kept::default(), may_write: wanted.write });
            let served = axum::serve(listener, router(shared, guard));
            tokio::select! {
                served = served => served.map_err(Failure::from),
                interrupted = ctrl_c() => interrupted.map_err(Failure::from),
            }
        })
        .await
        .map(|()| true)
}

fn router(shared: Page, guard: Arc<Guard>) -> Router {
    Router::new()
        .route("/", get(view::overview::show))
        .route("/doctor", get(view::overview::doctor))
        .route("/jobs", get(view::jobs::show))
        .route("/job", get(view::job::show))
        .route("/explain", get(view::job::explain))
        .route("/tree", get(view::job::tree))
        .route("/dead", get(view::dead::show))
        .route("/schedules", get(view::schedules::show))
        .route("/schedule", get(view::schedules::one))
        .route("/stats", get(view::stats::show))
        .route("/act", get(action::ask).post(action::act))
        .route("/run", get(action::show))
        .route("/stop", post(action::stop))
        .route("/style.css", get(file("text/css; charset=utf-8", include_str!("style.css"))))
        .route("/page.js", get(file("text/javascript; charset=utf-8", include_str!("page.js"))))
        .fallback(page::missing)
        .with_state(shared)
        .layer(middleware::from_fn_with_state(guard, guard::check))
}

/// Returns the handler of a file of the page.
fn file(kind: &'static str, content: &'static str) -> impl IntoResponse + Clone {
    ([(header::CONTENT_TYPE, kind)], content)
}
