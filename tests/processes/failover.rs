//! Several workers, and what becomes of the tasks of one that goes.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::cluster::Cluster;
use crate::process::{Process, eventually};
use crate::programs::{Shades, held, tasks};

/// Two workers that share the tasks evenly.
fn two_workers(program: &Shades<'_>) -> (Process, Process) {
    let workers = (program.start("worker a"), program.start("worker b"));
    wait_until_shared(program, &workers.0, &workers.1);
    workers
}

pub(crate) fn wait_until_shared(program: &Shades<'_>, a: &Process, b: &Process) {
    let half = program.tasks() / 2;
    eventually("each worker has half of the tasks", || {
        (tasks(a) == half && tasks(b) == half).then_some(())
    });
}

pub(crate) fn two_workers_have_two_tasks_each_of_four_partitions(cluster: &Cluster) {
    let mut program = Shades::in_place(cluster);
    let (a, b) = two_workers(&program);
    program.send(400);
    program.wait_until_done();
    program.assert_exact();
    // Of what the other holds a worker processes nothing.
    for worker in [&a, &b] {
        let worked_on: BTreeSet<_> = worker
            .out()
            .iter()
            .filter_map(|line| line.rsplit_once(" on ")?.1.parse().ok())
            .collect();
        assert_eq!(held(worker)["shades"], worked_on, "{}", worker.transcript());
    }
}

pub(crate) fn another_worker_takes_over_from_a_killed_one(cluster: &Cluster) {
    takes_over(cluster, Shades::in_place(cluster));
}

pub(crate) fn another_worker_takes_over_repartitioned_counts(cluster: &Cluster) {
    takes_over(cluster, Shades::new(cluster));
}

/// Everything is committed when the worker dies, so nothing may be counted twice.
fn takes_over(cluster: &Cluster, mut program: Shades<'_>) {
    let (mut a, mut b) = two_workers(&program);
    program.send(4_000);
    program.wait_until_done();
    program.assert_exact();
    a.kill();
    let killed = Instant::now();
    program.send(3_000);
    program.wait_for_all_tasks(&mut b);
    println!(
        "     {}: taken over {:.1} s after the kill",
        cluster.bootstrap(),
        killed.elapsed().as_secs_f32()
    );
    program.wait_until_done();
    program.assert_exact();
}

pub(crate) fn nothing_is_lost_by_a_kill_at_work(cluster: &Cluster) {
    let mut program = Shades::new(cluster);
    let (mut a, mut b) = two_workers(&program);
    program.send(20_000);
    eventually("they count", || {
        (a.out().len() + b.out().len() > 200).then_some(())
    });
    a.kill();
    program.wait_for_all_tasks(&mut b);
    program.wait_until_done();
    program.assert_nothing_lost();
}

pub(crate) fn a_stopped_worker_hands_over(cluster: &Cluster) {
    let mut program = Shades::new(cluster);
    let mut a = program.start_alone("worker a");
    program.send(10_000);
    let mut b = program.start("worker b");
    wait_until_shared(&program, &a, &b);
    program.send(5_000);
    a.signal("TERM");
    assert_eq!(a.code(), 0, "{}", a.transcript());
    program.wait_for_all_tasks(&mut b);
    program.send(1_000);
    program.wait_until_done();
    program.assert_exact();
}

/// As a suspended machine: it wakes up believing that it holds its partitions.
pub(crate) fn a_frozen_worker_does_no_harm(cluster: &Cluster) {
    let mut program = Shades::new(cluster);
    let (mut a, mut b) = two_workers(&program);
    program.send(2_000);
    program.wait_until_done();
    a.signal("STOP");
    program.wait_for_all_tasks(&mut b);
    program.send(2_000);
    program.wait_until_done();
    a.signal("CONT");
    a.wait_for_log(": lost");
    wait_until_shared(&program, &a, &b);
    program.send(2_000);
    program.wait_until_done();
    program.assert_exact();
    for worker in [&mut a, &mut b] {
        worker.signal("TERM");
        assert_eq!(worker.code(), 0, "{}", worker.transcript());
    }
}
