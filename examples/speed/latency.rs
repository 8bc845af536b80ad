//! How long a record takes from the input to its output, at 200 records a second.

use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::Message;

use crate::cluster::Cluster;
use crate::job::{Payment, Total};
use crate::measure::{Spread, percentile};
use crate::{Outcome, Run, arguments, by_hand, payments};

const CONTENDERS: [&str; 4] = [
    "loop-latency",
    "program-latency",
    "loop-exactly-once-100ms-latency",
    "program-exactly-once-100ms-latency",
];
/// The pause between two records.
const PACE: Duration = Duration::from_millis(5);
/// Records of the first seconds warm things up and are not counted.
const WARM_UP: u64 = 600;
const USERS: u64 = 1000;

/// The median and the 99th percentile of one run, in milliseconds.
type Latencies = (f64, f64);

/// Runs all in turns, and prints.
pub(crate) fn compare() -> Outcome {
    let records = WARM_UP + arguments::number("--records", 4_000)?;
    let partitions = i32::try_from(arguments::number("--partitions", 4)?)?;
    let rounds = arguments::number("--rounds", 3)?;
    let contenders = arguments::contenders(&CONTENDERS)?;
    let cluster = Cluster::reach()?;
    let mut results: Vec<Vec<Latencies>> = vec![Vec::new(); contenders.len()];
    for round in 0..rounds {
        for (name, results) in contenders.iter().zip(&mut results) {
            let run = Run::new(name, round);
            cluster.recreate(&[
                ("speed-input", partitions),
                ("speed-output", partitions),
                (&run.changelog(), partitions),
            ])?;
            let mut process = run.start(&cluster)?;
            let measured = measure(&cluster, partitions, records);
            process.kill()?;
            process.wait()?;
            let (median, high) = measured?;
            println!("  round {round} {name:36} p50 {median:6.2} ms, p99 {high:6.2} ms");
            results.push((median, high));
            run.clean(&cluster)?;
        }
    }
    println!(
        "\n{:36} {:>24} {:>24}",
        "medians of the rounds", "p50 ms", "p99 ms"
    );
    for (name, results) in contenders.iter().zip(&results) {
        let median = Spread::of(results.iter().map(|(median, _)| *median));
        let high = Spread::of(results.iter().map(|(_, high)| *high));
        println!(
            "{name:36} {:8.2} ({:5.2}-{:6.2}) {:8.2} ({:5.2}-{:6.2})",
            median.median, median.lowest, median.highest, high.median, high.lowest, high.highest
        );
    }
    Ok(())
}

fn measure(cluster: &Cluster, partitions: i32, records: u64) -> Outcome<Latencies> {
    let reader = cluster.reader("speed-output", partitions, Offset::Beginning)?;
    let producer = cluster.producer("0")?;
    std::thread::scope(|threads| {
        let sender = threads.spawn(|| -> Result<Vec<Instant>, String> {
            let mut sent: Vec<Instant> = Vec::new();
            let mut next = Instant::now();
            for n in 0..records {
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
                next += PACE;
                let user = payments::user(n % USERS);
                let payment = Payment {
                    user: user.clone(),
                    amount: n % 100,
                    note: "a record that is to be answered soon".to_owned(),
                };
                let value = serde_json::to_vec(&payment).map_err(|error| error.to_string())?;
                sent.push(Instant::now());
                by_hand::send(&producer, "speed-input", user.as_bytes(), &value)
                    .map_err(|error| error.to_string())?;
            }
            by_hand::delivered(&producer);
            Ok(sent)
        });
        let arrived = receive(&reader, records)?;
        let sent = sender.join().map_err(|_| "the sender panicked")??;
        let mut latencies: Vec<Duration> = (WARM_UP..records)
            .map(|n| arrived[n as usize].saturating_duration_since(sent[n as usize]))
            .collect();
        latencies.sort();
        let milliseconds = |share| percentile(&latencies, share).as_secs_f64() * 1e3;
        Ok((milliseconds(0.5), milliseconds(0.99)))
    })
}

/// When the output of each record came.
fn receive(reader: &BaseConsumer, records: u64) -> Outcome<Vec<Instant>> {
    let started = Instant::now();
    let mut arrived = vec![started; records as usize];
    let (mut found, mut last) = (0, started);
    while found < records {
        let Some(message) = reader.poll(Duration::from_millis(100)) else {
            if last.elapsed() > Duration::from_secs(30) {
                return Err(format!("{found} records came out, not {records}").into());
            }
            continue;
        };
        last = Instant::now();
        let total: Total = serde_json::from_slice(message?.payload().unwrap_or_default())?;
        let user: u64 = total.user.trim_start_matches("user-").parse()?;
        // Each user's records are numbered by their counts.
        arrived[(user + (total.count - 1) * USERS) as usize] = last;
        found += 1;
    }
    Ok(arrived)
}
