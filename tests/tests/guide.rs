//! Holds the documents to each other and to the code: their links, the tests and the fields that they name, and the length of the
//! README. The tests of the crate `sqjobs-cli` hold them to the command, and doc tests compile their Rust code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The most lines of the README: it is a page, and the guide has the rest.
const README_LINES: usize = 150;

#[test]
fn the_readme_is_one_page() {
    let lines = read("README.md").lines().count();
    assert!(lines <= README_LINES, "README.md has {lines} lines; it may have {README_LINES}: move details to the guide");
}

#[test]
fn every_link_of_the_documents_resolves() {
    let (mut count, mut broken) = (0, Vec::new());
    for document in documents() {
        let text = fs::read_to_string(&document).expect("the document can be read");
        for link in links(&text).into_iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            count += 1;
            if let Err(why) = resolve(&document, &link) {
                broken.push(format!("{}: {link}: {why}", document.strip_prefix(ROOT).unwrap_or(&document).display()));
            }
        }
    }
    assert!(count > 100, "only {count} links were found");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_table_of_contents_lists_every_page() {
    let listed: BTreeSet<_> = links(&read("docs/README.md")).into_iter().collect();
    let pages: BTreeSet<_> = guide().into_keys().filter(|page| page != "README.md").collect();
    let missing: Vec<_> = pages.difference(&listed).collect();
    assert!(missing.is_empty(), "docs/README.md does not list {missing:?}");
}

#[test]
fn every_test_that_the_documents_name_exists() {
    let there = tests();
    let mut named = 0;
    for (page, text) in guide().into_iter().chain([("../README.md".to_owned(), read("README.md"))]) {
        for name in text.lines().filter(|line| line.starts_with('|')).flat_map(test_names) {
            named += 1;
            assert!(there.contains(name), "docs/{page} names {name}, which is no test");
        }
    }
    assert!(named > 100, "only {named} tests are named");
}

#[test]
fn every_block_of_rust_code_is_compiled() {
    let library = read("shared/src/lib.rs");
    for (page, text) in guide() {
        let blocks: Vec<_> = text.lines().filter(|line| line.starts_with("```rust")).collect();
        let is_included = library.contains(&format!("include_str!(\"../../docs/{page}\")"));
        assert_eq!(is_included, !blocks.is_empty(), "shared/src/lib.rs includes the pages that have Rust code; look at docs/{page}");
        assert!(!blocks.iter().any(|block| block.contains("ignore")), "docs/{page} has Rust code that is ignored");
    }
}

