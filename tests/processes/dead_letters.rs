//! Dead letters from the command line: listed, replayed, and replayed once.

use std::process::Command;

use serde_json::Value;

use crate::cluster::{Cluster, Pair, unique};
use crate::process::{Output, run};
use crate::programs::{parcels, worker};

/// The program `parcels` with letters in its dead letters: it fails on what begins with `bad`.
struct Parcels<'a> {
    cluster: &'a Cluster,
    id: String,
}

impl<'a> Parcels<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        for (topic, partitions) in [("parcels", 2), ("returns", 1), ("delivered", 1)] {
            cluster.topic(topic, partitions);
        }
        Self {
            cluster,
            id: unique("parcels"),
        }
    }

    /// Lets a worker process everything there is.
    fn work(&self, mended: bool) {
        let mut command = parcels(&self.id);
        if mended {
            command.env("PARCELS_MENDED", "yes");
        }
        let mut worker = worker("parcels", command, &self.cluster.address(), &[]);
        self.cluster.wait_until_done(&self.id, &["parcels", "returns"]);
        worker.signal("TERM");
        assert_eq!(worker.code(), 0, "{}", worker.transcript());
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = parcels(&self.id);
        command
            .arg("dlq")
            .args(arguments)
            .args(["--broker", &self.cluster.address()]);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        run(&mut self.command(arguments), None)
    }

    fn letters(&self) -> Vec<Value> {
        let printed = self.run(&["list", "--json"]).ok().out;
        serde_json::from_str(&printed).expect("a list in JSON")
    }

    fn delivered(&self) -> Vec<Pair> {
        let mut delivered = self.cluster.read("delivered");
        delivered.sort();
        delivered
    }
}

/// The field of each letter, sorted.
fn field(letters: &[Value], name: &str) -> Vec<String> {
    let mut values: Vec<_> = letters
        .iter()
        .map(|letter| letter[name].to_string().replace('"', ""))
        .collect();
    values.sort();
    values
}

fn pairs<const N: usize>(values: [&str; N]) -> Vec<Pair> {
    let mut pairs: Vec<_> = values.map(|value| (String::new(), value.to_owned())).into();
    pairs.sort();
    pairs
}

pub(crate) fn dead_letters_are_listed_and_replayed_once(cluster: &Cluster) {
    let parcels = Parcels::new(cluster);
    cluster.send("parcels", ["one", "bad two", "bad three", "four"]);
    cluster.send("returns", ["bad five"]);
    parcels.work(false);
    assert_eq!(parcels.delivered(), pairs(["one", "four"]));

    let letters = parcels.letters();
    assert_eq!(
        field(&letters, "from_topic"),
        ["parcels", "parcels", "returns"],
        "{letters:#?}"
    );
    assert_eq!(field(&letters, "replayed"), ["false"; 3]);
    assert_eq!(field(&letters, "attempts"), ["2"; 3]);
    let table = parcels.run(&["list"]).ok().out;
    for part in ["deliver", "take_back", "parcels/1 offset 0", "it is bad"] {
        assert!(table.contains(part), "{part}: {table}");
    }

    // A dry run sends and remembers nothing.
    let output = parcels.run(&["replay", "--dry-run"]).ok();
    assert!(output.err.contains("would replay 3 dead letters"), "{output:#?}");
    assert!(output.out.contains("returns/0 offset 0"), "{output:#?}");
    assert_eq!(cluster.read("parcels").len(), 4);

    // Some, and the others later: what was picked is remembered among what was not.
    let output = parcels.run(&["replay", "--agent", "take_back"]).ok();
    assert!(output.err.contains("replayed 1 dead letter of"), "{output:#?}");
    assert!(output.err.contains("1 to returns"), "{output:#?}");
    let output = parcels.run(&["replay"]).ok();
    assert!(output.err.contains("replayed 2 dead letters of"), "{output:#?}");
    assert!(output.err.contains("2 to parcels"), "{output:#?}");
    let output = parcels.run(&["replay"]).ok();
    assert!(output.err.contains("nothing to replay"), "{output:#?}");
    assert_eq!(field(&parcels.letters(), "replayed"), ["true"; 3]);

    // They went to the partitions that they came from.
    let values: Vec<_> = cluster
        .read("parcels")
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    assert_eq!(
        values,
        ["one", "bad three", "bad three", "bad two", "four", "bad two"]
    );
    parcels.work(true);
    assert_eq!(
        parcels.delivered(),
        pairs([
            "one",
            "four",
            "bad two (1)",
            "bad three (1)",
            "back: bad five (1)"
        ])
    );
}

pub(crate) fn what_fails_again_comes_back_and_says_how_often(cluster: &Cluster) {
    let parcels = Parcels::new(cluster);
    cluster.send("parcels", ["bad one"]);
    parcels.work(false);
    parcels.run(&["replay"]).ok();
    parcels.work(false);
    assert_eq!(field(&parcels.letters(), "replays"), ["0", "1"]);
    // The first is not sent again, the second is.
    let output = parcels.run(&["replay"]).ok();
    assert!(output.err.contains("replayed 1 dead letter of"), "{output:#?}");
    parcels.work(false);
    assert_eq!(field(&parcels.letters(), "replays"), ["0", "1", "2"]);
    let output = parcels
        .run(&["replay", "--again", "--limit", "2", "--dry-run"])
        .ok();
    assert!(
        output.err.contains("would replay 2 dead letters of"),
        "{output:#?}"
    );
    let output = parcels.run(&["replay", "--again"]).ok();
    assert!(output.err.contains("replayed 3 dead letters of"), "{output:#?}");
    parcels.work(true);
    assert_eq!(
        parcels.delivered(),
        pairs(["bad one (1)", "bad one (2)", "bad one (3)"])
    );
}

pub(crate) fn what_cannot_be_replayed_is_told(cluster: &Cluster) {
    let parcels = Parcels::new(cluster);
    cluster.send("parcels", ["bad one"]);
    cluster.send("returns", ["bad two"]);
    parcels.work(false);
    cluster.delete(&["returns"]);
    let output = parcels.run(&["replay"]);
    assert_eq!(output.code, 1, "{output:#?}");
    for part in ["`returns`", "not there any more", "--topic"] {
        assert!(output.err.contains(part), "{part}: {output:#?}");
    }
    let output = parcels.run(&["replay", "--topic", "parcels", "--again"]).ok();
    assert!(output.err.contains("1 to parcels"), "{output:#?}");

    let output = parcels.run(&["list", "no-such-topic"]);
    assert_eq!(output.code, 1, "{output:#?}");
    assert!(output.err.contains("no topic `no-such-topic`"), "{output:#?}");
    let output = parcels.run(&["replay", "--partition", "77"]);
    assert_eq!(output.code, 2, "{output:#?}");
    assert!(output.err.contains("no partition 77"), "{output:#?}");
    // Records that are none of its dead letters are passed over.
    let output = parcels.run(&["replay", "parcels"]).ok();
    assert!(output.err.contains("nothing to replay in parcels"), "{output:#?}");
    assert!(
        output.err.contains("no dead letters of this program"),
        "{output:#?}"
    );
}
