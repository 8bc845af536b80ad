//! Programs whose parts do not fit together, or do not fit the topics that exist.

use stream_runtime::embedded::NewTopic;
use stream_runtime::prelude::*;
use stream_runtime::{AgentDef, ErrorKind};

use crate::support::{Bench, assert_mentions, input, wait_until};

#[track_caller]
fn refusal(bench: &Bench, agents: impl IntoIterator<Item = &'static AgentDef>) -> String {
    let error = bench.app(agents).start().expect_err("it must not start");
    assert_eq!(error.kind(), ErrorKind::Topology, "{error}");
    error.to_string()
}

#[table]
static TOPOLOGIES_SHARED: Table<String, u64>;

#[agent(topic = "narrow")]
async fn of_narrow(word: String) {
    TOPOLOGIES_SHARED.update(&word, |count| *count += 1);
}

#[agent(topic = "wide")]
async fn of_wide(word: String) {
    TOPOLOGIES_SHARED.update(&word, |count| *count += 1);
}

#[test]
fn agents_that_share_a_table_and_read_topics_of_different_counts_are_refused() {
    let bench = Bench::new(&[("narrow", 2), ("wide", 3)]);
    let message = refusal(&bench, [of_narrow::agent(), of_wide::agent()]);
    assert_mentions(
        &message,
        &[
            "`narrow` has 2 partitions",
            "`wide` has 3 partitions",
            "`topologies-shared`",
            "`of_narrow`",
            "`of_wide`",
            "tests/embedded/topologies.rs:",
        ],
    );
    assert!(!bench.topics().contains_key(&bench.changelog("topologies-shared")));
}

#[topic(name = "declared-narrow", partitions = 2)]
static TOPOLOGIES_NARROW: Topic<(), String>;
#[topic(name = "declared-wide", partitions = 3)]
static TOPOLOGIES_WIDE: Topic<(), String>;

#[agent(topic = TOPOLOGIES_NARROW)]
async fn of_declared_narrow(word: String) {
    TOPOLOGIES_SHARED.update(&word, |count| *count += 1);
}

#[agent(topic = TOPOLOGIES_WIDE)]
async fn of_declared_wide(word: String) {
    TOPOLOGIES_SHARED.update(&word, |count| *count += 1);
}

#[test]
fn declared_counts_that_cannot_agree_are_refused_with_both_places() {
    let bench = Bench::new(&[]);
    let message = refusal(&bench, [of_declared_narrow::agent(), of_declared_wide::agent()]);
    let places = [TOPOLOGIES_NARROW.def(), TOPOLOGIES_WIDE.def()].map(|def| def.location.to_string());
    assert_mentions(
        &message,
        &["declared-narrow", "declared-wide", &places[0], &places[1]],
    );
}

mod elsewhere {
    use super::*;

    #[agent(topic = "wide")]
    pub(super) async fn of_narrow(_word: String) {}
}

#[test]
fn two_agents_of_one_name_are_refused_with_both_places() {
    let bench = Bench::new(&[("narrow", 1), ("wide", 1)]);
    let message = refusal(&bench, [of_narrow::agent(), elsewhere::of_narrow::agent()]);
    let places = [of_narrow::agent(), elsewhere::of_narrow::agent()].map(|agent| agent.location.to_string());
    assert_mentions(
        &message,
        &["two agents are named `of_narrow`", &places[0], &places[1]],
    );
}

#[topic(internal)]
static TOPOLOGIES_KEYED: Topic<String, String>;

#[agent(topic = "narrow")]
async fn key(word: String) {
    TOPOLOGIES_KEYED.send(&word, &word).await;
}

#[agent(topic = TOPOLOGIES_KEYED, sink = "counted")]
async fn count_keyed(Key(word): Key<String>, _value: String) -> u64 {
    TOPOLOGIES_SHARED.update(&word, |count| {
        *count += 1;
        *count
    })
}

#[test]
fn an_internal_topic_that_exists_with_another_count_is_refused() {
    let bench = Bench::new(&[("narrow", 1), ("wide", 3), ("counted", 1)]);
    let keyed = bench.internal("topologies-keyed");
    bench.create(NewTopic::new(&keyed, 5));
    let message = refusal(&bench, [key::agent(), count_keyed::agent(), of_wide::agent()]);
    assert_mentions(&message, &[&keyed, "5 partitions", "3 partitions"]);
    assert_eq!(bench.topics()[&keyed], 5, "it is left alone");
}

