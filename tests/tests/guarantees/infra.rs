//! The Terraform modules agree with the code.

use std::{collections::BTreeSet, fs, path::Path};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the contents of every Rust file in a folder of a function's sources.
pub(crate) fn sources(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    let made_by_hand = |path: &Path| path.ends_with("setup.rs");
    let read = |path: std::path::PathBuf| if path.is_dir() { sources(&path) } else { vec![fs::read_to_string(path).unwrap_or_default()] };
    entries.filter(|path| !made_by_hand(path)).flat_map(read).collect()
}

/// The caller of a request: functions, the subset of functions that enqueue jobs, or beaters.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    Functions,
    Beaters,
    Both,
    /// The function that publishes events.
    Publishers,
}

/// The SDK requests of the library, the permissions that each needs, and the callers.
const RIGHTS: &[(&str, &[&str], Who)] = &[
    (".batch_execute_statement()", &["dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate"], Who::Both),
    (".batch_get_item()", &["dynamodb:BatchGetItem"], Who::Both),
    (".batch_write_item()", &["dynamodb:BatchWriteItem"], Who::Functions),
    (".describe_table()", &["dynamodb:DescribeTable"], Who::Beaters),
    (".get_item()", &["dynamodb:GetItem"], Who::Beaters),
    (".query()", &["dynamodb:Query"], Who::Both),
    (".scan()", &["dynamodb:Scan"], Who::Beaters),
    ("Put::builder()", &["dynamodb:PutItem"], Who::Beaters),
    (".put_item()", &["dynamodb:PutItem"], Who::Beaters),
    ("Delete::builder()", &["dynamodb:DeleteItem"], Who::Beaters),
    (".change_message_visibility_batch()", &["sqs:ChangeMessageVisibility"], Who::Both),
    (".delete_message_batch()", &["sqs:DeleteMessage"], Who::Both),
    (".get_queue_attributes()", &["sqs:GetQueueAttributes"], Who::Functions), // by a worker outside Lambda
    (".get_queue_url()", &["sqs:GetQueueUrl"], Who::Both),
    (".receive_message()", &["sqs:ReceiveMessage"], Who::Both), // Lambda itself receives the messages for a function
    (".send_message_batch()", &["sqs:SendMessage"], Who::Both),
    (".put_events()", &["events:PutEvents"], Who::Publishers),
];
/// Permissions that every function's role needs for Lambda, and that a key allows.
const OF_ALL: &[&str] = &["logs:CreateLogStream", "logs:PutLogEvents", "kms:Decrypt", "sts:AssumeRole"];
/// Permissions that Lambda needs in the role of a function that a queue feeds and that may be traced.
const OF_FUNCTIONS: &[&str] = &["kms:GenerateDataKey", "sqs:GetQueueAttributes", "xray:PutTelemetryRecords", "xray:PutTraceSegments"];
/// Permissions that Lambda needs in the role of a function that a stream feeds.
const OF_PUBLISHERS: &[&str] = &["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"];

#[test]
fn the_roles_of_the_modules_allow_what_the_code_can_ask_for_and_no_more() {
    let code = sources(&Path::new(ROOT).join("shared/src")).concat();
    let modules = [
        ("job-function", Who::Functions, OF_FUNCTIONS),
        ("beater", Who::Beaters, &["kms:GenerateDataKey"]),
        ("events", Who::Publishers, OF_PUBLISHERS),
    ];
    for (module, who, platform) in modules {
        let is_own = |own: Who| own == who || own == Who::Both && who != Who::Publishers;
        let asked = RIGHTS.iter().filter(|(call, _, own)| code.contains(call) && is_own(*own));
        let asked = asked.flat_map(|(_, rights, _)| *rights).chain(OF_ALL).chain(platform);
        let asked: BTreeSet<_> = asked.map(|right| (*right).to_owned()).collect();
        assert_eq!(allowed(&read(&format!("infra/modules/{module}/main.tf"))), asked, "{module}");
    }
}

