//! Partition counts and the topics to be made.

use super::*;
use crate::agent::Verdict;
use crate::agent::dead_letter::dead_letters;
use crate::kafka::TopicSpec;
use crate::record::topic::Ownership::Internal;
use crate::record::topic::TopicDef;
use crate::topology::{PlanDefaults, TopicPlan, check_existing};

#[track_caller]
fn plan(topology: &Topology, existing: &[(&str, u32)]) -> TopicPlan {
    topology
        .plan(&broker(existing), &PlanDefaults::default())
        .expect("counts agree")
}

fn names(specs: &[TopicSpec]) -> Vec<(&str, u32)> {
    specs.iter().map(|spec| (&*spec.name, spec.partitions)).collect()
}

fn config<'a>(spec: &'a TopicSpec, wanted: &str) -> Option<&'a str> {
    let (_, value) = spec.config.iter().find(|(name, _)| name == wanted)?;
    Some(value)
}

/// Two agents over two topics that share a table.
fn joined(one: TopicUse, two: TopicUse) -> Result<Topology> {
    let agents = [
        mentions(agent("a", one), &["COUNTS"]),
        mentions(agent("b", two), &["COUNTS"]),
    ];
    build_as("app", &agents, &[], &[table!(COUNTS, "counts")])
}

#[test]
fn internal_topics_and_changelogs_follow_the_external_topic() {
    let y = topic!(Y, "y", String => String, ownership: Internal);
    let topology = joined(topic!(named "x", String), y).expect("fits");
    let plan = plan(&topology, &[("x", 5), ("foreign", 3)]);
    assert_eq!(plan.partitions, [5]);
    assert_eq!(plan.topic_partitions, [5, 5]);
    assert_eq!(names(&plan.create), [("app-y", 5), ("app-counts-changelog", 5)]);
    assert!(plan.check.is_empty() && plan.missing_external.is_empty());
}

#[test]
fn without_external_topics_the_declared_count_holds_else_the_default() {
    let declared = topic!(A, "a", String => String, ownership: Internal, partitions: Some(3));
    let open = topic!(B, "b", String => String, ownership: Internal);
    let topology = build(&[agent("a", declared), agent("b", open)], &[], &[]);
    let plan = plan(&topology, &[]);
    assert_eq!(plan.partitions, [3, 8]);
    assert_eq!(names(&plan.create), [("app-a", 3), ("app-b", 8)]);
}

#[test]
fn a_topic_that_is_only_written_has_a_count_of_its_own() {
    let counted = topic!(A, "a", String => String, ownership: Internal, partitions: Some(3));
    let open = topic!(B, "b", String => String, ownership: Internal);
    let writer = sinks(agent("w", topic!(named "input", String)), &[counted, open]);
    let plan = plan(&build(&[writer], &[], &[]), &[("input", 2)]);
    assert_eq!(plan.topic_partitions, [3, 8, 2]);
    assert_eq!(names(&plan.create), [("app-a", 3), ("app-b", 8)]);
}

#[test]
fn missing_external_topics_are_listed_and_not_created() {
    let writer = sinks(
        agent("w", topic!(named "input", String)),
        &[topic!(named "output", String)],
    );
    let unused = topic!(UNUSED, "z", String => String);
    let plan = plan(&build(&[writer], &[unused], &[]), &[("output", 4)]);
    assert_eq!(plan.missing_external, [0]);
    assert_eq!(plan.topic_partitions, [8, 4, 8]);
    assert!(plan.create.is_empty());
}

#[test]
fn a_table_over_topics_with_different_counts() {
    let topology = joined(topic!(named "x", String), topic!(named "y", String)).expect("fits so far");
    let different = broker(&[("x", 4), ("y", 6)]);
    assert_eq!(
        message(topology.plan(&different, &PlanDefaults::default())),
        "the agents of sub-topology `x` share state, so their input topics need equal partition counts, and those \
         differ:\
         \n  table `counts` is used by agent `a` (src/a.rs:10) reading `x` and agent `b` (src/b.rs:10) reading `y`\
         \n  topic `x` has 4 partitions on the broker\
         \n  topic `y` has 6 partitions on the broker\
         \ngive the topics equal counts, or re-key one input through an internal topic of this program and use the \
         table in the agent that reads that one"
    );
    assert_eq!(plan(&topology, &[("x", 4), ("y", 4)]).partitions, [4]);
}

