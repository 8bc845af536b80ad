//! What is refused, one mistake a test, and what the reader is told.

use super::*;
use crate::agent::Verdict;
use crate::agent::dead_letter::dead_letters;

#[track_caller]
fn check(message: &str, expected: &str) {
    assert_eq!(message, expected);
}

#[test]
fn no_agents() {
    let message = refused(&[], &[], &[]);
    assert!(message.starts_with("this program has no agents."), "{message}");
    assert!(message.contains("`use your_crate as _;`"), "{message}");
}

#[test]
fn two_agents_of_one_name() {
    let input = topic!(named "input", String);
    let second = AgentParts {
        location: at("src/other.rs", 7),
        ..agent("count", input)
    };
    check(
        &refused(&[second, agent("count", input)], &[], &[]),
        "two agents are named `count`: src/count.rs:10 and src/other.rs:7; give one another name by `name = \"…\"`",
    );
}

#[test]
fn two_topics_of_one_name() {
    let one = topic!(ONE, "colors", String => String, location: at("src/a.rs", 1));
    // The second has other types: that is not reported as well.
    let two = topic!(TWO, "colors", u64 => u64, location: at("src/b.rs", 2));
    let reader = agent("a", topic!(named "colors", String));
    check(
        &refused(&[reader], &[two, one], &[]),
        "two topics are named `colors`: src/a.rs:1 and src/b.rs:2; give one another name by `name = \"…\"`",
    );
}

#[test]
fn three_tables_of_one_name() {
    let tables = [
        table!(A, "counts", location: at("src/c.rs", 3)),
        table!(B, "counts", location: at("src/a.rs", 1)),
        table!(C, "counts", location: at("src/b.rs", 2)),
    ];
    check(
        &refused(&[agent("a", topic!(named "input", String))], &[], &tables),
        "3 tables are named `counts`: src/a.rs:1, src/b.rs:2 and src/c.rs:3; give one another name by `name = \"…\"`",
    );
}

#[test]
fn everything_is_said_at_once_and_in_order() {
    let input = topic!(named "input", String);
    let agents = [
        agent("b", input),
        agent("a", input),
        agent("b", input),
        agent("a", input),
    ];
    check(
        &refused(&agents, &[], &[]),
        "2 things are wrong with this program:\
         \n1. two agents are named `a`: src/a.rs:10 and src/a.rs:10; give one another name by `name = \"…\"`\
         \n2. two agents are named `b`: src/b.rs:10 and src/b.rs:10; give one another name by `name = \"…\"`",
    );
}

#[test]
fn two_strings_with_two_value_types() {
    let agents = [
        agent("a", topic!(named "input", String)),
        agent("b", topic!(named "input", u64)),
    ];
    check(
        &refused(&agents, &[], &[]),
        "topic `input` is used with two value types: `String` (auto) by agent `a` (src/a.rs:10), `u64` (auto) by \
         agent `b` (src/b.rs:10); one topic has one value type and codec: change one of the two",
    );
}

#[test]
fn a_string_and_a_static_with_two_codecs() {
    let declared = topic!(INPUT, "input", String => String as Json, location: at("src/t.rs", 3));
    check(
        &refused(&[agent("a", topic!(named "input", String))], &[declared], &[]),
        "topic `input` is used with two value codecs: `String` (json) by its declaration `INPUT` (src/t.rs:3), \
         `String` (auto) by agent `a` (src/a.rs:10); name it by its static, `INPUT`, or change one of the two",
    );
}

#[test]
fn two_key_types() {
    let agents = [
        agent("a", topic!(named "input", String => u64)),
        agent("b", topic!(named "input", u64)),
        agent("c", topic!(named "input", u32 => u64)),
    ];
    check(
        &refused(&agents, &[], &[]),
        "topic `input` is used with two key types: `String` (auto) by agent `a` (src/a.rs:10), `u32` (auto) by \
         agent `c` (src/c.rs:10); one topic has one key type and codec: change one of the two",
    );
}

#[test]
fn types_whose_short_names_are_the_same_are_shown_in_full() {
    mod elsewhere {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct Order;
    }
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Order;
    let agents = [
        agent("a", topic!(named "input", elsewhere::Order)),
        agent("b", topic!(named "input", Order)),
    ];
    let message = refused(&agents, &[], &[]);
    assert!(
        message.contains("::elsewhere::Order` (auto) by agent `a`"),
        "{message}"
    );
}

#[test]
fn a_sink_with_other_keys_than_the_input() {
    let output = topic!(OUTPUT, "output", u64 => String);
    let forwards = sinks(agent("a", topic!(named "input", String => String)), &[output]);
    check(
        &refused(&[forwards], &[output], &[]),
        "agent `a` (src/a.rs:10) forwards the keys of its input to its sink, and they differ: topic `input` has \
         keys `String` (auto), topic `output` has `u64` (auto); send it yourself with `OUTPUT.send(&key, &value)` \
         instead of the sink",
    );
}

#[test]
fn a_sink_agrees_when_nobody_looks_at_keys() {
    let output = topic!(OUTPUT, "output", u64 => String);
    let forwards = sinks(agent("a", topic!(named "input", String)), &[output]);
    build(&[forwards], &[output], &[]);
}