#[test]
fn every_block_of_shell_python_and_json_can_be_parsed() {
    let mut count = 0;
    for (page, text) in guide().into_iter().chain([("../README.md".to_owned(), read("README.md"))]) {
        for (language, code) in blocks(&text) {
            let mut check = match &*language {
                "sh" => command("bash", &["-n", "-c", &code]),
                "python" => command("python3", &["-c", "import ast, sys; ast.parse(sys.argv[1])", &code]),
                "json" => {
                    serde_json::from_str::<Value>(&code).unwrap_or_else(|error| panic!("docs/{page}: {error}\n{code}"));
                    continue;
                }
                language => {
                    assert!(["text", "toml", "hcl"].contains(&language) || language.starts_with("rust"), "docs/{page}: {language:?}");
                    continue;
                }
            };
            count += 1;
            let output = check.output().expect("the interpreter starts");
            assert!(output.status.success(), "docs/{page}:\n{code}\n{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    assert!(count > 20, "only {count} blocks were found");
}

#[test]
fn every_example_is_named_in_the_guide() {
    let named: BTreeSet<_> = guide().into_values().flat_map(|text| links(&text)).collect();
    let examples = fs::read_dir(Path::new(ROOT).join("shared/examples")).expect("there are examples");
    for example in examples {
        let name = example.expect("an example").file_name().into_string().expect("a name");
        assert!(named.contains(&format!("../shared/examples/{name}")), "no page of the guide names {name}");
    }
}

#[test]
fn the_guide_describes_each_attribute_of_a_record() {
    let code = read("shared/src/record.rs");
    let (_, fields) = code.split_once("pub struct Record {").expect("there is a record");
    let (fields, _) = fields.split_once("\n}").expect("it ends");
    let fields = fields.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next());
    assert_eq!(rows(&read("docs/record.md")), fields.map(str::to_owned).collect());
}

#[test]
fn the_guide_describes_each_field_of_the_envelope() {
    let schema: Value = serde_json::from_str(&read("shared/envelope.schema.json")).expect("a schema");
    let fields: BTreeSet<_> = schema["properties"].as_object().expect("properties").keys().cloned().collect();
    let page = read("docs/envelope.md");
    let (fields_of_page, _) = page.split_once("## Attributes of a message").expect("a chapter about attributes");
    assert_eq!(rows(fields_of_page), fields);
}

#[test]
fn the_guide_describes_each_variable() {
    let code = read("shared/src/config.rs");
    let read_by_code =
        code.split('"').filter(|text| text.starts_with("SQJOBS_") && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'));
    // It is of the tests' feature `test-clock`.
    let read_by_code: BTreeSet<_> = read_by_code.filter(|name| *name != "SQJOBS_CLOCK_AHEAD_S").map(str::to_owned).collect();
    let described: BTreeSet<_> = rows(&read("docs/settings.md")).into_iter().filter(|name| name.starts_with("SQJOBS_")).collect();
    assert_eq!(described, read_by_code);
}

#[test]
fn the_guide_describes_each_metric() {
    let code: String = ["batch", "mod", "tick"].map(|file| read(&format!("shared/src/metrics/{file}.rs"))).concat();
    let is_metric = |text: &&str| {
        text.bytes().all(|byte| byte.is_ascii_alphabetic())
            && text.starts_with(|char: char| char.is_ascii_uppercase())
            && *text != "Metrics"
    };
    let written: BTreeSet<_> = code.split('"').filter(is_metric).map(str::to_owned).collect();
    assert!(written.len() > 20, "{written:?}");
    let described: BTreeSet<_> = rows(&read("docs/metrics.md")).into_iter().filter(|name| is_metric(&&**name)).collect();
    assert_eq!(described, written);
}

#[test]
fn the_guide_describes_each_rule_of_the_doctor() {
    let rules = fs::read_dir(Path::new(ROOT).join("cli/src/command/doctor/rules")).expect("there are rules");
    let code: String = rules.map(|file| fs::read_to_string(file.expect("a file").path()).expect("a file")).collect();
    let added = code.split(".add(").skip(1).filter_map(|call| call.trim_start().strip_prefix('"')?.split('"').next());
    // Two rules are chosen by the kind of a message.
    let rules: BTreeSet<_> = added.chain(["parked", "contract_old"]).map(str::to_owned).collect();
    let page = read("docs/operating.md");
    let (_, rest) = page.split_once("## How to read `doctor`").expect("a chapter about the doctor");
    let described = rest.split("\n## ").next().unwrap_or_default();
    assert_eq!(rows(described), rules);
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The pages of the guide, by the names of their files.
fn guide() -> BTreeMap<String, String> {
    let pages = fs::read_dir(Path::new(ROOT).join("docs")).expect("there is a guide").map(|page| page.expect("a page").path());
    let pages = pages.filter(|page| page.extension().is_some_and(|end| end == "md"));
    pages
        .map(|page| (page.file_name().expect("a name").to_string_lossy().into_owned(), fs::read_to_string(&page).expect("a page")))
        .collect()
}

/// Every Markdown file of the repository.
fn documents() -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![Path::new(ROOT).to_path_buf()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if path.is_dir() && !name.starts_with('.') && !["target", "node_modules"].contains(&&*name) {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                found.push(path);
            }
        }
    }
    found
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// The text outside of blocks of code.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The blocks of code, each with its language.
fn blocks(text: &str) -> Vec<(String, String)> {
    let (mut blocks, mut open) = (Vec::new(), None::<(String, String)>);
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((language.to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, code))) => code.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    blocks
}

/// The targets of the links of a document.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    // What looks like a link in a span of code is none.
    let outside: String = prose.split('`').step_by(2).collect::<Vec<_>>().join("");
    let targets = outside.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(str::to_owned).collect()
}

/// Checks that there is what a link of a document names.
fn resolve(document: &Path, link: &str) -> Result<(), String> {
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let target = if path.is_empty() { document.to_path_buf() } else { document.parent().expect("a folder").join(path) };
    if !target.exists() {
        return Err("there is no such file".into());
    }
    let Some(anchor) = anchor else { return Ok(()) };
    let text = fs::read_to_string(&target).map_err(|error| error.to_string())?;
    if anchors(&text).contains(anchor) { Ok(()) } else { Err("there is no such heading".into()) }
}

/// The anchors of the headings of a document, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let prose = prose(text);
    let headings = prose.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let slugs = headings.map(|heading| {
        let kept =
            heading.to_lowercase().chars().filter(|char| char.is_alphanumeric() || [' ', '-', '_'].contains(char)).collect::<String>();
        let slug = kept.replace(' ', "-");
        let count = seen.entry(slug.clone()).and_modify(|count| *count += 1).or_insert(0);
        if *count == 0 { slug } else { format!("{slug}-{count}") }
    });
    slugs.collect()
}

/// The names in the first cells of the tables of a page.
fn rows(page: &str) -> BTreeSet<String> {
    let cells = page.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The tests that a line of a table names, such as `module::test`.
fn test_names(line: &str) -> impl Iterator<Item = &str> {
    let is_test = |name: &&str| {
        let is_name =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        name.split_once("::").is_some_and(|(module, test)| is_name(module) && is_name(test) && test.contains('_'))
    };
    line.split('`').skip(1).step_by(2).filter(is_test)
}

/// Every test, by the name of its file and its own.
fn tests() -> BTreeSet<String> {
    let ours = ["beater", "client", "envelope", "lifecycle", "schedule", "worker"].map(|module| format!("shared/src/{module}/tests"));
    let others = ["cli/src/command", "cli/src/command/mcp", "cli/src/command/ui"];
    let others = others.into_iter().chain(["shared/src/beater/tests/linked", "tests/tests/guarantees", "tests/tests/guarantees/cli"]);
    let folders = ours.into_iter().chain(others.map(str::to_owned));
    let files = folders.flat_map(|folder| fs::read_dir(Path::new(ROOT).join(folder)).into_iter().flatten().flatten());
    files.flat_map(|file| tests_of(&file.path())).collect()
}

fn tests_of(file: &Path) -> Vec<String> {
    let module = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let code = fs::read_to_string(file).unwrap_or_default();
    let functions = code.lines().filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("fn "));
    functions.filter_map(|function| Some(format!("{module}::{}", function.split_once('(')?.0))).collect()
}
