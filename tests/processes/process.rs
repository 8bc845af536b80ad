//! A process under test: its output as it comes, signals, its end.

#[path = "../support/example.rs"]
mod example;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long anything may take before a case fails. Nothing is proven by it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// A running process, killed when dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    out: Arc<Mutex<Vec<String>>>,
    err: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts a command without standard input.
    pub(crate) fn start(name: impl Into<String>, command: &mut Command) -> Self {
        Self::start_with_input(name, command, None)
    }

    /// Starts a command that reads `input`.
    pub(crate) fn start_with_input(
        name: impl Into<String>,
        command: &mut Command,
        input: Option<&str>,
    ) -> Self {
        let name = name.into();
        let stdin = if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            // A process that does not care for its input may close it.
            let _ = stdin.write_all(input.as_bytes());
        }
        let (out, err) = (Arc::default(), Arc::default());
        let readers = vec![
            collect(child.stdout.take().expect("it is piped"), &out),
            collect(child.stderr.take().expect("it is piped"), &err),
        ];
        Self {
            name,
            child,
            out,
            err,
            readers,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The lines of standard output so far.
    pub(crate) fn out(&self) -> Vec<String> {
        self.out.lock().expect("lines are only pushed under it").clone()
    }

    /// The lines of standard error so far.
    pub(crate) fn err(&self) -> Vec<String> {
        self.err.lock().expect("lines are only pushed under it").clone()
    }

    /// Waits for something in the lines of both outputs.
    #[track_caller]
    pub(crate) fn wait_for<T>(&mut self, what: &str, mut find: impl FnMut(&Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = find(self) {
                return found;
            }
            let ended = self.child.try_wait().expect("it is a child");
            if ended.is_some() {
                self.read_to_end();
                if let Some(found) = find(self) {
                    return found;
                }
            }
            assert!(
                ended.is_none() && start.elapsed() < DEADLINE,
                "{what}: not before its end ({ended:?}) and not within {DEADLINE:?}\n{}",
                self.transcript()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a line on standard error that contains `text`, and gives it.
    #[track_caller]
    pub(crate) fn wait_for_log(&mut self, text: &str) -> String {
        self.wait_for(&format!("a line with `{text}` on standard error"), |process| {
            process.err().into_iter().find(|line| line.contains(text))
        })
    }

    /// Sends a signal, by its name without `SIG`.
    pub(crate) fn signal(&self, signal: &str) {
        send_signal(signal, self.pid());
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child that was not waited for");
        self.child.wait().expect("it is a child");
    }

    /// Waits for its end and gives its exit code.
    pub(crate) fn code(&mut self) -> i32 {
        let status = self.end(|| {});
        status
            .code()
            .unwrap_or_else(|| panic!("{} ended by a signal: {status}\n{}", self.name, self.transcript()))
    }

    /// Waits for its end, whatever it is.
    pub(crate) fn wait_for_end(&mut self) {
        self.end(|| {});
    }

    /// Waits until it was killed, doing something meanwhile.
    #[track_caller]
    pub(crate) fn wait_for_kill(&mut self, meanwhile: impl FnMut()) {
        let status = self.end(meanwhile);
        assert!(
            status.code().is_none(),
            "it ended by itself: {status}\n{}",
            self.transcript()
        );
    }

    fn end(&mut self, mut meanwhile: impl FnMut()) -> ExitStatus {
        let start = Instant::now();
        loop {
            meanwhile();
            if let Some(status) = self.child.try_wait().expect("it is a child") {
                self.read_to_end();
                return status;
            }
            assert!(
                start.elapsed() < DEADLINE,
                "{} does not end within {DEADLINE:?}\n{}",
                self.name,
                self.transcript()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn read_to_end(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().expect("readers do not panic");
        }
    }

    /// What it wrote, for a failure.
    pub(crate) fn transcript(&self) -> String {
        let tail = |lines: &[String]| {
            let first = lines.len().saturating_sub(60);
            lines[first..].join("\n")
        };
        format!(
            "--- {} (process {}), standard output ({} lines):\n{}\n--- standard error:\n{}\n---",
            self.name,
            self.pid(),
            self.out().len(),
            tail(&self.out()),
            tail(&self.err())
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.transcript());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process that was started here.
pub(crate) fn send_signal(signal: &str, pid: u32) {
    // The shell's own `kill`: not every machine has the command.
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{signal} {pid}")])
        .status()
        .expect("there is a shell");
    assert!(sent.success(), "SIG{signal} to process {pid}");
}

fn collect(output: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { break };
            lines.lock().expect("lines are only pushed under it").push(line);
        }
    })
}

/// What a command that ran to its end left.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Output {
    /// Panics with everything unless the command ended with 0.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command, input: Option<&str>) -> Output {
    let mut process = Process::start_with_input(format!("{command:?}"), command, input);
    let code = process.code();
    let text = |lines: Vec<String>| lines.iter().map(|line| format!("{line}\n")).collect();
    Output {
        code,
        out: text(process.out()),
        err: text(process.err()),
    }
}

/// A command without the settings and variables of whoever runs the tests, in an empty working directory.
pub(crate) fn clean(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STREAM_") {
            command.env_remove(name);
        }
    }
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command
}

/// The example `colors`.
pub(crate) fn colors() -> Command {
    clean(example::colors())
}

/// Whether a command can be run.
pub(crate) fn is_installed(command: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(command).is_file())
}

/// Tries until there is something, or panics with `what` at the deadline.
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
