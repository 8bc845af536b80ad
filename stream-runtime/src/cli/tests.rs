//! Command lines as they are typed, and what is printed for them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::*;
use crate::agent::dead_letter::{Provenance, dead_letters};
use crate::agent::def::{self, AgentParts};
use crate::agent::{AgentDef, OnError, Verdict};
use crate::app::settings::Layer;
use crate::app::{Letter, Letters, Replay, ReplayReport, TopicsReport};
use crate::cluster::thread::Rows;
use crate::kafka::TopicSpec;
use crate::record::Location;
use crate::record::codecs::{Auto, Postcard};
use crate::record::topic::{AnyKey, AnyKeyCodec, Ownership, Topic, TopicOptions};
use crate::table::declare::declare_table;
use crate::table::{Table, TableEntry, TableOptions};
use crate::topology::Topology;

const HERE: Location = Location {
    file: "src/main.rs",
    line: 1,
    module: "colors",
};

static INPUT: Topic<AnyKey, String> = Topic::__new::<AnyKeyCodec, Auto>(TopicOptions::named("input", HERE));
static OUTPUT: Topic<String, u64> = Topic::__new::<Auto, Auto>(TopicOptions {
    ident: "OUTPUT",
    doc: " How often each colour was seen. For the dashboard.",
    ..TopicOptions::named("output", HERE)
});
static COLORS: Topic<String, String> = Topic::__new::<Auto, Auto>(TopicOptions {
    ident: "COLORS",
    ownership: Ownership::Internal,
    doc: " Colours worth counting.",
    ..TopicOptions::named("colors", HERE)
});
static COUNT: Table<String, u64> = declare_table::<_, _, Postcard>(
    TableOptions {
        name: "colors-count",
        ident: "COLORS_COUNT",
        config: &[],
        doc: " How many times each colour\n has been seen.",
        location: HERE,
    },
    u64::default,
);
const PLAIN: AgentParts = AgentParts {
    name: "",
    location: HERE,
    input: || INPUT.def(),
    ..def::tests::PLAIN
};
static FILTER: AgentDef = AgentDef::__new(AgentParts {
    name: "filter_colors",
    doc: " Keeps red, green and blue.",
    mentions: &["COLORS"],
    ..PLAIN
});
static COUNTER: AgentDef = AgentDef::__new(AgentParts {
    name: "count_colors",
    input: || COLORS.def(),
    sinks: &[|| OUTPUT.def()],
    mentions: &["COLORS_COUNT"],
    ..PLAIN
});

static CHECK: AgentDef = AgentDef::__new(AgentParts {
    name: "check_colors",
    on_error: OnError {
        then: Verdict::DeadLetter(dead_letters),
        ..OnError::DEFAULT
    },
    ..PLAIN
});

/// A program that notes what it is asked for.
#[derive(Debug)]
struct Colors {
    code: Layer,
    demo: bool,
    gives_up: bool,
    asked: Rc<RefCell<Vec<String>>>,
}

impl Colors {
    fn ask(&self, what: String) {
        self.asked.borrow_mut().push(what);
    }
}

impl Program for Colors {
    fn id(&self) -> &str {
        "colors"
    }

    fn layer(&self) -> &Layer {
        &self.code
    }

    fn has_demo(&self) -> bool {
        self.demo
    }

    fn topology(&self) -> Result<Topology> {
        let table = TableEntry::__new(|| COUNT.def(), || Table::__open(&COUNT));
        let agents: &[_] = match self.gives_up {
            true => &[&FILTER, &COUNTER, &CHECK],
            false => &[&FILTER, &COUNTER],
        };
        Topology::build("colors", agents, &[OUTPUT.def(), COLORS.def()], &[table])
    }

    fn run_worker(self, settings: &Settings, options: WorkerOptions) -> Result<Rows> {
        self.ask(format!(
            "worker broker={} threads={} commit={:?} demo={} quiet={}",
            settings.broker,
            settings.threads,
            settings.commit_interval(),
            options.demo,
            options.quiet
        ));
        Ok(Rows::from([(
            "colors-count",
            vec![("red".to_owned(), "2".to_owned())],
        )]))
    }

