//! Apache Kafka that dies, comes back, or comes late. It is the test's own, started by `tests/kafka/run`.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use crate::cluster::{Cluster, unique};
use crate::process::{Process, send_signal};
use crate::programs::{Shades, worker};

/// A broker with a port and data of its own.
struct Broker {
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
    fn new() -> Self {
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

    fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn start(&mut self) {
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
    fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            send_signal("KILL", running.java);
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

/// The worker is in its group all the time, and so its counts are those of an undisturbed one.
pub(crate) fn a_worker_survives_its_broker(_: &Cluster) {
    let mut broker = Broker::new();
    broker.start();
    let cluster = Cluster::kafka(&broker.bootstrap());
    let mut program = Shades::new(&cluster);
    let mut worker = loses_its_broker(&cluster, &mut broker, &mut program, "60s");
    assert!(
        !worker.err().iter().any(|line| line.contains(": lost")),
        "{}",
        worker.transcript()
    );
    program.assert_exact();
    worker.signal("TERM");
    assert_eq!(worker.code(), 0, "{}", worker.transcript());
}

/// The outage is longer than the session, so what was not committed is processed again.
pub(crate) fn a_worker_that_lost_its_group_loses_no_record(_: &Cluster) {
    let mut broker = Broker::new();
    broker.start();
    let cluster = Cluster::kafka(&broker.bootstrap());
    let mut program = Shades::new(&cluster);
    let mut worker = loses_its_broker(&cluster, &mut broker, &mut program, "2s");
    assert!(
        worker.err().iter().any(|line| line.contains(": lost")),
        "{}",
        worker.transcript()
    );
    program.assert_nothing_lost();
    worker.signal("TERM");
    assert_eq!(worker.code(), 0, "{}", worker.transcript());
}

/// A worker whose broker dies twice at work and comes back.
fn loses_its_broker(
    cluster: &Cluster,
    broker: &mut Broker,
    program: &mut Shades<'_>,
    session_timeout: &str,
) -> Process {
    let mut command = program.command();
    command
        .args(["--quiet", "--log", "info", "--broker", &cluster.address()])
        .args([
            "--session-timeout",
            session_timeout,
            "--heartbeat-interval",
            "500ms",
        ])
        .args(["--commit-interval", "200ms"]);
    let mut worker = Process::start("worker", &mut command);
    program.wait_for_all_tasks(&mut worker);
    program.send(20_000);
    worker.wait_for("some counts", |worker| (worker.out().len() > 200).then_some(()));
    let heard = |worker: &Process, text: &str| worker.err().iter().filter(|line| line.contains(text)).count();
    for time in 1..=2 {
        broker.kill();
        let more = program.more(4_000);
        std::thread::scope(|scope| {
            // Others produce as well, and wait as the worker does.
            let sender = scope.spawn(|| cluster.send_to("shades", 4, more));
            worker.wait_for(&format!("outage {time} is noticed"), |worker| {
                (heard(worker, "work waits, and goes on by itself") >= time).then_some(())
            });
            broker.start();
            sender.join().expect("the sender does not panic");
        });
        program.wait_until_done();
        assert!(
            heard(&worker, "can be reached again") >= time,
            "{}",
            worker.transcript()
        );
    }
    worker
}

pub(crate) fn a_worker_waits_for_its_broker(_: &Cluster) {
    let mut broker = Broker::new();
    let cluster = Cluster::kafka(&broker.bootstrap());
    let command = crate::programs::shades(&unique("shades"));
    let mut early = worker("early worker", command, &cluster.address(), &[]);
    early.wait_for_log("waiting for the broker");
    broker.start();
    early.wait_for_log("waiting for topic");
    let mut program = Shades::new(&cluster);
    program.wait_for_all_tasks(&mut early);
    program.send(100);
    early.wait_for("its counts", |worker| (!worker.out().is_empty()).then_some(()));
    early.signal("TERM");
    assert_eq!(early.code(), 0, "{}", early.transcript());
}