#[test]
fn an_internal_topic_declared_with_another_count_than_the_external_one() {
    let y = topic!(Y, "y", String => String, ownership: Internal, partitions: Some(1), location: at("src/t.rs", 4));
    let topology = joined(topic!(named "x", String), y).expect("fits so far");
    let message = message(topology.plan(&broker(&[("x", 4)]), &PlanDefaults::default()));
    assert!(
        message.contains("topic `x` has 4 partitions on the broker"),
        "{message}"
    );
    assert!(
        message.contains("topic `y` is declared with 1 partition (src/t.rs:4)"),
        "{message}"
    );
    assert_eq!(plan(&topology, &[("x", 1)]).partitions, [1]);
}

#[test]
fn declared_counts_that_differ_are_refused_without_a_broker() {
    let one = topic!(X, "x", String => String, ownership: Internal, partitions: Some(2));
    let two = topic!(Y, "y", String => String, ownership: Internal, partitions: Some(3));
    let message = message(joined(one, two));
    assert!(
        message.contains("topic `x` is declared with 2 partitions"),
        "{message}"
    );
    assert!(
        message.contains("topic `y` is declared with 3 partitions"),
        "{message}"
    );
}

#[test]
fn only_the_tables_that_join_different_counts_are_named() {
    let agents = [
        mentions(agent("a", topic!(named "x", String)), &["ONE", "OWN"]),
        mentions(agent("b", topic!(named "y", String)), &["ONE", "TWO"]),
        mentions(agent("c", topic!(named "z", String)), &["TWO"]),
    ];
    let tables = [table!(ONE, "one"), table!(TWO, "two"), table!(OWN, "own")];
    let topology = build(&agents, &[], &tables);
    let of = |counts: &[(&str, u32)]| message(topology.plan(&broker(counts), &PlanDefaults::default()));
    let direct = of(&[("x", 1), ("y", 1), ("z", 2)]);
    assert!(
        direct.contains("table `two`") && !direct.contains("table `one`"),
        "{direct}"
    );
    let chained = of(&[("x", 1), ("z", 2)]);
    assert!(
        chained.contains("table `two`") && chained.contains("table `one`"),
        "{chained}"
    );
    assert!(!chained.contains("table `own`"), "{chained}");
}

#[test]
fn topics_are_created_as_they_are_declared() {
    let log = topic!(LOG, "log", String => String, ownership: Internal, compact: true, replicas: Some(3),
        retention_ms: Some(-1), config: &[("segment.ms", "1000"), ("cleanup.policy", "compact,delete")]);
    let plain = topic!(PLAIN, "plain", String => String, ownership: Internal);
    let counts = table!(COUNTS, "counts", config: &[("min.insync.replicas", "2")]);
    let topology = build(
        &[agent("a", log), mentions(agent("b", plain), &["COUNTS"])],
        &[],
        &[counts],
    );
    let defaults = PlanDefaults {
        partitions: 2,
        replication: Some(2),
        workers: false,
    };
    let plan = topology.plan(&BTreeMap::new(), &defaults).expect("counts agree");
    let [log, plain, changelog] = &plan.create[..] else {
        panic!("three topics: {plan:?}")
    };
    assert_eq!(
        (log.replication, plain.replication, changelog.replication),
        (Some(3), Some(2), Some(2))
    );
    let settings = |spec: &TopicSpec| -> Vec<String> {
        spec.config
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    };
    let create_time = "message.timestamp.type=CreateTime";
    assert_eq!(
        settings(log),
        [
            "cleanup.policy=compact,delete",
            create_time,
            "retention.ms=-1",
            "segment.ms=1000"
        ]
    );
    let passed_on = ["cleanup.policy=delete", create_time, "retention.ms=-1"];
    assert_eq!(settings(plain), passed_on);
    assert_eq!(
        settings(changelog),
        [
            "cleanup.policy=compact",
            create_time,
            "min.compaction.lag.ms=86400000",
            "min.insync.replicas=2"
        ]
    );
}

#[test]
fn the_topic_of_the_workers_is_made_when_they_need_one() {
    let x = || topic!(named "x", String);
    let stateful = build(
        &[mentions(agent("a", x()), &["COUNTS"])],
        &[],
        &[table!(COUNTS, "counts")],
    );
    let with = |workers| PlanDefaults {
        workers,
        replication: Some(3),
        ..PlanDefaults::default()
    };
    let created = |topology: &Topology, defaults| {
        let plan = topology
            .plan(&broker(&[("x", 4)]), &defaults)
            .expect("counts agree");
        plan.create
    };
    let names_of = |specs: &[TopicSpec]| specs.iter().map(|spec| spec.name.clone()).collect::<Vec<_>>();
    assert_eq!(
        names_of(&created(&stateful, with(false))),
        ["app-counts-changelog"]
    );
    let both = created(&stateful, with(true));
    assert_eq!(names_of(&both), ["app-counts-changelog", "app-workers"]);
    assert_eq!((both[1].partitions, both[1].replication), (1, Some(3)));
    assert_eq!(config(&both[1], "cleanup.policy"), Some("compact"));
    let stateless = build(&[agent("a", x())], &[], &[]);
    assert_eq!(names_of(&created(&stateless, with(true))), Vec::<String>::new());
}