#[test]
fn a_changelog_that_exists_with_another_policy_is_refused() {
    let bench = Bench::new(&[("narrow", 1)]);
    let changelog = bench.changelog("topologies-shared");
    bench.create(NewTopic::new(&changelog, 1).with("cleanup.policy", "delete"));
    let message = refusal(&bench, [of_narrow::agent()]);
    assert_mentions(&message, &[&changelog, "cleanup.policy=delete", "`compact`"]);
    assert_eq!(
        bench.topic_setting(&changelog, "cleanup.policy").as_deref(),
        Some("delete")
    );
}

#[test]
fn an_internal_topic_takes_the_count_of_what_it_is_read_with() {
    let bench = Bench::new(&[("narrow", 1), ("wide", 3), ("counted", 1)]);
    let running = bench.start([key::agent(), count_keyed::agent(), of_wide::agent()]);
    let topics = bench.topics();
    assert_eq!(topics[&bench.internal("topologies-keyed")], 3);
    assert_eq!(topics[&bench.changelog("topologies-shared")], 3);
    let policy = |topic: &str| bench.topic_setting(topic, "cleanup.policy");
    assert_eq!(
        policy(&bench.changelog("topologies-shared")).as_deref(),
        Some("compact")
    );
    assert_eq!(
        policy(&bench.internal("topologies-keyed")).as_deref(),
        Some("delete")
    );
    wait_until("three tasks share, one is alone", || {
        running.running_tasks().len() == 4
    });
    // What one agent counted the other goes on from: a key has the same partition number in both topics.
    bench.produce(
        "wide",
        (0..20).map(|n| input(format!("w{n}")).key(format!("w{n}"))),
    );
    running.drain(crate::support::DEADLINE).expect("all is processed");
    bench.produce("narrow", (0..20).map(|n| input(format!("w{n}"))));
    bench.wait_for_records("counted", 20);
    running.stop().expect("all is well");
    assert!(bench.texts("counted").iter().all(|count| count == "2"));
}

#[test]
fn internal_topics_are_created_with_the_default_count_where_nothing_says_otherwise() {
    let bench = Bench::new(&[("narrow", 1), ("counted", 1)]);
    let app = bench
        .app([key::agent(), count_keyed::agent()])
        .set("partitions", 6);
    let running = app.start().expect("the program starts");
    assert_eq!(bench.topics()[&bench.internal("topologies-keyed")], 6);
    running.stop().expect("all is well");
}

mod one {
    use super::*;

    #[topic(name = "in-two-programs")]
    static INPUTS: Topic<(), String>;

    #[table]
    static TOTALS: Table<String, u64>;

    #[agent(topic = INPUTS, sink = "of-one")]
    pub(super) async fn total(word: String) -> u64 {
        TOTALS.update(&word, |total| {
            *total += 1;
            *total
        })
    }
}

mod other {
    use super::*;

    #[topic(name = "in-two-programs")]
    static INPUTS: Topic<(), String>;

    #[table]
    static TOTALS: Table<String, String>;

    #[agent(topic = INPUTS, sink = "of-other")]
    pub(super) async fn total(word: String) -> String {
        TOTALS.update("all", |all| {
            all.push_str(&word);
            all.clone()
        })
    }
}

#[test]
fn two_programs_in_one_binary_may_use_the_same_names() {
    let topics = [("in-two-programs", 1), ("of-one", 1), ("of-other", 1)];
    let (first, second) = (Bench::new(&topics), Bench::new(&topics));
    let running = [
        first.start([one::total::agent()]),
        second.start([other::total::agent()]),
    ];
    first.produce("in-two-programs", ["a", "a"].map(input));
    second.produce("in-two-programs", ["a", "b"].map(input));
    first.wait_for_records("of-one", 2);
    second.wait_for_records("of-other", 2);
    for running in running {
        running.stop().expect("all is well");
    }
    assert_eq!(first.texts("of-one"), ["1", "2"]);
    assert_eq!(second.texts("of-other"), ["a", "ab"]);
}
