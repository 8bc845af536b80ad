//! The commands of a program beside its worker.

use std::process::Command;

use crate::cluster::Cluster;
use crate::process::{Output, colors, run};

const INTERNAL: [&str; 2] = ["colors-colors", "colors-colors-count-changelog"];

fn at(cluster: &Cluster, arguments: &[&str]) -> Command {
    let mut command = colors();
    command.args(arguments).args(["--broker", &cluster.address()]);
    command
}

pub(crate) fn topics_are_checked_created_and_printed(cluster: &Cluster) {
    cluster.delete(&["input", "output"]);
    cluster.delete(&INTERNAL);
    let topics = |flag: &str| run(&mut at(cluster, &["topics", flag]), None);

    let output = topics("--check");
    assert_eq!(output.code, 1, "{output:#?}");
    for topic in INTERNAL.iter().chain(&["input", "output"]) {
        assert!(
            output.err.contains(&format!("`{topic}` is missing")),
            "{output:#?}"
        );
    }
    cluster.topic("input", 1);
    cluster.topic("output", 1);

    let output = topics("--print").ok();
    let lines: Vec<_> = output.out.lines().collect();
    assert_eq!(lines.len(), 2, "those of the program only: {output:#?}");
    for topic in INTERNAL {
        assert!(
            output.out.contains(&format!("--topic {topic} --partitions 8")),
            "{output:#?}"
        );
    }
    assert!(output.out.contains("cleanup.policy=compact"), "{output:#?}");
    assert!(
        !cluster.topics().contains_key(INTERNAL[0]),
        "nothing is created by printing"
    );

    assert!(topics("--create").ok().out.contains("created"));
    topics("--create").ok();
    topics("--check").ok();
    let there = cluster.topics();
    assert_eq!(INTERNAL.map(|topic| there[topic]), [8, 8]);
    assert_eq!((there["input"], there["output"]), (1, 1));
    let config = cluster.topic_config(INTERNAL[1]);
    assert_eq!(config["cleanup.policy"].as_deref(), Some("compact"));
}

pub(crate) fn records_are_sent(cluster: &Cluster) {
    cluster.topic("input", 1);
    cluster.topic("output", 1);
    let send = |arguments: &[&str], input: Option<&str>| -> Output {
        run(at(cluster, &["send"]).args(arguments), input)
    };
    send(&["input", "red"], None).ok();
    let output = send(&["input", "-"], Some("green\nred\n")).ok();
    assert!(output.err.contains("sent 2 records"), "{output:#?}");
    send(&["@filter_colors", "blue"], None).ok();
    send(&["output", "7", "--key", "red"], None).ok();
    let sent: Vec<_> = cluster
        .read("input")
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    assert_eq!(sent, ["red", "green", "red", "blue"]);
    assert_eq!(cluster.read("output"), [("red".to_owned(), "7".to_owned())]);

    let output = send(&["inptu", "red"], None);
    assert_eq!(output.code, 2, "{output:#?}");
    for part in ["`inptu`", "did you mean `input`?", "\n  output", "\n  colors"] {
        assert!(output.err.contains(part), "{part}: {output:#?}");
    }
    let output = send(&["output", "many", "--key", "red"], None);
    assert_eq!(
        output.code, 2,
        "what no reader could decode is not sent: {output:#?}"
    );
    assert_eq!(cluster.read("output").len(), 1);
    let output = send(&["output", "-", "--key", "red"], Some("8\nmany\n9\n"));
    assert_eq!(output.code, 2, "{output:#?}");
    assert!(output.err.contains("line 2 of standard input"), "{output:#?}");
    assert_eq!(cluster.read("output").len(), 2, "what is before it was sent");
}

pub(crate) fn what_is_declared_is_listed_without_a_broker() {
    let print = |arguments: &[&str]| run(colors().args(arguments), None).ok().out;
    assert!(print(&["topology"]).contains("flowchart LR"));
    let agents: serde_json::Value =
        serde_json::from_str(&print(&["agents", "--json"])).expect("`agents --json` is JSON");
    assert_eq!(agents[0]["agent"], "count_colors");
    assert_eq!(agents[0]["reads"], "colors-colors");
    assert_eq!(agents[0]["writes"][0], "output");
    assert!(print(&["tables"]).contains("colors-colors-count-changelog"));
    assert!(print(&["topics"]).contains("filter_colors"));
    assert!(print(&["settings"]).contains("commit_interval"));
    let script = print(&["completion", "bash"]);
    let checked = run(Command::new("bash").args(["-n", "-c", &script]), None).ok();
    assert_eq!(checked.err, "");
}
