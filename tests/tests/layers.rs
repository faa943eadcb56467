//! Checks that the imports of each crate follow the layers in `ARCHITECTURE.md`, and that functions do not include HTTP/2.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use syn::{Attribute, File, Item, Meta, UseTree, visit::Visit};

/// Path of a module in its crate; the root has an empty path.
type Module = Vec<String>;

/// Definitions, imports and used paths of one file.
#[derive(Default)]
struct Source {
    defines: BTreeSet<String>,
    /// Paths of imported or re-exported names.
    imports: HashMap<String, Vec<String>>,
    /// Paths that the file uses, or imports privately.
    names: Vec<Vec<String>>,
}

impl Source {
    fn read(file: &File) -> Self {
        let mut source = Self::default();
        for item in file.items.iter().filter(|item| !is_test(attributes(item))) {
            match item {
                Item::Use(used) => {
                    let is_private = matches!(used.vis, syn::Visibility::Inherited);
                    for (name, path) in paths(&used.tree, &[]) {
                        if is_private {
                            source.names.push(path.clone());
                        }
                        source.imports.insert(name, path);
                    }
                }
                item => {
                    source.defines.extend(name(item));
                    source.visit_item(item);
                }
            }
        }
        source
    }
}

impl<'ast> Visit<'ast> for Source {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.names.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        syn::visit::visit_path(self, path);
    }

    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    /// Finds paths in the tokens of a macro, which have no syntax tree.
    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.visit_path(&called.path);
        let text = called.tokens.to_string().replace(" :: ", "::");
        let words = text.split(|char: char| !(char.is_alphanumeric() || char == '_' || char == ':'));
        self.names.extend(words.filter(|word| word.contains("::")).map(|word| word.split("::").map(str::to_owned).collect()));
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Mod(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        _ => &[],
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    })
}

fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

/// Returns the names that an import defines, with their paths.
fn paths(tree: &UseTree, before: &[String]) -> Vec<(String, Vec<String>)> {
    let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
    match tree {
        UseTree::Path(path) => paths(&path.tree, &with(&path.ident)),
        UseTree::Group(group) => group.items.iter().flat_map(|tree| paths(tree, before)).collect(),
        UseTree::Name(name) if name.ident == "self" => vec![(before.last().cloned().unwrap_or_default(), before.to_vec())],
        UseTree::Name(name) => vec![(name.ident.to_string(), with(&name.ident))],
        UseTree::Rename(name) if name.ident == "self" => vec![(name.rename.to_string(), before.to_vec())],
        UseTree::Rename(name) => vec![(name.rename.to_string(), with(&name.ident))],
        UseTree::Glob(_) => vec![("*".into(), before.to_vec())],
    }
}

/// The imported modules of each module.
type Graph = BTreeMap<Module, BTreeSet<Module>>;

/// The files of a crate by module.
struct Crate(BTreeMap<Module, Source>);

impl Crate {
    fn read(root: &Path) -> Self {
        let mut files = Vec::new();
        collect(root, &mut files);
        let sources = files.into_iter().filter_map(|file| {
            let inside = file.strip_prefix(root).expect("it is inside").with_extension("");
            let mut module: Module = inside.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
            if module.iter().any(|name| name == "tests") {
                return None;
            }
            module.pop_if(|name| ["lib", "main", "mod"].contains(&&**name));
            let text = fs::read_to_string(&file).expect("it can be read");
            Some((module, Source::read(&syn::parse_file(&text).expect("it is Rust"))))
        });
        Self(sources.collect())
    }

