//! Arguments of the command `mcp`.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Mcp {
    /// Show the data of jobs to the assistant: arguments, results, metadata, progress and checkpoints. Without this option, answers
    /// leave them out. Texts of errors are always shown.
    #[arg(long)]
    pub(crate) show_arguments: bool,
}
