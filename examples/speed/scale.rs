//! What keys cost on the disk, what partitions and agents cost, idle and while records come, and what a backlog does to
//! memory.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::measure::{Measured, cpu_seconds_of, mebibytes_of};
use crate::{Outcome, Run, arguments, by_hand, many, payments};

/// How long an idle process is watched.
const IDLE: Duration = Duration::from_secs(10);
/// So few that the table is soon as large as it gets.
const BACKLOG_USERS: u64 = 10_000;

/// The keyed count over tables of more and more keys, on the disk. The tables are filled first.
pub(crate) fn keys() -> Outcome {
    let records = arguments::number("--records", 1_000_000)?;
    let sizes = wanted([10_000, 100_000, 1_000_000, 10_000_000])?;
    let cluster = Cluster::reach()?;
    println!(
        "{:>10} {:>10} {:>12} {:>9}",
        "keys", "records/s", "CPU s/M", "peak MiB"
    );
    for users in sizes {
        let run = Run::new("program-rocksdb", users).with("--warm-up", users);
        cluster.recreate(&[("speed-input", 4), ("speed-output", 4)])?;
        let each = payments::one_of_each(users);
        let expected = cluster.feed(each.chain(payments::payments(records, users)))?;
        let run = run.with("--records", records);
        let measured = Measured::heard(&run.to_its_end(&cluster)?).ok_or("it was not measured")?;
        cluster.check_totals(4, &expected)?;
        println!(
            "{users:10} {:10.0} {:12.2} {:9.0}",
            measured.records_per_second, measured.cpu_seconds_per_million, measured.mebibytes
        );
        run.clean(&cluster)?;
    }
    Ok(())
}

/// The keyed count over more and more partitions.
pub(crate) fn partitions() -> Outcome {
    let records = arguments::number("--records", 500_000)?;
    let sizes = wanted([1, 10, 100, 1_000])?;
    let cluster = Cluster::reach()?;
    heading("partitions");
    for partitions in sizes {
        let run = Run::new("program-scale", partitions).with("--tasks", partitions);
        let count = i32::try_from(partitions)?;
        cluster.recreate(&[("speed-input", count), ("speed-output", count)])?;
        watch(&cluster, &run, partitions, records, || {
            cluster.feed(payments::payments(records, 100_000)).map(drop)
        })?;
        run.clean(&cluster)?;
    }
    Ok(())
}

/// More and more agents, each with a topic of one partition.
pub(crate) fn agents() -> Outcome {
    let records = arguments::number("--records", 500_000)?;
    let sizes = wanted([1, 10, 50, many::TOPICS.len() as u64])?;
    let cluster = Cluster::reach()?;
    heading("agents");
    for agents in sizes {
        let run = Run::new("program-agents", agents).with("--tasks", agents);
        let topics = many::TOPICS[..agents as usize].iter().map(|topic| (*topic, 1));
        cluster.recreate(&topics.collect::<Vec<_>>())?;
        watch(&cluster, &run, agents, records, || {
            let producer = cluster.producer("50")?;
            for n in 0..records {
                let topic = many::TOPICS[(n % agents) as usize];
                by_hand::send(
                    &producer,
                    topic,
                    b"key",
                    b"some hundred bytes are not needed here",
                )?;
            }
            by_hand::delivered(&producer);
            Ok(())
        })?;
        run.clean(&cluster)?;
    }
    Ok(())
}

/// The keyed count over longer and longer backlogs, of as many users: memory is to stay where it is.
pub(crate) fn backlog() -> Outcome {
    let sizes = wanted([1, 1_000, 10_000, 100_000, 1_000_000, 10_000_000])?;
    let cluster = Cluster::reach()?;
    println!(
        "{:>10} {:>10} {:>10} {:>9}",
        "records", "seconds", "records/s", "peak MiB"
    );
    for records in sizes {
        let run = Run::new("program", records).with("--records", records);
        cluster.recreate(&[("speed-input", 4), ("speed-output", 4)])?;
        let expected = cluster.feed(payments::payments(records, BACKLOG_USERS))?;
        let measured = Measured::heard(&run.to_its_end(&cluster)?).ok_or("it was not measured")?;
        cluster.check_totals(4, &expected)?;
        println!(
            "{records:10} {:10.2} {:10.0} {:9.0}",
            records as f64 / measured.records_per_second,
            measured.records_per_second,
            measured.mebibytes
        );
        run.clean(&cluster)?;
    }
    Ok(())
}

/// Those of the sizes that `--least` and `--most` leave.
fn wanted(sizes: impl IntoIterator<Item = u64>) -> Outcome<Vec<u64>> {
    let (least, most) = (
        arguments::number("--least", 0)?,
        arguments::number("--most", u64::MAX)?,
    );
    let within = sizes.into_iter().filter(|size| (least..=most).contains(size));
    Ok(within.collect())
}

fn heading(what: &str) {
    println!(
        "{what:>10} {:>10} {:>9} {:>10} {:>9} {:>12}",
        "ready s", "idle MiB", "idle CPU %", "busy MiB", "CPU s/M"
    );
}

/// Starts it, looks at it while nothing comes, then while records come.
fn watch(cluster: &Cluster, run: &Run, count: u64, records: u64, feed: impl FnOnce() -> Outcome) -> Outcome {
    let started = Instant::now();
    let mut process = run.start(cluster)?;
    let outcome = (|| {
        let output = process.stdout.take().ok_or("no output")?;
        let mut lines = BufReader::new(output).lines();
        let mut wait_for = |wanted: &str| -> Outcome {
            for line in &mut lines {
                if line? == wanted {
                    return Ok(());
                }
            }
            Err(format!("it ended before it said {wanted}").into())
        };
        wait_for("ready")?;
        let ready = started.elapsed();
        std::thread::sleep(Duration::from_secs(3));
        let idle = look(&process)?;
        std::thread::sleep(IDLE);
        let still_idle = look(&process)?;
        feed()?;
        wait_for("done")?;
        let busy = look(&process)?;
        println!(
            "{count:10} {:10.2} {:9.0} {:10.2} {:9.0} {:12.2}",
            ready.as_secs_f64(),
            still_idle.1,
            (still_idle.0 - idle.0) / IDLE.as_secs_f64() * 100.0,
            busy.1,
            (busy.0 - still_idle.0) / records as f64 * 1e6
        );
        Ok(())
    })();
    process.kill()?;
    process.wait()?;
    outcome
}

/// Its processor time so far, and its memory.
fn look(process: &Child) -> Outcome<(f64, f64)> {
    let process = process.id().to_string();
    Ok((cpu_seconds_of(&process)?, mebibytes_of(&process, "VmRSS:")?))
}