    fn run_broker(self, _: &Settings, port: u16) -> Result<()> {
        self.ask(format!("broker port={port}"));
        Ok(())
    }

    fn send(&self, _: &Settings, request: SendRequest) -> Result<u64> {
        let mut count = 0;
        for value in request.values {
            let value = value?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let key = request.key.as_deref().map(text);
            self.ask(format!(
                "send topic={} key={key:?} value={}",
                request.topic,
                text(&value)
            ));
            count += 1;
        }
        Ok(count)
    }

    fn topics(&self, _: &Settings, action: TopicsAction) -> Result<TopicsReport> {
        self.ask(format!("topics {action:?}"));
        let spec = |name: &str| TopicSpec {
            name: name.to_owned(),
            partitions: 4,
            replication: None,
            config: vec![("cleanup.policy".to_owned(), "compact".to_owned())],
        };
        Ok(TopicsReport {
            missing: vec![spec("output")],
            to_create: vec![spec("colors-colors-count-changelog")],
            present: vec![spec("colors-colors")],
            counts: [("colors-colors".to_owned(), 3), ("input".to_owned(), 2)].into(),
            complaints: Vec::new(),
        })
    }

    fn dead_letters(&self, _: &Settings, topic: &Arc<str>, limit: usize) -> Result<Letters> {
        self.ask(format!("dead letters of {topic}, {limit} at most"));
        Ok(Letters {
            letters: vec![letter()],
            ..Letters::default()
        })
    }

    fn replay(&self, _: &Settings, topic: &Arc<str>, replay: &Replay) -> Result<ReplayReport> {
        self.ask(format!("replay {topic} {replay:?}"));
        Ok(ReplayReport {
            letters: if replay.dry_run {
                vec![letter()]
            } else {
                Vec::new()
            },
            ..ReplayReport::default()
        })
    }
}

fn letter() -> Letter {
    Letter {
        partition: 2,
        offset: 17,
        key: Some(b"red".to_vec()),
        provenance: Provenance {
            app: "colors".to_owned(),
            agent: "filter_colors".to_owned(),
            topic: "input".to_owned(),
            partition: 1,
            offset: 4,
            timestamp: Some(5),
            error: "panic".to_owned(),
            message: "no\nsuch colour".to_owned(),
            attempts: 3,
            failed_at: 1_769_860_805_000,
            replays: 1,
        },
        replayed: false,
    }
}

/// What came of a command line.
#[derive(Debug)]
struct Seen {
    printed: String,
    asked: Vec<String>,
    outcome: Result<()>,
}

fn program(demo: bool) -> Colors {
    let mut code = Layer::new("code");
    code.put("broker", "embedded://");
    Colors {
        code,
        demo,
        gives_up: false,
        asked: Rc::default(),
    }
}

fn read(program: &Colors, line: &str) -> std::result::Result<Cli, clap::Error> {
    let words = std::iter::once("colors").chain(line.split_whitespace());
    Cli::read(program, words.map(OsString::from).collect())
}

fn run(line: &str) -> Seen {
    // The one that has dead letters is asked for them.
    run_as(
        Colors {
            gives_up: line.starts_with("dlq"),
            ..program(true)
        },
        line,
    )
}

fn run_as(program: Colors, line: &str) -> Seen {
    let asked = Rc::clone(&program.asked);
    let cli = read(&program, line).expect("the command line is right");
    let mut printed = Vec::new();
    let outcome = cli.run(
        program,
        &mut Screen {
            out: &mut printed,
            style: Style::Plain,
            variables: vec![("STREAM_THREADS".to_owned(), "2".to_owned())],
        },
    );
    Seen {
        printed: String::from_utf8(printed).expect("text is printed"),
        asked: asked.take(),
        outcome,
    }
}

#[track_caller]
fn asked(line: &str) -> Vec<String> {
    let seen = run(line);
    seen.outcome.expect("the command succeeds");
    seen.asked
}

