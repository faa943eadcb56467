//! Finds, builds and packs the functions of a workspace.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io::{self, Cursor},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;
use sqjobs::Priority;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::failure::Failure;

/// Default name of the function that EventBridge invokes.
const BEATER: &str = "beater";
/// The feature of the library that functions need. It is on by default.
const LAMBDA: &str = "lambda";
/// Default timeout of a function, in seconds, and of a beater.
const TIMEOUT_S: u32 = 30;
const TICK_S: u32 = 60;

/// A workspace, as cargo describes it.
pub(super) struct Workspace {
    pub(super) root: PathBuf,
    pub(super) target: PathBuf,
    pub(super) functions: Vec<Function>,
    /// The ids of their packages. Names are not unique: a dependency may have the same one.
    packages: Vec<String>,
    /// More arguments for cargo.
    arguments: Vec<String>,
}

/// A function and its program.
#[derive(Debug, PartialEq)]
pub(super) struct Function {
    pub(super) name: String,
    /// The name of its program.
    pub(super) program: String,
    /// The queue that feeds it; none for the beater.
    pub(super) queue: Option<String>,
    /// The priorities that have queues of their own, which feed it too.
    pub(super) priorities: Vec<Priority>,
    pub(super) timeout_s: u32,
    pub(super) environment: BTreeMap<String, String>,
    /// A message that it can run.
    pub(super) example: Option<Example>,
}

/// An example message of a function, to enqueue a first job.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Example {
    pub(super) name: String,
    #[serde(default)]
    pub(super) args: Value,
}

/// The built programs, by name.
pub(super) type Programs = BTreeMap<String, PathBuf>;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
    targets: Vec<Target>,
    #[serde(default, deserialize_with = "own")]
    metadata: Own,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    #[serde(default = "yes")]
    uses_default_features: bool,
    #[serde(default)]
    features: Vec<String>,
}

fn yes() -> bool {
    true
}

impl Dependency {
    /// Returns true if this is the library with the features that functions need. Producers switch these off.
    fn is_for_functions(&self) -> bool {
        self.name == "sqjobs" && self.kind.is_none() && (self.uses_default_features || self.features.iter().any(|name| name == LAMBDA))
    }
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Metadata of a package: the settings of its function, and those of `cargo lambda`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Own {
    sqjobs: Settings,
    lambda: Lambda,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    queue: Option<String>,
    /// Queues that each have their own function.
    queues: Option<Vec<String>>,
    /// The priorities for which each function also has a queue.
    priorities: Vec<Priority>,
    example: Option<Example>,
    beater: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Lambda {
    deploy: Deploy,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Deploy {
    timeout: Option<u32>,
    env: BTreeMap<String, String>,
}

/// Reads the metadata of a package: `null` if there is none. Other tools may have fields there.
fn own<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Own, D::Error> {
    let metadata = serde_json::Value::deserialize(deserializer)?;
    let own = if metadata.is_null() { Ok(Own::default()) } else { serde_json::from_value(metadata) };
    own.map_err(|error| D::Error::custom(format!("[package.metadata.sqjobs] or [package.metadata.lambda] of a package: {error}")))
}

impl Package {
    fn uses_sqjobs(&self) -> bool {
        self.dependencies.iter().any(Dependency::is_for_functions)
    }

    fn functions(&self) -> impl Iterator<Item = Function> {
        let Own { sqjobs, lambda } = &self.metadata;
        let programs = self.targets.iter().filter(|target| target.kind.iter().any(|kind| kind == "bin"));
        programs.flat_map(move |Target { name, .. }| {
            let is_beater = sqjobs.beater.unwrap_or(name == BEATER);
            let function = |function: &str, queue: Option<&str>| Function {
                name: function.to_owned(),
                program: name.clone(),
                queue: queue.map(str::to_owned),
                priorities: Priority::OWN_QUEUES.into_iter().filter(|priority| sqjobs.priorities.contains(priority)).collect(),
                timeout_s: lambda.deploy.timeout.unwrap_or(if is_beater { TICK_S } else { TIMEOUT_S }),
                environment: lambda.deploy.env.clone(),
                example: sqjobs.example.clone(),
            };
            match &sqjobs.queues {
                _ if is_beater => vec![function(name, None)],
                None => vec![function(name, Some(sqjobs.queue.as_ref().unwrap_or(name)))],
                Some(queues) => queues.iter().map(|queue| function(queue.trim_end_matches(".fifo"), Some(queue))).collect(),
            }
        })
    }
}

impl Workspace {
    /// Reads the workspace of the current folder.
    pub(super) fn read(packages: &[String], arguments: Vec<String>) -> Result<Self, Failure> {
        let output = Command::new(cargo()).args(["metadata", "--format-version", "1", "--no-deps"]).output();
        let output = output.map_err(|error| Failure::new(format!("cannot start cargo: {error}; install Rust")))?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::new(format!(
                "{}; run the command in a Rust workspace that has jobs",
                message.trim_start_matches("error: ").trim()
            )));
        }
        let metadata: Metadata =
            serde_json::from_slice(&output.stdout).map_err(|error| Failure::because("cannot read the metadata of the packages", error))?;
        let selected = selected(&metadata, packages)?;
        Ok(Self {
            functions: functions(&selected)?,
            packages: selected.iter().map(|package| package.id.clone()).collect(),
            root: metadata.workspace_root,
            target: metadata.target_directory,
            arguments,
        })
    }

    /// Returns the build of the functions.
    pub(super) fn build(&self) -> Build {
        let mut command = Command::new(cargo());
        command.current_dir(&self.root).args(["build", "--message-format", "json-render-diagnostics"]);
        if !self.arguments.iter().any(|argument| argument == "--workspace") {
            command.args(self.packages.iter().flat_map(|package| ["--package", package]));
        }
        command.args(&self.arguments);
        Build { command, programs: self.functions.iter().map(|function| function.program.clone()).collect() }
    }
}

/// A build of the functions.
pub(super) struct Build {
    command: Command,
    programs: Vec<String>,
}

/// Message of cargo about a built part.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    /// True for the tests of a program.
    test: bool,
}

