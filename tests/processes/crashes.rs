//! Workers that die at a place of our choice within a commit, and what the next one makes of it.

use crate::cluster::Cluster;
use crate::programs::{Shades, worker};

const EXACTLY_ONCE: [&str; 2] = ["--processing-guarantee", "exactly_once"];

/// A worker that is killed when it comes by a place for the n-th time, while records come.
fn die(program: &mut Shades<'_>, cluster: &Cluster, place: &str, more: &[&str]) {
    let mut command = program.command();
    command.env("STREAM_TEST_CRASH", place);
    let mut process = worker(&format!("dies at {place}"), command, &cluster.address(), more);
    process.wait_for_kill(|| program.send(40));
}

fn dies_everywhere(cluster: &Cluster, program: &mut Shades<'_>, places: &[&str], more: &[&str]) {
    for (round, place) in places.iter().enumerate() {
        for times in [1, 2] {
            program.send(2_000);
            die(program, cluster, &format!("{place}@{}", times + round % 2), more);
        }
    }
    program.send(1_000);
    let command = program.command();
    let mut last = worker("the last", command, &cluster.address(), more);
    program.wait_for_all_tasks(&mut last);
    program.wait_until_done();
}

/// At-least-once: outputs repeat, and a table that is fed from the input counts each record once all the same.
pub(crate) fn a_table_counts_a_record_once_wherever_its_worker_dies(cluster: &Cluster) {
    let mut program = Shades::in_place(cluster);
    let places = [
        "outputs",
        "changelog",
        "before-offsets",
        "after-offsets",
        "before-store",
        "after-store",
    ];
    dies_everywhere(cluster, &mut program, &places, &[]);
    program.assert_counted_once();
}

/// Exactly-once: every count once and in order, over a repartition topic, too.
pub(crate) fn every_count_is_put_out_once_wherever_its_worker_dies(cluster: &Cluster) {
    let mut program = Shades::new(cluster);
    let places = [
        "outputs",
        "changelog",
        "before-end-transaction",
        "after-end-transaction",
        "before-store",
        "after-store",
    ];
    dies_everywhere(cluster, &mut program, &places, &EXACTLY_ONCE);
    program.assert_exact();
}

pub(crate) fn exactly_once_survives_a_kill_at_work(cluster: &Cluster) {
    let mut program = Shades::new(cluster);
    let start = |name: &str| worker(name, program.command(), &cluster.address(), &EXACTLY_ONCE);
    let (mut a, mut b) = (start("worker a"), start("worker b"));
    crate::failover::wait_until_shared(&program, &a, &b);
    program.send(20_000);
    crate::process::eventually("they count", || {
        (a.out().len() + b.out().len() > 200).then_some(())
    });
    a.kill();
    program.wait_for_all_tasks(&mut b);
    program.wait_until_done();
    program.assert_exact();
}