#[track_caller]
fn printed(line: &str) -> String {
    let seen = run(line);
    seen.outcome.expect("the command succeeds");
    seen.printed
}

fn refused(line: &str) -> String {
    let error = read(&program(false), line).expect_err("the command line is wrong");
    assert_eq!(error.exit_code(), 2, "{error}");
    error.to_string()
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command_of(&program(true)).debug_assert();
    Cli::command_of(&program(false)).debug_assert();
}

#[test]
fn without_a_command_a_worker_runs() {
    let plain = "worker broker=embedded:// threads=2 commit=1s demo=false quiet=true";
    assert_eq!(asked("-q"), [plain]);
    assert_eq!(asked("worker -q"), [plain]);
    assert_eq!(asked("-q worker"), [plain]);
}

#[test]
fn flags_stand_before_or_behind_the_command_and_win() {
    let wanted = "worker broker=kafka://a:1 threads=3 commit=250ms demo=true quiet=true";
    assert_eq!(
        asked("-q --broker kafka://a:1 --threads 3 --set commit_interval=250ms --demo"),
        [wanted]
    );
    assert_eq!(
        asked("--broker kafka://a:1 worker --threads=3 --commit-interval 250ms --demo -q"),
        [wanted]
    );
}

#[test]
fn a_worker_shows_its_tables_at_the_end() {
    assert_eq!(printed("-q"), "key  value\nred  2\n");
}

#[test]
fn every_setting_is_a_flag() {
    let help = Cli::command_of(&program(false)).render_long_help().to_string();
    for setting in crate::app::settings::SETTINGS {
        let shown = help.contains(&format!("--{} ", setting.flag()));
        assert_eq!(shown, setting.name != "web_port", "{}", setting.name);
    }
}

#[test]
fn the_short_help_stays_short() {
    let help = Cli::command_of(&program(false)).render_help().to_string();
    assert!(help.contains("-l, --log <TEXT>"), "{help}");
    assert!(
        !help.contains("--session-timeout") && !help.contains("--demo"),
        "{help}"
    );
    assert!(
        Cli::command_of(&program(true))
            .render_help()
            .to_string()
            .contains("--demo")
    );
}

#[test]
fn what_is_mistyped_is_suggested() {
    let text = refused("agnets");
    assert!(text.contains("a similar subcommand exists: 'agents'"), "{text}");
    let text = refused("--thread 2");
    assert!(text.contains("a similar argument exists: '--threads'"), "{text}");
    assert!(refused("--set linger.ms").contains("write `--set name=value`"));
}

#[test]
fn flags_of_the_worker_belong_to_the_worker() {
    assert!(refused("--demo").contains("this program defines no demo feed"));
    assert!(refused("worker --demo").contains("this program defines no demo feed"));
    assert!(refused("-q agents").contains("belong to the worker"));
}

#[test]
fn settings_that_are_wrong_are_errors_of_the_reader() {
    let error = run("--set thraeds=2").outcome.expect_err("two are wrong");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.to_string(),
        "there is no setting `thraeds`, did you mean `threads`? (--set)"
    );
    let error = run("--web-port 80").outcome.expect_err("it is reserved");
    assert!(
        error
            .to_string()
            .starts_with("`web_port` (--web-port): the name is reserved")
    );
    let error = run("--config no-such.toml").outcome.expect_err("it is missing");
    assert!(error.to_string().starts_with("cannot read no-such.toml"));
}

#[test]
fn agents_are_listed() {
    assert_eq!(
        printed("agents"),
        "\
agent          reads          writes         tables        description
count_colors   colors-colors  output         colors-count
filter_colors  input          colors-colors                Keeps red, green and blue.
"
    );
}

#[test]
fn tables_are_listed() {
    assert_eq!(
        printed("tables"),
        "\
table         key     value  agents        changelog                      description
colors-count  String  u64    count_colors  colors-colors-count-changelog  How many times each colour has been seen.
"
    );
}