impl Build {
    /// Runs the build. If the compiler's output goes to a pipe, it becomes the error.
    pub(super) fn run(mut self, words: Stdio) -> Result<Programs, String> {
        let output = self.command.stdout(Stdio::piped()).stderr(words).output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(if words.is_empty() { "cannot build the functions".into() } else { words });
        }
        let messages = output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Message>(line).ok());
        let programs = messages.filter(|message| message.profile.as_ref().is_some_and(|profile| !profile.test));
        let programs = programs.filter_map(|message| Some((message.target?.name, message.executable?)));
        let programs: Programs = programs.filter(|(name, _)| self.programs.contains(name)).collect();
        match self.programs.iter().find(|name| !programs.contains_key(*name)) {
            Some(name) => Err(format!("cargo did not build {name}")),
            None => Ok(programs),
        }
    }
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Returns the packages whose programs are functions.
fn selected<'a>(metadata: &'a Metadata, names: &[String]) -> Result<Vec<&'a Package>, Failure> {
    let able = || metadata.packages.iter().filter(|package| package.uses_sqjobs() && package.functions().next().is_some());
    if let Some(name) = names.iter().find(|name| able().all(|package| package.name != **name)) {
        let able: Vec<_> = able().map(|package| &*package.name).collect();
        return Err(Failure::new(format!(
            "there is no package {name} that has a program and depends on sqjobs; these packages do: {}",
            able.join(", ")
        )));
    }
    let in_house = |package: &&Package| {
        let folder = package.manifest_path.strip_prefix(&metadata.workspace_root).unwrap_or(&package.manifest_path);
        folder.starts_with("functions") || folder.starts_with(BEATER)
    };
    let has_folder = metadata.workspace_root.join("functions").is_dir();
    let packages: Vec<_> = match names {
        [] => able().filter(|package| !has_folder || in_house(package)).collect(),
        names => able().filter(|package| names.contains(&package.name)).collect(),
    };
    if packages.is_empty() {
        return Err(Failure::new("no package of this workspace has a program and depends on sqjobs; name a package with --package"));
    }
    Ok(packages)
}

/// Returns the functions of these packages. Each must have its own name and queue.
fn functions(packages: &[&Package]) -> Result<Vec<Function>, Failure> {
    let (mut functions, mut taken) = (Vec::new(), BTreeMap::new());
    for (package, function) in packages.iter().flat_map(|package| package.functions().map(|function| (&package.name, function))) {
        let queue = function.queue.as_ref().map(|queue| format!("queue {queue}"));
        for what in [Some(format!("function {}", function.name)), queue].into_iter().flatten() {
            if let Some(other) = taken.insert(what.clone(), package) {
                return Err(Failure::new(format!(
                    "packages {other} and {package} both have {what}; in one of them, set another name with `queue` or `queues` under \
                     [package.metadata.sqjobs]"
                )));
            }
        }
        functions.push(function);
    }
    Ok(functions)
}

