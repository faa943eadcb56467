//! The process of a subject, started with a clean environment and measured from outside.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use nix::{time::ClockId, unistd::Pid};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};

/// A running process. It is killed on drop.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pid: i32,
    pub(crate) started: Instant,
}

impl Process {
    /// Starts `program` with only these variables, and within `share` if one is given.
    pub(crate) fn start<'a>(
        program: &Path,
        arguments: &[String],
        variables: impl IntoIterator<Item = (&'a str, String)>,
        share: Option<&Share>,
    ) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(variables).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        let pid = child.id().and_then(|pid| pid.try_into().ok()).expect("it has just started");
        if let Some(share) = share {
            share.admit(pid);
        }
        // Read its output, as Lambda does; otherwise the process blocks when the pipe is full.
        tokio::spawn(drain(child.stdout.take()));
        tokio::spawn(drain(child.stderr.take()));
        Self { child, pid, started }
    }

    /// Returns the CPU time of all its threads so far, including ended ones.
    pub(crate) fn cpu(&self) -> Duration {
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(self.pid)).expect("the process is alive");
        Duration::from(clock.now().expect("a clock can be read"))
    }

    /// Returns its peak memory in bytes.
    pub(crate) fn peak_rss(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() * 1024
    }

    /// Waits until the process exits. Returns its CPU time.
    pub(crate) async fn ended(mut self) -> Duration {
        let mut cpu = self.cpu();
        loop {
            // The CPU time is gone after the exit, so the last reading before it counts.
            if self.child.try_wait().expect("a child can be asked").is_some() {
                return cpu;
            }
            cpu = self.cpu().max(cpu);
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }
}

async fn drain(output: Option<impl AsyncRead + Unpin>) {
    let Some(mut output) = output else { return };
    let mut buffer = vec![0; 1 << 16];
    while output.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// A share of one CPU, enforced by a control group.
#[derive(Debug)]
pub(crate) struct Share(PathBuf);

/// The period of the CPU quota; Lambda is said to use the same.
const PERIOD_US: u64 = 20_000;

impl Share {
    /// Creates a share of 1/`part` of a CPU. Returns `None` if control groups are not available to this user.
    pub(crate) fn of(part: u64) -> Option<Self> {
        let (name, quota) = (format!("sqjobs-benches-{}", std::process::id()), PERIOD_US / part);
        let old = Path::new("/sys/fs/cgroup/cpu");
        let (folder, files) = if old.is_dir() {
            (old.join(name), vec![("cpu.cfs_period_us", PERIOD_US.to_string()), ("cpu.cfs_quota_us", quota.to_string())])
        } else {
            (Path::new("/sys/fs/cgroup").join(name), vec![("cpu.max", format!("{quota} {PERIOD_US}"))])
        };
        fs::create_dir(&folder).ok()?;
        let share = Self(folder);
        files.into_iter().all(|(file, value)| fs::write(share.0.join(file), value).is_ok()).then_some(share)
    }

    fn admit(&self, pid: i32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("a process can be put into a group of its own user");
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        fs::remove_dir(&self.0).ok();
    }
}
