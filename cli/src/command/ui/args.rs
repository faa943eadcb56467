//! Arguments of the command `ui`.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Ui {
    /// The port, on the loopback address. With 0, the system chooses a free one.
    #[arg(long, default_value_t = 4577)]
    pub(crate) port: u16,
    /// Allow changes, such as retry, cancel and redrive. Without this option, the page only reads.
    #[arg(long)]
    pub(crate) write: bool,
}
