//! Another client, on the embedded broker.

use std::process::Command;

use crate::cluster::Cluster;
use crate::process::{colors, eventually, run};
use crate::programs::worker;

pub(crate) fn kcat_reads_and_writes(cluster: &Cluster) {
    let kcat = |arguments: &[&str], input: Option<&str>| {
        let mut command = Command::new("kcat");
        command.args(["-b", cluster.bootstrap(), "-q"]).args(arguments);
        run(&mut command, input).ok().out
    };
    let listing = kcat(&["-L"], None);
    for topic in [
        "\"input\" with 1 partitions",
        "\"output\" with 1 partitions",
        "\"colors-colors\" with 8 partitions",
    ] {
        assert!(listing.contains(topic), "{listing}");
    }
    let _worker = worker("colors", colors(), &cluster.address(), &[]);
    kcat(&["-P", "-t", "input"], Some("red\npurple\nblue\nred\n"));
    let read = |topic| {
        kcat(
            &["-C", "-t", topic, "-o", "beginning", "-e", "-f", "%k=%s\n"],
            None,
        )
    };
    assert_eq!(read("input"), "=red\n=purple\n=blue\n=red\n");
    let mut counts = eventually("three counts", || {
        let counts: Vec<_> = read("output").lines().map(str::to_owned).collect();
        (counts.len() >= 3).then_some(counts)
    });
    counts.sort();
    assert_eq!(counts, ["blue=1", "red=1", "red=2"]);
}
