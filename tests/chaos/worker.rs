//! A worker of the program: a process, its state directory, its way to the broker, its logs.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::held::held_in;
use crate::process::send_signal;
use crate::program;
use crate::proxy::Proxy;
use crate::settings::Guarantee;

/// How long the group waits for a worker that says nothing.
const SESSION: &str = "4s";
/// How long a worker may take to end.
const END: Duration = Duration::from_secs(90);

/// What all workers of a run have in common.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    pub(crate) scratch: PathBuf,
    pub(crate) guarantee: Guarantee,
    pub(crate) store: String,
}

/// One of the workers; whether it runs or not. Killed when dropped.
pub(crate) struct Worker {
    pub(crate) number: usize,
    pub(crate) proxy: Proxy,
    common: Common,
    starts: u32,
    child: Option<Child>,
}

impl Worker {
    pub(crate) fn new(number: usize, broker: u16, common: &Common) -> Self {
        let worker = Self {
            number,
            proxy: Proxy::before(broker),
            common: common.clone(),
            starts: 0,
            child: None,
        };
        fs::create_dir_all(worker.state()).expect("a directory can be made");
        fs::create_dir_all(common.scratch.join("logs")).expect("a directory can be made");
        worker
    }

    /// Its state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.common
            .scratch
            .join("state")
            .join(format!("worker-{}", self.number))
    }

    fn file(&self, kind: &str) -> PathBuf {
        let name = format!("worker-{}-start-{}.{kind}", self.number, self.starts);
        self.common.scratch.join("logs").join(name)
    }

    /// Starts it; to end at a crash point (`point@passes`) if there is one.
    pub(crate) fn start(&mut self, crash: Option<&str>) {
        assert!(self.child.is_none(), "worker {} runs", self.number);
        self.starts += 1;
        let mut command = program::command();
        command
            .args(["worker", "--quiet", "--log", "info", "--commit-interval", "200ms"])
            .args(["--session-timeout", SESSION, "--heartbeat-interval", "400ms"])
            .args(["--shutdown-timeout", "20s", "--stuck-after", "15s"])
            .args(["--store", &self.common.store])
            .args(["--broker", &format!("kafka://{}", self.proxy.bootstrap())])
            // Away for as long as the fault lasts, not for as long as the client thinks wise.
            .args(["--set", "reconnect.backoff.max.ms=500"])
            .arg("--datadir")
            .arg(self.state());
        if self.common.guarantee == Guarantee::ExactlyOnce {
            command.args(["--processing-guarantee", "exactly_once"]);
            // Others wait for the open one of a worker that is dead.
            command.args(["--transaction-timeout", "5s"]);
        }
        if let Some(crash) = crash {
            command.env("STREAM_TEST_CRASH", crash);
        }
        let log = |kind: &str| File::create(self.file(kind)).expect("a log can be written");
        command.stdin(Stdio::null()).stdout(log("out")).stderr(log("err"));
        self.child = Some(command.spawn().expect("a worker starts"));
    }

    /// Whether it was started and not ended since, as far as is known.
    pub(crate) fn is_started(&self) -> bool {
        self.child.is_some()
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("only a worker that runs is asked")
    }

    /// How it ended, if it has.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().expect("it is a child")?;
        self.child = None;
        Some(status)
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let child = self.child();
        child.kill().expect("a child that was not waited for");
        child.wait().expect("it is a child");
        self.child = None;
    }

    pub(crate) fn freeze(&mut self) {
        send_signal("STOP", self.child().id());
    }

    pub(crate) fn wake(&mut self) {
        send_signal("CONT", self.child().id());
    }

    /// Asks it to stop.
    pub(crate) fn ask(&mut self) {
        send_signal("TERM", self.child().id());
    }

    /// Waits for its end in order.
    pub(crate) fn stopped(&mut self) {
        let status = self.end();
        // One that was asked before it could listen has not begun anything, nor said anything.
        let unheard =
            status.signal() == Some(15) && fs::metadata(self.file("err")).is_ok_and(|said| said.len() == 0);
        assert!(status.success() || unheard, "{}", self.failed(status));
    }

    /// Waits for its end, whatever it is.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.has_ended() {
                return status;
            }
            assert!(
                start.elapsed() < END,
                "worker {} does not end within {END:?}: {}",
                self.number,
                self.file("err").display()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Of an end that should not have been.
    pub(crate) fn failed(&self, status: ExitStatus) -> String {
        let log = self.log();
        let tail = &log[log.len().saturating_sub(12)..];
        format!(
            "worker {} ended with {status}; the end of {}:\n  {}",
            self.number,
            self.file("err").display(),
            tail.join("\n  ")
        )
    }

    /// The lines of its log since it was started.
    pub(crate) fn log(&self) -> Vec<String> {
        lines(&self.file("err"))
    }

    /// What it wrote to standard output since it was started.
    pub(crate) fn out(&self) -> Vec<String> {
        lines(&self.file("out"))
    }

    /// How many tasks it holds, as its log tells.
    pub(crate) fn tasks(&self) -> usize {
        if !self.is_started() {
            return 0;
        }
        held_in(&self.log())
            .values()
            .map(std::collections::BTreeSet::len)
            .sum()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.is_started() {
            self.kill();
        }
    }
}

/// Whether a process was ended by a signal that nobody here sent it at that moment: a crash point.
pub(crate) fn crashed(status: ExitStatus) -> bool {
    matches!(status.signal(), Some(6 | 9))
}

fn lines(file: &Path) -> Vec<String> {
    let bytes = fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .lines()
        .map(str::to_owned)
        .collect()
}