    /// Returns the module that defines a path of another module; `None` for other crates.
    fn resolve(&self, from: &Module, path: &[String], depth: usize) -> Option<Module> {
        let source = self.0.get(from)?;
        let (first, rest) = path.split_first()?;
        let child = [&from[..], std::slice::from_ref(first)].concat();
        match &**first {
            _ if depth == 0 => None,
            "crate" => self.inside(&Vec::new(), rest, depth),
            "self" => self.inside(from, rest, depth),
            "super" => self.inside(&from[..from.len().checked_sub(1)?].to_vec(), rest, depth),
            "Self" => None,
            _ if source.imports.get(first).is_some_and(|import| import != path) => {
                let import = [&source.imports[first][..], rest].concat();
                self.resolve(from, &import, depth - 1)
            }
            _ if self.0.contains_key(&child) => self.inside(&child, rest, depth),
            _ => source.defines.contains(first).then(|| from.clone()),
        }
    }

    fn inside(&self, module: &Module, path: &[String], depth: usize) -> Option<Module> {
        match path.first().map(|first| &**first) {
            None => Some(module.clone()),
            Some("super" | "crate" | "self") => self.resolve(module, path, depth - 1),
            Some(_) => self.resolve(module, path, depth - 1).or_else(|| self.0.contains_key(module).then(|| module.clone())),
        }
    }

    /// Returns the imports of each file. A file contains its submodules, so imports from them do not count.
    fn graph(&self) -> Graph {
        let takes = |module: &Module, source: &Source| {
            let found = source.names.iter().filter_map(|path| self.resolve(module, path, 8));
            found.filter(|other| !other.starts_with(module)).collect()
        };
        self.0.iter().map(|(module, source)| (module.clone(), takes(module, source))).collect()
    }
}

/// The crates that a pure module does not import: runtimes, and AWS.
const IMPURE: [&str; 6] = ["aws_", "futures_util", "hyper", "lambda_runtime", "tokio", "tracing"];

impl Crate {
    /// Returns what the pure modules take from runtimes, AWS, the clock, and modules that are not pure. They may import the
    /// functions of `clock`, but not a `Clock`, which reads the time.
    fn impurities(&self, pure: &BTreeSet<String>) -> Vec<String> {
        let is_pure = |module: &&Module| module.first().is_some_and(|first| pure.contains(first));
        let mut found = Vec::new();
        for (module, source) in self.0.iter().filter(|(module, _)| is_pure(module)) {
            for path in source.names.iter().chain(source.imports.values()) {
                let is_foreign = path.first().is_some_and(|first| IMPURE.iter().any(|name| first.starts_with(name)));
                if is_foreign || path.iter().any(|segment| segment == "Clock") {
                    found.push(format!("{} -> {}", module.join("::"), path.join("::")));
                }
            }
        }
        for (module, others) in self.graph().iter().filter(|(module, _)| is_pure(module)) {
            let impure = others.iter().filter(|other| !is_pure(other) && other.first().is_some_and(|first| first != "clock"));
            found.extend(impure.map(|other| format!("{} -> {}", module.join("::"), other.join("::"))));
        }
        found
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it has a parent").to_path_buf()
}

/// Returns the imports that are part of a cycle.
fn circles(graph: &Graph) -> Vec<String> {
    let arrows = graph.iter().flat_map(|(from, others)| others.iter().map(move |to| (from, to)));
    let round = arrows.filter(|(from, to)| reached(graph, to).contains(*from));
    round.map(|(from, to)| format!("{} -> {}", from.join("::"), to.join("::"))).collect()
}

/// Returns the modules that a module reaches through imports.
fn reached(graph: &Graph, from: &Module) -> BTreeSet<Module> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from.clone()]);
    while let Some(module) = open.pop() {
        let others = graph.get(&module).into_iter().flatten();
        open.extend(others.filter(|other| reached.insert((*other).clone())).cloned());
    }
    reached
}

/// Returns the section of `ARCHITECTURE.md` about layers.
fn section() -> String {
    let text = fs::read_to_string(repository().join("ARCHITECTURE.md")).expect("it can be read");
    text.split("## Layers").nth(1).expect("it has the section").to_owned()
}