#[test]
fn a_topic_that_has_the_name_of_the_workers_is_refused() {
    let workers =
        topic!(WORKERS, "workers", String => String, ownership: Internal, location: at("src/t.rs", 4));
    let topology = build(
        &[mentions(agent("a", workers), &["COUNTS"])],
        &[],
        &[table!(COUNTS, "counts")],
    );
    let defaults = PlanDefaults {
        workers: true,
        ..PlanDefaults::default()
    };
    assert_eq!(
        message(topology.plan(&BTreeMap::new(), &defaults)),
        "topic `workers` (src/t.rs:4) is `app-workers` on the broker, and with `standby_replicas` or `restore_ahead` the \
         workers tell each other in `app-workers` what they hold: give the topic another name"
    );
    assert!(topology.plan(&BTreeMap::new(), &PlanDefaults::default()).is_ok());
}

#[test]
fn topics_that_exist_are_checked_instead_of_created() {
    let colors = topic!(COLORS, "colors", String => String, ownership: Internal);
    let topology = build(
        &[mentions(agent("a", colors), &["COUNTS"])],
        &[],
        &[table!(COUNTS, "counts")],
    );
    let plan = plan(&topology, &[("app-colors", 3), ("app-counts-changelog", 8)]);
    assert!(plan.create.is_empty());
    assert_eq!(
        names(&plan.check),
        [("app-colors", 8), ("app-counts-changelog", 8)]
    );
    assert_eq!(config(&plan.check[0], "cleanup.policy"), Some("delete"));
    assert_eq!(config(&plan.check[1], "cleanup.policy"), Some("compact"));
    assert_eq!(config(&plan.check[1], "message.timestamp.type"), None);
}

#[test]
fn a_topic_that_exists_with_another_count_or_policy() {
    let spec = TopicSpec {
        name: "app-counts-changelog".to_owned(),
        partitions: 8,
        replication: None,
        config: vec![("cleanup.policy".to_owned(), "compact,delete".to_owned())],
    };
    let policy = |policy: &str| [("cleanup.policy".to_owned(), policy.to_owned())];
    assert!(check_existing(&spec, 8, &policy("delete, compact")).is_empty());
    assert!(check_existing(&spec, 8, &[]).is_empty());
    let complaints = check_existing(&spec, 3, &policy("delete"));
    let [count, cleanup] = &complaints[..] else {
        panic!("two complaints: {complaints:?}")
    };
    assert!(
        count.contains("has 3 partitions on the broker and this program needs 8 partitions"),
        "{count}"
    );
    assert!(
        cleanup.contains("has `cleanup.policy=delete` on the broker and this program needs `compact,delete`"),
        "{cleanup}"
    );
}

#[test]
fn dead_letters_are_kept_and_those_of_others_are_not_created() {
    let failed = || {
        static FAILED: TopicDef = TopicDef::__dead_letters("orders-failed", at("src/ship.rs", 1));
        &FAILED
    };
    let giving_up = |name, topic: TopicUse| AgentParts {
        on_error: OnError {
            then: Verdict::DeadLetter(topic),
            ..OnError::DEFAULT
        },
        ..agent(name, topic!(named "orders", String))
    };
    let topology = build(
        &[giving_up("bill", dead_letters), giving_up("ship", failed)],
        &[],
        &[],
    );
    let plan = topology
        .plan(&broker(&[("orders", 3)]), &PlanDefaults::default())
        .expect("fits together");
    let [spec] = &plan.create[..] else {
        panic!("{:?}", plan.create);
    };
    assert_eq!((&*spec.name, spec.partitions), ("app-dead-letters", 8));
    assert!(
        spec.config
            .contains(&("retention.ms".to_owned(), "-1".to_owned()))
    );
    let missing: Vec<_> = plan
        .missing_external
        .iter()
        .map(|at| topology.topics[*at].declared)
        .collect();
    assert_eq!(missing, ["orders-failed"]);
}
