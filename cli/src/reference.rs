//! Holds the guide to the command. The tests write the reference page and the policies anew where they are stale, and parse each
//! command that a page names.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use clap::{Arg, Command, CommandFactory as _, Error, Parser as _, builder::StyledStr, error::ErrorKind};
use serde_json::Value;

use crate::{
    args::Args,
    command::{
        function,
        permissions::{self, Audience},
    },
    place::Place,
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The line of a page below which a test writes.
const GENERATED: &str = "<!-- `cargo test -p sqjobs-cli reference` writes what follows. -->\n";

#[test]
fn the_reference_of_the_command_is_up_to_date() {
    let mut command = Args::command();
    command.build();
    let mut text = String::from("\n");
    overview(&command, &mut text);
    describe(&command, &mut text);
    keep_up_to_date("docs/command.md", &text);
}

#[test]
fn the_policies_of_the_guide_are_up_to_date() {
    let place = Place { prefix: "prod-".into(), ..Place::default() };
    let (region, account) = ("eu-west-1", "123456789012");
    let mut text = format!("\nFor the prefix `prod-`, the region `{region}` and the account `{account}`.\n");
    let audiences = [
        ("reader", Audience::Reader),
        ("operator", Audience::Operator),
        ("deployer", Audience::Deployer),
        ("producer", Audience::Producer),
    ];
    for (name, audience) in audiences {
        add_policy(&mut text, &format!("The {name}"), &permissions::of_audience(audience, &place, region, account));
    }
    let table = |name: &str| format!("arn:aws:dynamodb:{region}:{account}:table/{name}");
    let queue = |name: &str| format!("arn:aws:sqs:{region}:{account}:{name}");
    let (jobs, schedules) = (table(&place.table()), table(&place.schedules_table()));
    let mut function = function::worker_rights(&jobs, vec![queue("prod-adder")], &queue("prod-adder-dlq"));
    function.extend(function::parent_rights(&jobs, vec![queue("prod-reports")]));
    add_policy(&mut text, "A function whose jobs enqueue to the queue `reports`", &function::policy(&function));
    let beater = function::beater_rights("prod-", &jobs, &schedules, vec![queue("prod-adder")], vec![queue("prod-adder-dlq")]);
    add_policy(&mut text, "A beater", &function::policy(&beater.expect("there is room for one queue")));
    keep_up_to_date("docs/permissions.md", &text);
}

#[test]
fn each_command_of_the_guide_can_be_parsed() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("the page can be read");
        let (blocks, spans) = commands(&text);
        count += blocks.len() + spans.len();
        let refused = blocks.into_iter().map(|line| (refusal(&line), line));
        // A span may name a command without its arguments, and end with an option without its value.
        let is_complete = |error: &Error| {
            !matches!(
                error.kind(),
                ErrorKind::MissingRequiredArgument | ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            )
        };
        let refusal_of_span = |line: &str| {
            let [given, with_value] = [line.to_owned(), format!("{line} value")].map(|line| refusal(&line).filter(is_complete));
            given.filter(|_| with_value.is_some())
        };
        let refused = refused.chain(spans.into_iter().map(|line| (refusal_of_span(&line), line)));
        wrong.extend(refused.filter_map(|(error, line)| Some(format!("{}: {line}\n{}", page.display(), error?))));
    }
    assert!(count > 100, "only {count} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns the error with which the command refuses a line.
fn refusal(line: &str) -> Option<Error> {
    Args::try_parse_from(words(line)).err()
}

/// Fails if a page is stale, and writes it anew.
fn keep_up_to_date(page: &str, generated: &str) {
    let path = Path::new(ROOT).join(page);
    let old = fs::read_to_string(&path).expect("the page can be read");
    let (head, _) = old.split_once(GENERATED).expect("the page has the line below which it is generated");
    let new = format!("{head}{GENERATED}{generated}");
    if old != new {
        fs::write(&path, new).expect("the page can be written");
        panic!("{page} was stale and is written anew; look at what changed, and commit it");
    }
}

fn add_policy(text: &mut String, title: &str, policy: &Value) {
    let policy = serde_json::to_string_pretty(policy).expect("a policy is JSON");
    write!(text, "\n### {title}\n\n```json\n{policy}\n```\n").expect("text takes more");
}

/// The table of all commands.
fn overview(command: &Command, text: &mut String) {
    text.push_str("| command | purpose |\n|---|---|\n");
    for command in leaves(command) {
        let name = name(command);
        let about = command.get_about().map(plain).unwrap_or_default();
        let first = about.split(". ").next().unwrap_or_default().trim_end_matches('.');
        writeln!(text, "| [`{name}`](#{}) | {} |", name.replace(' ', "-"), cell(first)).expect("text takes more");
    }
}

/// The commands that have no commands below them.
fn leaves(command: &Command) -> Vec<&Command> {
    let below: Vec<_> = command.get_subcommands().collect();
    if below.is_empty() { vec![command] } else { below.into_iter().flat_map(leaves).collect() }
}

/// Describes a command, then those below it.
fn describe(command: &Command, text: &mut String) {
    let name = name(command);
    let about = command.get_long_about().or(command.get_about()).map(plain).unwrap_or_default();
    let mut command = command.clone();
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let about = about.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
    write!(text, "\n## {name}\n\n{about}\n\n```text\n{usage}\n```\n").expect("text takes more");
    let is_root = name == "sqjobs";
    let own = command.get_arguments().filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()) && arg.is_global_set() == is_root);
    let rows: Vec<_> = own.map(row).collect();
    if is_root && !rows.is_empty() {
        text.push_str("\nEach command takes these options:\n");
    }
    if !rows.is_empty() {
        write!(text, "\n| argument | meaning |\n|---|---|\n{}", rows.concat()).expect("text takes more");
    }
    command.get_subcommands().for_each(|below| describe(below, text));
}