#[test]
fn a_table_without_an_agent_and_two_sub_topologies() {
    let agents = [
        agent("a", topic!(named "x", String)),
        agent("b", topic!(named "y", String)),
    ];
    check(
        &refused(&agents, &[], &[table!(COUNTS, "counts")]),
        "table `counts` (src/tables.rs:5) is used by no agent that says so, and the program has 2 sub-topologies \
         it could belong to: name it in the attribute of the agents whose helper functions use it, \
         `tables = [COUNTS]`",
    );
}

#[test]
fn ids_that_cannot_begin_a_topic_name() {
    let agents = [agent("a", topic!(named "input", String))];
    for (app, fault) in [
        ("", "is empty"),
        ("word count", "contains ' '"),
        ("größe", "contains 'ö'"),
    ] {
        let message = message(build_as(app, &agents, &[], &[]));
        let expected = format!("the program's id {app:?} {fault}: its topics are named after it");
        assert!(message.starts_with(&expected), "{message}");
    }
}

#[test]
fn names_that_no_broker_takes() {
    let slash = refused(&[agent("a", topic!(named "orders/new", String))], &[], &[]);
    assert!(slash.contains("`orders/new`, contains '/'"), "{slash}");

    const LONG: &str = match std::str::from_utf8(&[b'x'; 240]) {
        Ok(long) => long,
        Err(_) => panic!("letters are text"),
    };
    let reader = agent("a", topic!(named "input", String));
    let message = refused(&[reader], &[], &[table!(LONG, LONG)]);
    assert!(
        message.contains("has 254 characters, 249 are possible"),
        "{message}"
    );
    build(&[agent("a", topic!(named LONG, String))], &[], &[]);
}

#[test]
fn an_internal_topic_named_by_its_name_on_the_broker() {
    let internal = topic!(COLORS, "colors", String => String, ownership: Ownership::Internal);
    let message = refused(
        &[agent("a", topic!(named "app-colors", String))],
        &[internal],
        &[],
    );
    assert!(
        message.contains("would both be `app-colors` on the broker"),
        "{message}"
    );
    assert!(
        message.contains("name a topic of this program by its static"),
        "{message}"
    );
}

#[test]
fn a_topic_that_takes_the_name_of_a_changelog() {
    let internal = topic!(C, "counts-changelog", String => String, ownership: Ownership::Internal);
    let message = refused(&[agent("a", internal)], &[internal], &[table!(COUNTS, "counts")]);
    assert!(
        message.contains("the changelog of table `counts` (src/tables.rs:5)"),
        "{message}"
    );
}

#[test]
fn names_that_differ_in_a_dot_only() {
    let dot = topic!(DOT, "a.b", String => String, ownership: Ownership::Internal);
    let line = topic!(LINE, "a_b", String => String, ownership: Ownership::Internal);
    let message = refused(&[agent("a", dot)], &[dot, line], &[]);
    assert!(message.contains("takes `.` and `_` for the same"), "{message}");
    // Two topics of others are theirs to name.
    build(
        &[
            agent("a", topic!(named "a.b", String)),
            agent("b", topic!(named "a_b", String)),
        ],
        &[],
        &[],
    );
}

/// The agent with its dead letters in the program's own topic.
fn giving_up(agent: AgentParts) -> AgentParts {
    AgentParts {
        on_error: OnError {
            then: Verdict::DeadLetter(dead_letters),
            ..OnError::DEFAULT
        },
        ..agent
    }
}

#[test]
fn dead_letters_that_come_back() {
    let reader = giving_up(agent("inspect", topic!(named "dead-letters", Vec<u8>)));
    check(
        &refused(&[reader], &[], &[]),
        "agent `inspect` (src/inspect.rs:10) sends its dead letters to the topic that it reads, `dead-letters`, and \
         would fail on them for ever: name another, `on_error = dead_letter(\"…\")`",
    );
}

#[test]
fn dead_letters_of_the_program_in_a_topic_of_others() {
    let declared = topic!(DEAD, "dead-letters", String => Vec<u8> as Raw, location: at("src/topics.rs", 3));
    check(
        &refused(
            &[giving_up(agent("ship", topic!(named "orders", String)))],
            &[declared],
            &[],
        ),
        "agent `ship` (src/ship.rs:10) sends its dead letters to the program's own topic `dead-letters`, which is \
         declared as a topic of others (src/topics.rs:3): declare it as `#[topic(internal)]`, or name it, \
         `on_error = dead_letter(\"dead-letters\")`",
    );
}

#[test]
fn dead_letters_that_replace_each_other() {
    let declared = topic!(DEAD, "dead-letters", String => Vec<u8> as Raw, ownership: Ownership::Internal,
        compact: true, location: at("src/topics.rs", 3));
    check(
        &refused(
            &[giving_up(agent("ship", topic!(named "orders", String)))],
            &[declared],
            &[],
        ),
        "agent `ship` (src/ship.rs:10) sends its dead letters to topic `dead-letters`, which is compacted \
         (src/topics.rs:3): of those of one key the last alone would be kept; declare it without `compact`",
    );
}
