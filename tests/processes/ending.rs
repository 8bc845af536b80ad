//! How a worker ends: in order when it is asked once, at once when it is asked twice.

use crate::cluster::Cluster;
use crate::process::Process;
use crate::programs::{Shades, shades, worker};

pub(crate) fn sigterm_commits_what_was_processed(cluster: &Cluster) {
    commits_what_was_processed(cluster, "TERM");
}

pub(crate) fn sigint_commits_what_was_processed(cluster: &Cluster) {
    commits_what_was_processed(cluster, "INT");
}

/// Three times in the middle of the work: had anything been processed and not committed, it would be counted again.
fn commits_what_was_processed(cluster: &Cluster, signal: &str) {
    let mut program = Shades::new(cluster);
    for round in 1..=3 {
        let mut worker = program.start_alone(&format!("worker {round}"));
        program.send(10_000);
        worker.wait_for("some counts", |worker| (worker.out().len() > 500).then_some(()));
        worker.signal(signal);
        assert_eq!(worker.code(), 0, "{}", worker.transcript());
    }
    let _worker = program.start("the last worker");
    program.wait_until_done();
    program.assert_exact();
}

/// A worker whose agent works on a record without end.
fn stuck_worker(cluster: &Cluster, program: &Shades<'_>) -> Process {
    let mut command = program.command();
    command.env("STREAM_SHUTDOWN_TIMEOUT", "4s");
    let mut worker = worker("stuck worker", command, &cluster.address(), &[]);
    worker.wait_for("it is stuck", |worker| {
        worker.out().contains(&"stuck".to_owned()).then_some(())
    });
    worker
}

pub(crate) fn a_stop_does_not_wait_for_a_stuck_agent(cluster: &Cluster) {
    let mut program = Shades::new(cluster);
    program.send(100);
    cluster.send("shades", ["stuck"]);
    let mut worker = stuck_worker(cluster, &program);
    worker.signal("TERM");
    assert_eq!(worker.code(), 0, "{}", worker.transcript());
    // Its record was not done, so it comes again.
    stuck_worker(cluster, &program);
}

pub(crate) fn a_second_signal_ends_at_once(cluster: &Cluster) {
    let program = Shades::new(cluster);
    cluster.send("shades", ["stuck"]);
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("TERM", "INT")] {
        let mut worker = stuck_worker(cluster, &program);
        worker.signal(first);
        worker.wait_for_log("once more stops at once");
        worker.signal(second);
        assert_eq!(worker.code(), 130, "{}", worker.transcript());
    }
}

pub(crate) fn a_signal_ends_the_wait_for_a_broker() {
    for signal in ["TERM", "INT"] {
        // Nobody listens on this port, which only root could.
        let mut worker = worker("worker", shades("nobody"), "kafka://127.0.0.1:1", &[]);
        worker.wait_for_log("waiting for the broker");
        worker.signal(signal);
        assert_eq!(worker.code(), 0, "{}", worker.transcript());
    }
}
