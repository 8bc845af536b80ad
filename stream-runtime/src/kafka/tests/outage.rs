//! A broker that goes away and comes back. It is the test's own, started by `tests/kafka/run`.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Kept, SOON, Setting, at, bootstrap, offset, send, until, wake};
use crate::kafka::{CommitOutcome, Rebalance, StartOffset};

/// A broker of one's own, with its data.
pub(super) struct Broker {
    data: PathBuf,
    pub(super) port: u16,
    script: Child,
    process: u32,
}

impl Broker {
    pub(super) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let data = std::env::temp_dir().join(format!("stream-outage-{}-{port}", std::process::id()));
        let (script, process) = Self::run(&data, port);
        Self {
            data,
            port,
            script,
            process,
        }
    }

    /// The script, and the process id of the broker that it tells.
    fn run(data: &Path, port: u16) -> (Child, u32) {
        use std::io::{BufRead as _, BufReader};
        let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/kafka/run");
        let mut script = Command::new(run)
            .args(["--port", &port.to_string(), "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("tests/kafka/run starts");
        let output = script.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("it is text");
        let process = line
            .rsplit_once("(process ")
            .and_then(|(_, rest)| rest.trim_end().trim_end_matches(')').parse().ok());
        (
            script,
            process.unwrap_or_else(|| panic!("no process id in {line:?}")),
        )
    }

    pub(super) fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([signal, &self.process.to_string()])
            .status();
        assert!(status.expect("kill runs").success());
    }

    /// As power loss would.
    pub(super) fn kill(&mut self) {
        self.signal("-KILL");
        self.script.wait().expect("the script ends with it");
    }

    pub(super) fn restart(&mut self) {
        (self.script, self.process) = Self::run(&self.data, self.port);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .args(["-KILL", &self.process.to_string()])
            .status();
        let _ = self.script.wait();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

#[test]
fn nothing_is_lost_or_doubled_while_the_broker_is_away() {
    // Only asked for whether there is Kafka at all.
    if bootstrap().is_none() {
        return;
    }
    let mut broker = Broker::start();
    let setting = Setting::at(&format!("127.0.0.1:{}", broker.port), "outage");
    let topic = setting.topic("log", 1, &[]);
    let mut producer = setting.cluster.producer(wake()).expect("a producer");
    let mut consumer = setting.cluster.group_consumer("0", wake()).expect("a consumer");
    consumer
        .subscribe(std::slice::from_ref(&topic))
        .expect("it subscribes");
    let mut sink = Kept::default();
    until("the consumer has its partition", || {
        consumer.poll(&mut sink, 100).expect("no error");
        match consumer.rebalance() {
            Some(Rebalance::Assign(places)) => {
                let places = places
                    .into_iter()
                    .map(|at| (at, StartOffset::Committed))
                    .collect::<Vec<_>>();
                consumer.assign(&places).expect("it is taken on");
                true
            }
            _ => false,
        }
    });

    let mut sent = 0;
    let mut send_some = |count: i32| {
        for _ in 0..count {
            send(&mut *producer, &topic, 0, &sent.to_string());
            sent += 1;
        }
        producer.poll();
        sent
    };
    send_some(1000);
    until("it flows", || {
        consumer.poll(&mut sink, 1000).expect("no error");
        sink.count() > 500
    });

    // Hangs, with records on the wire.
    send_some(500);
    broker.signal("-STOP");
    send_some(500);
    std::thread::sleep(Duration::from_secs(2));
    broker.signal("-CONT");
    send_some(500);

    // Dies, with records on the wire.
    broker.kill();
    send_some(500);
    consumer
        .commit(&[offset(at(&topic, 0), 700, "while away")])
        .expect("it starts");
    std::thread::sleep(Duration::from_secs(2));
    consumer
        .poll(&mut sink, 1000)
        .expect("a broker that is away is no error");
    broker.restart();
    let total = send_some(500);

    let end = Instant::now() + Duration::from_secs(60);
    let mut outcome = None;
    while sink.count() < total as usize || outcome.is_none() {
        assert!(
            Instant::now() < end,
            "{} of {total} arrived, commit {outcome:?}",
            sink.count()
        );
        producer.poll();
        consumer.poll(&mut sink, 1000).expect("no error");
        // A rebalance may take the partition and give it again; the position is then the committed one.
        match consumer.rebalance() {
            Some(Rebalance::Assign(places)) => {
                let next = sink.of(&topic, 0).last().map_or(0, |(offset, _)| offset + 1);
                let places = places
                    .into_iter()
                    .map(|at| (at, StartOffset::At(next)))
                    .collect::<Vec<_>>();
                consumer.assign(&places).expect("it is taken on");
            }
            Some(Rebalance::Revoke(places) | Rebalance::Lost(places)) => {
                consumer.unassign(&places).expect("it is given up");
            }
            None => {}
        }
        outcome = outcome.or_else(|| consumer.commit_outcome());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(producer.flush(SOON));
    assert_eq!(producer.take_failure(), None);
    let expected = (0..total).map(|number| number.to_string()).collect::<Vec<_>>();
    assert!(sink.values(&topic, 0) == expected, "in order, once each");
    assert!(!matches!(outcome, Some(CommitOutcome::Failed(_))), "{outcome:?}");

    // Closing does not wait for a broker that is gone.
    broker.kill();
    let start = Instant::now();
    consumer.close(Duration::from_secs(3));
    drop(producer);
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
}
