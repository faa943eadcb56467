//! Deployed functions: a zipped bootstrap with its settings.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Seek, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, SystemTime},
};

use aws_sdk_lambda::primitives::Blob;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{
    outside,
    stack::{folder, succeed, target},
};

/// A function for deployment into a world.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    pub(crate) bootstrap: &'static str,
    pub(crate) timeout: Duration,
    pub(crate) batch_size: i32,
    pub(crate) environment: BTreeMap<&'static str, String>,
}

impl Function {
    /// Returns the probe, which acts as its arguments say.
    pub(crate) fn probe() -> Self {
        Self::new("probe")
    }

    /// Returns the adder, the smallest job of this repository.
    pub(crate) fn adder() -> Self {
        Self::new("adder")
    }

    /// Returns the job that delivers webhooks.
    pub(crate) fn webhook() -> Self {
        Self::new("webhook")
    }

    /// Returns the job that imports CSV files.
    pub(crate) fn import_csv() -> Self {
        Self::new("import-csv")
    }

    /// Returns one of the functions that make a report.
    pub(crate) fn of_report(bootstrap: &'static str) -> Self {
        Self::new(bootstrap)
    }

    /// Returns the beater.
    pub(crate) fn beater() -> Self {
        Self::new("beater")
    }

    /// Returns the program of a separate workspace.
    pub(crate) fn outside(name: &'static str) -> Self {
        Self::new(name)
    }

    /// Makes the function give up requests that were cut, like a process that died there.
    pub(crate) fn mortal(self) -> Self {
        self.env("AWS_MAX_ATTEMPTS", "1")
    }

    fn new(bootstrap: &'static str) -> Self {
        Self { bootstrap, timeout: Duration::from_secs(30), batch_size: 10, environment: BTreeMap::new() }
    }

    /// Sets the timeout of the function.
    pub(crate) fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sets the maximum number of messages in a batch.
    pub(crate) fn batch_size(self, batch_size: i32) -> Self {
        Self { batch_size, ..self }
    }

    /// Sets a variable of the function's environment.
    pub(crate) fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.insert(name, value.into());
        self
    }

    /// Returns the deployment package.
    pub(crate) fn package(&self) -> Blob {
        Blob::new(packed(self.bootstrap))
    }
}

/// Variable with a folder of packages, as `cargo lambda build` leaves them, that replace the dev-profile packages.
const PACKAGES: &str = "SQJOBS_TESTS_PACKAGES";

/// Returns the package of a bootstrap, built once in this process.
fn packed(bootstrap: &'static str) -> Vec<u8> {
    static PACKED: Mutex<BTreeMap<&str, Arc<OnceLock<Vec<u8>>>>> = Mutex::new(BTreeMap::new());
    let package = Arc::clone(PACKED.lock().unwrap_or_else(PoisonError::into_inner).entry(bootstrap).or_default());
    package.get_or_init(|| given(bootstrap).unwrap_or_else(|| pack(&program(bootstrap), bootstrap))).clone()
}

fn given(bootstrap: &str) -> Option<Vec<u8>> {
    if bootstrap.starts_with("outside") {
        return None;
    }
    let package = Path::new(&std::env::var_os(PACKAGES)?).join(bootstrap).join("bootstrap.zip");
    Some(fs::read(&package).unwrap_or_else(|e| panic!("{} has no package of {bootstrap}: {e}", package.display())))
}

/// Returns the dev-profile program. Cargo built the probe together with this test; other programs are built now.
pub(crate) fn program(bootstrap: &str) -> PathBuf {
    static HOUSE: OnceLock<()> = OnceLock::new();
    if bootstrap == "probe" {
        return PathBuf::from(env!("CARGO_BIN_EXE_probe"));
    }
    if bootstrap.starts_with("outside") {
        return outside::program(bootstrap);
    }
    HOUSE.get_or_init(build_the_house);
    target().join("debug").join(bootstrap)
}

fn build_the_house() {
    let mut cargo = Command::new(env!("CARGO"));
    // Use the same packages and features as `cargo test --workspace`, so that nothing is built twice.
    cargo.args(["build", "--quiet", "--workspace", "--bins", "--tests", "--target-dir"]).arg(target());
    house_variables(&mut cargo);
    succeed(cargo.current_dir(env!("CARGO_MANIFEST_DIR")));
}

/// Removes the variables that cargo sets for a test's own package. They would change the environment of build scripts, which
/// would then run again.
pub(crate) fn house_variables(command: &mut Command) {
    let told = std::env::vars_os().map(|(name, _)| name);
    let is_told = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|kind| name.starts_with(kind));
    for name in told.filter(|name| name.to_str().is_some_and(is_told)) {
        command.env_remove(name);
    }
}

/// Strips and zips a program. The package is cached beside the stack until the program changes, since zipping takes seconds.
fn pack(program: &Path, name: &str) -> Vec<u8> {
    let package = folder("packages").join(format!("{name}-{}.zip", version(program)));
    if let Ok(kept) = fs::read(&package) {
        return kept;
    }
    let work = tempfile::tempdir_in(folder("packages")).expect("the build folder can be written");
    let bootstrap = work.path().join("bootstrap");
    fs::copy(program, &bootstrap).expect("the program was built");
    // A failed strip is harmless: debug information only makes the package larger.
    Command::new("strip").arg(&bootstrap).status().ok();
    let unfinished = work.path().join("package.zip");
    zip(&bootstrap, File::create(&unfinished).expect("the build folder can be written"));
    let packed = fs::read(&unfinished).expect("the package was just written");
    forget_older(name);
    fs::rename(&unfinished, &package).expect("the build folder can be written");
    packed
}

/// Deletes the packages of earlier builds.
fn forget_older(name: &str) {
    let packages = fs::read_dir(folder("packages")).expect("the build folder can be read");
    for package in packages.flatten().filter(|file| file.file_name().to_string_lossy().starts_with(&format!("{name}-"))) {
        fs::remove_file(package.path()).ok();
    }
}

/// Returns the build time of the program in nanoseconds, and its size.
fn version(program: &Path) -> String {
    let metadata = fs::metadata(program).expect("the program was built");
    let modified = metadata.modified().expect("the file system knows times");
    let age = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}", age.as_nanos(), metadata.len())
}

fn zip(bootstrap: &Path, to: impl Write + Seek) {
    let options =
        SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).compression_level(Some(1)).unix_permissions(0o755);
    let mut zip = ZipWriter::new(to);
    zip.start_file("bootstrap", options).expect("the zip can be written");
    let mut program = File::open(bootstrap).expect("the program was just copied");
    std::io::copy(&mut program, &mut zip).expect("the zip can be written");
    zip.finish().expect("the zip can be written");
}