/// A line of the table of arguments.
fn row(arg: &Arg) -> String {
    let short = arg.get_short().filter(|_| arg.get_long().is_some()).map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let help = arg.get_long_help().or(arg.get_help()).map(plain).unwrap_or_default();
    let takes_value = arg.get_action().takes_values();
    let values: Vec<_> = arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    let values = if takes_value && !values.is_empty() { format!(" Values: {}.", values.join(", ")) } else { String::new() };
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).filter(|value| !value.is_empty()).collect();
    let default = if takes_value && !defaults.is_empty() { format!(" Default: `{}`.", defaults.join(" ")) } else { String::new() };
    let variable = arg.get_env().map(|name| format!(" Variable: `{}`.", name.to_string_lossy())).unwrap_or_default();
    format!("| {short}`{}` | {}{values}{default}{variable} |\n", cell(&arg.to_string()), cell(&help))
}

fn name(command: &Command) -> String {
    command.get_bin_name().unwrap_or(command.get_name()).to_owned()
}

/// Returns a text with its last full stop, which clap takes away from short ones.
fn plain(text: &StyledStr) -> String {
    let text = text.to_string();
    let is_open = text.ends_with(|last: char| last.is_alphanumeric() || ['`', ')', ']'].contains(&last));
    if is_open { text + "." } else { text }
}

/// A text as a cell of a table takes it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The README, the other documents at the root that name commands, and the guide.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    let guide = fs::read_dir(root.join("docs")).expect("there is a guide").map(|page| page.expect("a page").path());
    let mut pages: Vec<_> = guide.filter(|page| page.extension().is_some_and(|end| end == "md")).collect();
    pages.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|page| root.join(page)));
    pages
}

/// The commands of `sqjobs` in the shell blocks of a page, and those in its spans of code.
fn commands(page: &str) -> (Vec<String>, Vec<String>) {
    let (mut blocks, mut spans, mut fence) = (Vec::new(), Vec::new(), None);
    for line in page.lines() {
        match (line.trim_start().strip_prefix("```"), fence) {
            (Some(language), None) => fence = Some(language == "sh"),
            (Some(_), Some(_)) => fence = None,
            (None, Some(true)) => {
                let parts = line.split("&&").map(str::trim);
                blocks.extend(parts.filter(|part| part.starts_with("sqjobs ")).map(str::to_owned));
            }
            (None, Some(false)) => {}
            (None, None) => {
                let code = line.split('`').skip(1).step_by(2);
                spans.extend(code.filter(|span| span.starts_with("sqjobs ")).map(str::to_owned));
            }
        }
    }
    (blocks, spans)
}

/// The words of a command, as a shell reads them, up to a comment, a pipe or a redirection.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '#' | '|' | '>') if word.is_none() => break,
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}
