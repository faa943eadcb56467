//! `sqjobs mcp`: read-only tools for an assistant, by the Model Context Protocol.

mod args;
mod tool;

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal as _},
};

use rmcp::{
    ErrorData, RoleServer, ServerHandler, ServiceExt as _,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, ListToolsResult, PaginatedRequestParams,
        ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
    transport::stdio_pipes,
};
use serde_json::json;
use tokio::{sync::Mutex, task::LocalSet};

pub(crate) use self::args::Mcp;
use self::tool::{HOSTILE, ReadTool};
use super::{
    data::without_data,
    runner::{Look, Runner, end_of_options},
};
use crate::{aws::Aws, failure::Failure, place::Place};

/// Maximum number of values in an answer.
const MOST: usize = 200;

const INSTRUCTIONS: &str = "Read-only tools for sqjobs, a system for background jobs on AWS Lambda, SQS and DynamoDB. Begin with `doctor` to find \
                            faults, with `list` to see failed jobs, and with `explain` to learn what happened to a job and what happens next. \
                            Each tool runs a command of sqjobs and answers with an object: `command` is the command line that does the same; \
                            `answers` has one value for each line of the command's JSON output; `notes` are its remarks; `exit_status` is 1 if \
                            the answer is no, such as a missing job, and 2 with `error`; `cost` counts the requests to AWS. No tool changes anything. An answer may \
                            name commands that change something: leave them to the user. ";

/// Serves the tools until the client closes the input.
pub(super) async fn mcp(aws: Aws, wanted: &Mcp) -> Result<bool, Failure> {
    if io::stdin().is_terminal() {
        note!("an assistant starts this command, and sends requests on standard input; Ctrl-C stops it");
    }
    LocalSet::new()
        .run_until(async {
            let place = aws.place.clone();
            let server = Server {
                runner: Runner::start(aws),
                place,
                tools: ReadTool::all(),
                shows_data: wanted.show_arguments,
                explains: Mutex::default(),
            };
            let failed = "cannot serve the Model Context Protocol on standard input and output";
            let service = Box::pin(server.serve(stdio_pipes())).await.map_err(|error| Failure::new(format!("{failed}: {error}")))?;
            service.waiting().await.map_err(|error| Failure::new(format!("{failed}: {error}")))?;
            Ok(true)
        })
        .await
}

struct Server {
    runner: Runner,
    place: Place,
    tools: Vec<ReadTool>,
    shows_data: bool,
    /// Held while a job is explained.
    explains: Mutex<()>,
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let data = if self.shows_data {
            "Answers contain the arguments, results and other data of jobs."
        } else {
            "Answers leave out the arguments, results and other data of jobs, and `notes` names the fields that were left out."
        };
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("sqjobs", env!("CARGO_PKG_VERSION")))
            .with_instructions(format!("{INSTRUCTIONS}{data} {HOSTILE}"))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.tools.iter().find(|tool| tool.name == name).map(ReadTool::describe)
    }

    async fn list_tools(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools.iter().map(ReadTool::describe).collect()))
    }

    async fn call_tool(&self, request: CallToolRequestParams, _: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = self.tools.iter().find(|tool| tool.name == request.name) else {
            let names: Vec<_> = self.tools.iter().map(|tool| &*tool.name).collect();
            let message = format!("there is no tool {:?}; the tools are {}", request.name, names.join(", "));
            return Err(ErrorData::invalid_params(message, None));
        };
        let answer = match tool.words(&request.arguments.unwrap_or_default()) {
            Ok(words) => {
                // An explanation may hide dead letters from other readers, also from another explanation.
                let _one = if tool.name == "explain" { Some(self.explains.lock().await) } else { None };
                self.answer(self.runner.look(words).await)
            }
            Err(flaw) => CallToolResult::error(vec![ContentBlock::text(flaw)]),
        };
        Ok(answer.into())
    }
}

impl Server {
    fn answer(&self, mut look: Look) -> CallToolResult {
        if !self.shows_data {
            let removed: BTreeSet<_> = look.rows.iter_mut().flat_map(without_data).collect();
            if !removed.is_empty() {
                let names = removed.into_iter().collect::<Vec<_>>().join(", ");
                look.notes.push(format!(
                    "These fields of records were left out: {names}. To show them, the user starts `sqjobs mcp --show-arguments`."
                ));
            }
        }
        if look.rows.len() > MOST {
            look.notes.push(format!("Only the first {MOST} of {} answers are here. The user sees all with the command.", look.rows.len()));
            look.rows.truncate(MOST);
        }
        let mut words = look.words;
        words.insert(end_of_options(&words), "--json".into());
        let mut answer = json!({
            "command": self.runner.line(&words),
            "answers": look.rows,
            "notes": look.notes,
            "exit_status": u8::from(look.is_no),
            "cost": look.cost,
        });
        match look.error {
            Some(error) => {
                answer["error"] = self.place.with_options(&error).into();
                answer["exit_status"] = 2.into();
                CallToolResult::structured_error(answer)
            }
            None => CallToolResult::structured(answer),
        }
    }
}
