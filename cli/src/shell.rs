//! Writes commands that people can copy.

use sqjobs::Priority;

/// Returns the command that creates a queue, given its name without the prefix. The queue of a priority belongs to another queue.
pub(crate) fn creation(short: &str) -> String {
    match Priority::of_queue(short) {
        Priority::Default => format!("`sqjobs queue create {}`", shell(short)),
        priority => format!("`sqjobs queue create {} --priority {}`", shell(&Priority::Default.queue(short)), priority.as_str()),
    }
}

/// Quotes text for a shell, if necessary.
pub(crate) fn shell(text: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_.:/@%+,=".contains(char);
    // Some shells replace `=name` by the path of a program.
    if !text.is_empty() && !text.starts_with('=') && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