/// Strips and zips a program for Lambda.
pub(super) fn packed(program: &Path, work: &Path) -> Result<Vec<u8>, Failure> {
    fs::create_dir_all(work)?;
    let bootstrap = work.join("bootstrap");
    fs::copy(program, &bootstrap)?;
    // An unstripped program works too, but its upload is slower: most of it is debug information.
    Command::new("strip").arg(&bootstrap).stderr(Stdio::null()).status().ok();
    let options =
        SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).compression_level(Some(1)).unix_permissions(0o755);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let cannot = |error| Failure::because("cannot pack a function", error);
    zip.start_file("bootstrap", options).map_err(cannot)?;
    io::copy(&mut File::open(&bootstrap)?, &mut zip)?;
    Ok(zip.finish().map_err(cannot)?.into_inner())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, folder: &str, dependency: &Value, more: &Value) -> Value {
        let mut package = json!({
            "id": format!("path+file:///w/{folder}#{name}@0.1.0"), "name": name, "manifest_path": format!("/w/{folder}/Cargo.toml"), "dependencies": [dependency],
            "targets": [{"name": name, "kind": ["bin"]}], "metadata": null,
        });
        package.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        package
    }

    fn metadata(root: &str) -> Metadata {
        let sqjobs = json!({"name": "sqjobs", "kind": null});
        let own = json!({"metadata": {"sqjobs": {"queue": "orders.fifo", "priorities": ["high"]}, "lambda": {"deploy": {"timeout": 60, "env": {"A": "1"}}}}});
        let packages = json!([
            package("orders", "functions/orders", &sqjobs, &own),
            package("beater", "beater", &sqjobs, &json!({})),
            package("tool", "tool", &sqjobs, &json!({})),
            package("other", "functions/other", &json!({"name": "serde", "kind": null}), &json!({})),
            package("tested", "functions/tested", &json!({"name": "sqjobs", "kind": "dev"}), &json!({})),
            package("site", "site", &json!({"name": "sqjobs", "kind": null, "uses_default_features": false}), &json!({})),
            package("shop", "shop", &sqjobs, &json!({"metadata": {"sqjobs": {"queues": []}}})),
        ]);
        serde_json::from_value(json!({"packages": packages, "workspace_root": root, "target_directory": "/w/target"})).expect("metadata")
    }

    fn names(packages: Result<Vec<&Package>, Failure>) -> Vec<&str> {
        packages.expect("there are some").into_iter().map(|package| &*package.name).collect()
    }

    #[test]
    fn a_workspace_without_the_folder_has_all_functions_and_no_producer() {
        let metadata = metadata("/w");
        assert_eq!(names(selected(&metadata, &[])), ["orders", "beater", "tool"]);
        assert_eq!(names(selected(&metadata, &["tool".into()])), ["tool"]);
        assert!(
            matches!(selected(&metadata, &["x".into()]), Err(Failure::Message(text)) if text.contains("these packages do: orders, beater, tool"))
        );
    }

    #[test]
    fn a_package_says_its_queue_its_timeout_and_its_environment() {
        let metadata = metadata("/w");
        let orders: Vec<_> = metadata.packages[0].functions().collect();
        let environment = [("A".to_owned(), "1".to_owned())].into();
        let (name, queue) = ("orders".to_owned(), Some("orders.fifo".to_owned()));
        assert_eq!(
            orders,
            [Function {
                name: name.clone(),
                program: name,
                queue,
                priorities: vec![Priority::High],
                timeout_s: 60,
                environment,
                example: None
            }]
        );
        let beater = metadata.packages[1].functions().next().expect("a function");
        assert_eq!(beater.queue, None);
        assert_eq!(beater.timeout_s, TICK_S);
    }

    #[test]
    fn an_unknown_key_of_a_package_is_refused() {
        let own = json!({"metadata": {"sqjobs": {"queus": ["urgent"]}}});
        let package = package("orders", "functions", &json!({"name": "sqjobs", "kind": null}), &own);
        let refused = serde_json::from_value::<Package>(package).err().expect("a refusal").to_string();
        assert!(
            refused.contains("[package.metadata.sqjobs]") && refused.contains("unknown field `queus`, expected one of `queue`"),
            "{refused}"
        );
    }

    #[test]
    fn each_queue_of_a_package_has_a_function_and_no_two_packages_share_one() {
        let sqjobs = json!({"name": "sqjobs", "kind": null});
        let own = |own: Value| json!({"metadata": {"sqjobs": own}});
        let package =
            |name, settings| -> Package { serde_json::from_value(package(name, "functions", &sqjobs, &own(settings))).expect("a package") };
        let orders = package("orders", json!({"queues": ["orders", "urgent.fifo"], "example": {"name": "order", "args": {"pieces": 1}}}));
        let found = functions(&[&orders]).expect("functions");
        let names: Vec<_> = found.iter().map(|one| (&*one.name, &*one.program, one.queue.as_deref())).collect();
        assert_eq!(names, [("orders", "orders", Some("orders")), ("urgent", "orders", Some("urgent.fifo"))]);
        let other = package("other", json!({"queue": "orders"}));
        let refused = functions(&[&orders, &other]);
        assert!(
            matches!(&refused, Err(Failure::Message(text)) if text.starts_with("packages orders and other both have queue orders; ")),
            "{refused:?}"
        );
    }
}
