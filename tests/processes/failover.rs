//! Several workers, and what becomes of the tasks of one that goes.

use crate::cluster::Cluster;
use crate::process::{Process, eventually};
use crate::programs::{Shades, held, tasks};

/// Two workers that share the tasks evenly.
fn two_workers(program: &Shades<'_>) -> (Process, Process) {
    let workers = (program.start("worker a"), program.start("worker b"));
    wait_until_shared(&workers.0, &workers.1);
    workers
}

fn wait_until_shared(a: &Process, b: &Process) {
    eventually("each worker has half of the tasks", || {
        (tasks(a) == Shades::TASKS / 2 && tasks(b) == Shades::TASKS / 2).then_some(())
    });
    for worker in [a, b] {
        println!("     {:?}", held(worker));
    }
}

fn wait_for_all_tasks(worker: &mut Process) {
    worker.wait_for("all tasks", |worker| {
        (tasks(worker) == Shades::TASKS).then_some(())
    });
}

pub(crate) fn another_worker_takes_over_from_a_killed_one(cluster: &Cluster) {
    let mut program = Shades::new(cluster);
    let (mut a, mut b) = two_workers(&program);
    program.send(4_000);
    program.wait_until_done();
    for worker in [&a, &b] {
        assert!(!worker.out().is_empty(), "both count: {}", worker.transcript());
    }
    a.kill();
    let killed = std::time::Instant::now();
    program.send(3_000);
    wait_for_all_tasks(&mut b);
    println!(
        "     taken over {:.1} s after the kill",
        killed.elapsed().as_secs_f32()
    );
    program.wait_until_done();
    program.assert_exact();
}

pub(crate) fn nothing_is_lost_by_a_kill_at_work(cluster: &Cluster) {
    let mut program = Shades::new(cluster);
    let (mut a, mut b) = two_workers(&program);
    program.send(20_000);
    a.wait_for("it counts", |worker| (worker.out().len() > 200).then_some(()));
    a.kill();
    wait_for_all_tasks(&mut b);
    program.wait_until_done();
    program.assert_nothing_lost();
}

pub(crate) fn a_stopped_worker_hands_over(cluster: &Cluster) {
    let mut program = Shades::new(cluster);
    let mut a = program.start_alone("worker a");
    program.send(10_000);
    let mut b = program.start("worker b");
    wait_until_shared(&a, &b);
    program.send(5_000);
    a.signal("TERM");
    assert_eq!(a.code(), 0, "{}", a.transcript());
    wait_for_all_tasks(&mut b);
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
    wait_for_all_tasks(&mut b);
    program.send(2_000);
    program.wait_until_done();
    a.signal("CONT");
    a.wait_for_log(": lost");
    wait_until_shared(&a, &b);
    program.send(2_000);
    program.wait_until_done();
    program.assert_exact();
    for worker in [&mut a, &mut b] {
        worker.signal("TERM");
        assert_eq!(worker.code(), 0, "{}", worker.transcript());
    }
}