/// Returns the names in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// Returns the modules that `ARCHITECTURE.md` calls pure.
fn pure() -> BTreeSet<String> {
    let section = section();
    let line = section.lines().find_map(|line| line.strip_prefix("Pure modules: ")).expect("it names the pure modules");
    quoted(line.split('.').next().unwrap_or_default()).collect()
}

/// Returns the number of the layer of each module, from `ARCHITECTURE.md`.
fn layers() -> BTreeMap<String, usize> {
    let section = section();
    let list = section.lines();
    let numbered = list.filter_map(|line| line.split_once(". ").and_then(|(number, rest)| Some((number.parse().ok()?, rest))));
    let modules = numbered
        .flat_map(|(number, rest): (usize, &str)| quoted(rest.split(':').next().unwrap_or_default()).map(move |name| (name, number)));
    modules.collect()
}

#[test]
fn the_imports_of_a_crate_have_no_cycle() {
    let functions = ["functions/adder/src", "functions/import-csv/src", "functions/report/src", "functions/webhook/src"];
    for root in ["shared/src", "cli/src", "benches/src", "beater/src"].into_iter().chain(functions) {
        let sources = Crate::read(&repository().join(root));
        assert!(!sources.0.is_empty(), "{root}");
        assert_eq!(circles(&sources.graph()), [""; 0], "{root}");
    }
}

#[test]
fn the_library_imports_by_the_layers_of_the_architecture() {
    let (graph, layers) = (Crate::read(&repository().join("shared/src")).graph(), layers());
    let modules: BTreeSet<_> = graph.keys().filter_map(|module| module.first().cloned()).collect();
    assert_eq!(modules, layers.keys().cloned().collect(), "each module has a layer");
    let arrows = graph.iter().flat_map(|(from, others)| others.iter().filter_map(move |to| Some((from.first()?, to.first()?))));
    let wrong: BTreeSet<_> = arrows.filter(|(from, to)| from != to && layers[*from] <= layers[*to]).collect();
    assert_eq!(wrong, BTreeSet::new(), "imports of the same or a higher layer");
}

#[test]
fn pure_modules_import_no_runtime_no_aws_and_no_clock() {
    let (sources, pure) = (Crate::read(&repository().join("shared/src")), pure());
    assert!(pure.contains("lifecycle"), "{pure:?}");
    assert_eq!(sources.impurities(&pure), [""; 0]);
}

#[test]
fn an_import_planted_in_a_pure_module_is_found() {
    for (import, expected) in
        [("tokio::time::sleep", "lifecycle::claim -> tokio::time::sleep"), ("crate::store::Store", "lifecycle::claim -> store")]
    {
        let mut sources = Crate::read(&repository().join("shared/src"));
        let source = sources.0.get_mut(&["lifecycle", "claim"].map(str::to_owned)[..]).expect("there is such a file");
        source.names.push(import.split("::").map(str::to_owned).collect());
        assert_eq!(sources.impurities(&pure()), [expected]);
    }
}

#[test]
fn a_planted_import_is_found() {
    let plant = |graph: &mut Graph, from: &str, to: &str| {
        let module = |path: &str| path.split("::").map(str::to_owned).collect::<Module>();
        graph.entry(module(from)).or_default().insert(module(to));
    };
    let mut graph = Crate::read(&repository().join("shared/src")).graph();
    plant(&mut graph, "clock", "worker::settle");
    let circles = circles(&graph);
    assert!(circles.contains(&"clock -> worker::settle".to_owned()) && circles.len() > 5, "{circles:?}");
}

/// A dependency that turns on this feature would add HTTP/2 silently.
#[test]
fn no_function_has_http_2_among_its_dependencies() {
    for package in ["adder", "beater", "import-csv", "report", "subjects", "webhook"] {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--package", package]).current_dir(repository());
        let output = cargo.output().expect("cargo starts");
        let tree = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success() && tree.contains("hyper v"), "{package}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!tree.lines().any(|line| line.starts_with("h2 v")), "{package}: `cargo tree -p {package} -e features -i h2` says why");
    }
}