#[test]
fn topics_are_listed() {
    assert_eq!(
        printed("topics"),
        "\
topic                          kind       key     value   read by        written by     description
colors-colors                  internal   String  String  count_colors   filter_colors  Colours worth counting.
input                          external           String  filter_colors
output                         external   String  u64                    count_colors   How often each colour was seen.
colors-colors-count-changelog  changelog  String  u64                                   Changelog of colors-count.
"
    );
}

#[test]
fn listings_are_json_as_well() {
    let json: serde_json::Value = serde_json::from_str(&printed("agents --json")).expect("it is JSON");
    assert_eq!(json[0]["agent"], "count_colors");
    assert_eq!(json[0]["writes"], serde_json::json!(["output"]));
    assert_eq!(json[1]["tables"], serde_json::json!([]));
    assert_eq!(json[0]["description"], serde_json::Value::Null);
    let json: serde_json::Value = serde_json::from_str(&printed("topics --json")).expect("it is JSON");
    assert_eq!(json[0]["read_by"], serde_json::json!(["count_colors"]));
}

#[test]
fn topics_are_compared_with_the_brokers() {
    let seen = run("topics --check");
    assert_eq!(seen.asked, ["topics Check"]);
    assert_eq!(
        seen.printed,
        "\
topic                          kind       partitions  state
colors-colors                  internal   3           there
input                          external   2           there
output                         external               missing
colors-colors-count-changelog  changelog  4           missing
"
    );
    let error = seen.outcome.expect_err("two are missing");
    assert_eq!(error.kind(), ErrorKind::Topology);
    assert!(
        error
            .to_string()
            .contains("topic `output` is missing: others create it"),
        "{error}"
    );
}

#[test]
fn topics_are_created_or_their_commands_printed() {
    let seen = run("topics --create --json");
    assert_eq!(seen.asked, ["topics Create"]);
    let json: serde_json::Value = serde_json::from_str(&seen.printed).expect("it is JSON");
    assert_eq!(json[3]["state"], "created");
    assert!(seen.outcome.is_ok());

    assert_eq!(
        printed("topics --print --broker embedded://:9092"),
        "kafka-topics.sh --bootstrap-server 127.0.0.1:9092 --create --if-not-exists --topic \
         colors-colors-count-changelog --partitions 4 --config cleanup.policy=compact\n"
    );
    assert!(refused("topics --check --create").contains("cannot be used with"));
}

#[test]
fn the_topology_is_printed_in_four_forms() {
    assert!(printed("topology").contains("```mermaid"));
    assert!(printed("topology --format mermaid").starts_with("flowchart"));
    assert!(printed("topology --format dot").starts_with("digraph"));
    let json: serde_json::Value =
        serde_json::from_str(&printed("topology --format json")).expect("it is JSON");
    assert!(json.is_object());
    assert!(printed("topology --format json").ends_with("}\n"));
}

#[test]
fn records_are_sent_to_topics_and_agents() {
    assert_eq!(
        asked("send input red -k k"),
        ["send topic=input key=Some(\"k\") value=red"]
    );
    assert_eq!(
        asked("send colors red -k red"),
        ["send topic=colors-colors key=Some(\"red\") value=red"]
    );
    assert_eq!(
        asked("send colors-colors red -k red"),
        asked("send @count_colors red -k red")
    );
    assert_eq!(
        asked("send output -5 -k red"),
        ["send topic=output key=Some(\"red\") value=-5"]
    );
    assert_eq!(asked("send input red"), ["send topic=input key=None value=red"]);
}

#[test]
fn a_topic_with_keys_is_not_sent_records_without_one() {
    let error = run("send colors red").outcome.expect_err("there is no key");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("`--key`"), "{error}");
}

#[test]
fn targets_that_are_unknown_are_answered_with_the_known() {
    let refused = |line: &str| {
        let error = run(line).outcome.expect_err("nothing is called so");
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    };
    assert_eq!(
        refused("send imput red"),
        "this program has no topic `imput`, did you mean `input`? Its topics:\n  colors\n  input\n  output"
    );
    assert_eq!(
        refused("send @zzz red"),
        "this program has no agent `zzz`. Its agents:\n  @count_colors\n  @filter_colors"
    );
}

