//! Apache Kafka's own tools on both ends of a worker.

use std::process::Command;

use crate::cluster::Cluster;
use crate::process::{Output, colors, eventually, run};
use crate::programs::worker;

/// Runs one of Kafka's tools, by the class that its script would run.
fn tool(cluster: &Cluster, class: &str, arguments: &[&str], input: Option<&str>) -> Output {
    let classpath = std::env::var("STREAM_TEST_KAFKA_CLASSPATH").unwrap_or_else(|_| {
        let fetch = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/fetch");
        run(&mut Command::new(fetch), None).ok().out.trim().to_owned()
    });
    let mut java = Command::new("java");
    java.args(["-XX:TieredStopAtLevel=1", "-cp", &classpath])
        .arg(format!("org.apache.kafka.tools.{class}"))
        .args(["--bootstrap-server", cluster.bootstrap()])
        .args(arguments);
    run(&mut java, input)
}

pub(crate) fn counts_between_kafkas_own_tools(cluster: &Cluster) {
    cluster.delete(&[
        "input",
        "output",
        "colors-colors",
        "colors-colors-count-changelog",
    ]);
    cluster.delete_group("colors");
    let topics = |arguments: &[&str]| tool(cluster, "TopicCommand", arguments, None).ok().out;
    let create = |topic, config| {
        topics(&[
            "--create",
            "--topic",
            topic,
            "--partitions",
            "1",
            "--config",
            config,
        ]);
    };
    create("input", "retention.ms=3600000");
    create("output", "retention.ms=7200000");
    // Ids, counts, and settings that differ from the defaults.
    let describe = || topics(&["--describe", "--topic", "input|output"]);
    let settings = || ["input", "output"].map(|topic| cluster.topic_config(topic));
    let before = (describe(), settings());

    let mut worker = worker("colors", colors(), &cluster.address(), &[]);
    let produce = |lines: &str| {
        tool(cluster, "ConsoleProducer", &["--topic", "input"], Some(lines)).ok();
    };
    let consume = |count: &str| {
        let arguments = ["--topic", "output", "--from-beginning", "--max-messages", count];
        let print = ["--property", "print.key=true", "--timeout-ms", "60000"];
        let output = tool(
            cluster,
            "consumer.ConsoleConsumer",
            &[arguments.as_slice(), &print].concat(),
            None,
        );
        let mut counts: Vec<_> = output.ok().out.lines().map(str::to_owned).collect();
        counts.sort();
        counts
    };
    produce("red\nblue\npurple\nred\n");
    assert_eq!(consume("3"), ["blue\t1", "red\t1", "red\t2"]);

    assert_eq!(
        (describe(), settings()),
        before,
        "what belongs to others is as it was"
    );
    let described = topics(&["--describe", "--topic", "colors-.*"]);
    let line = |topic: &str| {
        let found = described
            .lines()
            .find(|line| line.contains(&format!("Topic: {topic}\tTopicId")));
        found
            .unwrap_or_else(|| panic!("no {topic} in\n{described}"))
            .to_owned()
    };
    let (internal, changelog) = (line("colors-colors"), line("colors-colors-count-changelog"));
    assert!(internal.contains("PartitionCount: 8"), "{internal}");
    assert!(changelog.contains("PartitionCount: 8"), "{changelog}");
    assert!(changelog.contains("cleanup.policy=compact"), "{changelog}");
    let entries = cluster.read("colors-colors-count-changelog");
    assert!(!entries.is_empty(), "counts are in the changelog");

    // Another process goes on where the first has ended.
    worker.signal("TERM");
    assert_eq!(worker.code(), 0, "{}", worker.transcript());
    produce("red\n");
    let _worker = self::worker("colors again", colors(), &cluster.address(), &[]);
    assert_eq!(consume("4"), ["blue\t1", "red\t1", "red\t2", "red\t3"]);
    eventually("the counts are committed", || {
        cluster.wait_until_done("colors", &["input", "colors-colors"]);
        Some(())
    });
}