/// Returns the permissions in the policies of a module.
fn allowed(module: &str) -> BTreeSet<String> {
    let services = ["dynamodb", "events", "sqs", "logs", "xray", "kms", "sts"];
    let is_right = |text: &&str| text.split_once(':').is_some_and(|(service, action)| services.contains(&service) && !action.is_empty());
    module.split('"').filter(is_right).filter(|text| *text != "kms:ViaService").map(str::to_owned).collect()
}

#[test]
fn no_policy_allows_everything_and_everything_is_encrypted() {
    for module in ["job-function", "beater", "events", "job-table"] {
        let code = read(&format!("infra/modules/{module}/main.tf"));
        let wild: Vec<_> =
            code.lines().filter(|line| line.contains("\"*\"") || line.contains("sqs:*") || line.contains("dynamodb:*")).collect();
        // X-Ray permissions cannot name resources.
        let traces = code.split_once(r#"sid       = "Traces""#).map_or("", |(_, rest)| rest.split_once('}').map_or("", |(own, _)| own));
        assert!(wild.iter().all(|line| traces.contains(line)), "{module}: {wild:?}");
        let count = |what: &str| code.matches(what).count();
        assert_eq!(count(r#"resource "aws_sqs_queue" "#), count("sqs_managed_sse_enabled"), "{module}: queues");
        assert_eq!(count(r#"resource "aws_dynamodb_table" "#), count("server_side_encryption {"), "{module}: tables");
        assert_eq!(count(r#"resource "aws_cloudwatch_log_group" "#), count("kms_key_id "), "{module}: logs");
    }
}

#[test]
fn every_request_of_the_library_is_known_to_that_test() {
    let code = sources(&Path::new(ROOT).join("shared/src")).concat();
    let calls = code.split(".client.").skip(1).filter_map(|rest| rest.split_once("()")).map(|(call, _)| call);
    let calls: BTreeSet<_> = calls.filter(|call| call.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')).collect();
    let harmless = ["clone", "transact_write_items"]; // a transaction needs the permissions of its parts
    let unknown: Vec<_> =
        calls.iter().filter(|call| !harmless.contains(call) && !RIGHTS.iter().any(|(known, ..)| *known == format!(".{call}()"))).collect();
    assert!(calls.len() > 8 && unknown.is_empty(), "{unknown:?} of {calls:?}");
}

#[test]
fn a_job_has_one_name_for_its_folder_its_package_itself_and_its_entry() {
    let names_in = |path: &Path| -> BTreeSet<String> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter_map(|entry| Some(entry.path().file_stem()?.to_string_lossy().into_owned())).collect()
    };
    let functions = Path::new(ROOT).join("functions");
    let mut names = BTreeSet::new();
    for folder in names_in(&functions) {
        assert!(read(&format!("functions/{folder}/Cargo.toml")).contains(&format!("name = \"{folder}\"\n")), "the package of {folder}");
        // The jobs of a workflow share a package, in which each has a program.
        let mut programs = names_in(&functions.join(&folder).join("src/bin"));
        if programs.is_empty() {
            programs.insert(folder.clone());
        }
        let code = sources(&functions.join(&folder)).concat();
        for name in &programs {
            assert!(code.contains(&format!("const NAME: &'static str = \"{name}\";")), "the job of {name}");
        }
        names.extend(programs);
    }
    let example = read("infra/examples/house/main.tf");
    let map = example.split_once("functions = {").expect("a map of functions").1;
    let entries =
        map.lines().filter_map(|line| line.strip_prefix("    ")?.strip_suffix('{').or_else(|| line.trim_start().strip_suffix("{}")));
    let entries: BTreeSet<_> = entries
        .filter(|entry| !entry.starts_with(' '))
        .filter_map(|entry| entry.trim().strip_suffix('='))
        .map(|name| name.trim().to_owned())
        .collect();
    assert_eq!(entries, names);
}
