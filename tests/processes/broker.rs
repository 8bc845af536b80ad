//! Apache Kafka of a test's own, started by `tests/kafka/run`.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use crate::cluster::unique;
use crate::process::{Process, send_signal};

/// A broker with a port and data of its own.
pub(crate) struct Broker {
    port: u16,
    data: PathBuf,
    running: Option<Running>,
}

struct Running {
    script: Process,
    /// The process id of the broker itself.
    java: u32,
}

impl Broker {
    /// One that does not run yet.
    pub(crate) fn new() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("there is a free port")
            .port();
        Self {
            port,
            data: std::env::temp_dir().join(unique("stream-processes")),
            running: None,
        }
    }

    pub(crate) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn start(&mut self) {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/run"));
        command
            .args(["--port", &self.port.to_string(), "--data"])
            .arg(&self.data);
        let mut script = Process::start("tests/kafka/run", &mut command);
        let java = script.wait_for("Apache Kafka listens", |script| {
            let out = script.out();
            let (_, rest) = out.iter().find_map(|line| line.split_once("(process "))?;
            rest.trim_end_matches(')').parse().ok()
        });
        self.running = Some(Running { script, java });
    }

    /// As a failing machine would, though what was written stays.
    pub(crate) fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            send_signal("KILL", running.java);
            running.script.wait_for_end();
        }
    }

    #[allow(dead_code, reason = "not every test that includes this file does both")]
    /// In order: it tells its clients, and writes everything down.
    pub(crate) fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            send_signal("TERM", running.java);
            running.script.wait_for_end();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}