#[test]
fn values_that_cannot_be_read_are_not_sent() {
    let seen = run("send output red -k red");
    let error = seen.outcome.expect_err("a number is wanted");
    assert!(
        error
            .to_string()
            .starts_with("the values of topic `output` are `u64` in JSON, and `red` is none"),
        "{error}"
    );
    assert!(seen.asked.is_empty());
}

#[test]
fn the_brokers_port_is_a_flag_or_that_of_the_setting() {
    assert_eq!(asked("broker"), ["broker port=9092"]);
    assert_eq!(asked("broker --broker embedded://:9100"), ["broker port=9100"]);
    assert_eq!(asked("broker --broker kafka://a:1"), ["broker port=9092"]);
    assert_eq!(asked("broker --port 9200"), ["broker port=9200"]);
    assert_eq!(asked("broker --port 0"), ["broker port=0"]);
}

#[test]
fn settings_are_listed_with_their_sources() {
    let text = printed("settings --set linger.ms=0 --commit-interval 2s");
    for line in [
        "broker embedded:// code",
        "threads 2 STREAM_THREADS",
        "commit_interval 2s --commit-interval",
        "session_timeout 45s default",
        "kafka.linger.ms 0 --set",
    ] {
        let words: Vec<_> = line.split(' ').collect();
        let found = text
            .lines()
            .any(|line| line.split_whitespace().collect::<Vec<_>>() == words);
        assert!(found, "{line}\n{text}");
    }
}

#[test]
fn completions_are_printed() {
    assert!(printed("completion bash").contains("complete -F"));
    assert!(refused("completion dosh").contains("possible values"));
}

#[test]
fn boxes_have_their_title_in_the_edge() {
    let mut listing = listing::Listing::new("Agents", &["agent", "reads"]);
    listing.row(["a".into(), "input".into()]);
    assert_eq!(
        listing.draw(Style::Box),
        "\
┌Agents─┬───────┐
│ agent │ reads │
├───────┼───────┤
│ a     │ input │
└───────┴───────┘
"
    );
}

#[test]
fn dead_letters_are_listed() {
    assert_eq!(
        asked("dlq list --limit 7"),
        ["dead letters of colors-dead-letters, 7 at most"]
    );
    assert_eq!(
        asked("dlq list dead-letters"),
        ["dead letters of colors-dead-letters, 100 at most"]
    );
    let error = run_as(program(true), "dlq list")
        .outcome
        .expect_err("it has none");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("on_error = dead_letter"), "{error}");
    assert_eq!(
        asked("dlq list elsewhere"),
        ["dead letters of elsewhere, 100 at most"]
    );
    assert_eq!(
        printed("dlq list"),
        "\
partition  offset  failed at            agent          from              error  attempts  replays  replayed  message
2          17      2026-01-31 12:00:05  filter_colors  input/1 offset 4  panic  3         1        no        no such colour
"
    );
    let json: serde_json::Value = serde_json::from_str(&printed("dlq list --json")).expect("JSON");
    assert_eq!(json[0]["from_topic"], "input");
    assert_eq!(json[0]["key"], "red");
    assert_eq!(json[0]["message"], "no\nsuch colour");
}

#[test]
fn dead_letters_are_replayed() {
    let seen = asked(
        "dlq replay --agent filter_colors --topic input --partition 2 --from-offset 5 --limit 1 --again",
    );
    for part in [
        "replay colors-dead-letters",
        "agent: Some(\"filter_colors\")",
        "source: Some(\"input\")",
        "partition: Some(2)",
        "from_offset: Some(5)",
        "limit: Some(1)",
        "again: true",
        "dry_run: false",
    ] {
        assert!(seen[0].contains(part), "{part}: {seen:?}");
    }
    assert!(printed("dlq replay --dry-run").contains("input/1 offset 4"));
    assert_eq!(printed("dlq replay"), "");
    assert!(refused("dlq replay --from-offset 5").contains("--partition"));
    assert!(refused("dlq").contains("Usage: colors dlq"));
}
