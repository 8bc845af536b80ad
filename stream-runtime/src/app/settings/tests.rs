//! Layers, names, values and what must hold between them.

mod fuzz;
mod properties;

use super::*;

fn layer(name: &str, values: &[(&str, &str)]) -> Layer {
    let mut layer = Layer::new(name);
    for (key, value) in values {
        layer.put(*key, value);
    }
    layer
}

fn resolve(layers: &[Layer]) -> Settings {
    Settings::resolve("colors", layers).expect("the layers are right")
}

fn refusal(layers: &[Layer]) -> String {
    Settings::resolve("colors", layers)
        .expect_err("the layers are wrong")
        .to_string()
}

fn refusal_of(key: &str, value: &str) -> String {
    refusal(&[layer("code", &[(key, value)])])
}

fn environment(variables: &[(&str, &str)]) -> Layer {
    Layer::from_env(
        variables
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned())),
    )
}

#[test]
fn defaults_are_right_and_carry_the_id() {
    let settings = resolve(&[]);
    assert_eq!(settings.broker, "kafka://localhost:9092");
    assert_eq!(settings.datadir, PathBuf::from("colors-data"));
    assert_eq!(settings.commit_interval(), Duration::from_secs(1));
    assert_eq!(settings.max_poll_interval, Duration::from_secs(300));
    assert_eq!(settings.replication, None);
    assert_eq!(settings.source("broker"), "default");
}

#[test]
fn later_layers_win_and_every_value_knows_its_place() {
    let file =
        Layer::from_toml("threads = 2\nstore = 'memory://'\nlog = 'info'\n", "stream.toml").expect("TOML");
    let settings = resolve(&[
        layer("code", &[("threads", "1"), ("partitions", "4"), ("log", "error")]),
        file,
        environment(&[
            ("STREAM_THREADS", "3"),
            ("STREAM_CONFIG", "elsewhere.toml"),
            ("STREAM_TEST_KAFKA", "localhost:9092"),
            ("HOME", "/"),
        ]),
        layer("--threads", &[("threads", "4")]),
    ]);
    assert_eq!(
        (settings.threads, settings.partitions, settings.log.as_str()),
        (4, 4, "info")
    );
    assert_eq!(settings.source("threads"), "--threads");
    assert_eq!(settings.source("partitions"), "code");
    assert_eq!(settings.source("log"), "stream.toml:3");
}

#[test]
fn unknown_names_in_every_layer_are_errors_with_the_nearest() {
    let file = Layer::from_toml("threads = 2\n\ncomit_interval = '1s'\n", "stream.toml").expect("TOML");
    let text = refusal(&[
        layer("code", &[("brokr", "embedded://")]),
        file,
        environment(&[("STREAM_DATA_DIR", "x")]),
        layer("--set", &[("threds", "2")]),
    ]);
    assert_eq!(
        text,
        "4 settings are wrong:\n  \
         there is no setting `brokr`, did you mean `broker`? (code)\n  \
         there is no setting `comit_interval`, did you mean `commit_interval`? (stream.toml:3)\n  \
         there is no setting `data_dir`, did you mean `datadir`? (STREAM_DATA_DIR)\n  \
         there is no setting `threds`, did you mean `threads`? (--set)"
    );
}

#[test]
fn a_name_like_no_other_is_answered_with_all() {
    let text = refusal_of("qqq", "1");
    assert!(
        text.contains("there is no setting `qqq`; the settings are broker, store,"),
        "{text}"
    );
    assert!(text.contains("`kafka.<name>` for the client's own"), "{text}");
}

#[test]
fn values_that_do_not_parse_say_what_would() {
    assert_eq!(
        refusal_of("commit_interval", "10"),
        "`commit_interval` (code): `10` is not a duration: write a whole number and its unit, such as 250ms, 10s, 5m, \
         1h, 7d"
    );
    assert_eq!(
        refusal_of("replication", "-1"),
        "`replication` (code): `-1` is not a whole number from 0 to 65535"
    );
}

#[test]
fn durations_have_units() {
    for (text, millis) in [
        ("250ms", 250),
        ("10s", 10_000),
        ("5 m", 300_000),
        ("1h", 3_600_000),
        ("0s", 0),
    ] {
        assert_eq!(Duration::parse(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in [
        "",
        "s",
        "10",
        "1.5s",
        "-1s",
        "1 week",
        "1h30m",
        "99999999999999999999s",
        "18446744073709551615d",
    ] {
        assert!(Duration::parse(text).is_err(), "{text}");
    }
}

#[test]
fn sizes_have_units() {
    for (text, bytes) in [
        ("512KiB", 512 << 10),
        ("256MiB", 256 << 20),
        ("2 GiB", 2 << 30),
        ("1TiB", 1 << 40),
        ("1500B", 1500),
        ("0B", 0),
    ] {
        assert_eq!(Size::parse(text), Ok(Size::from_bytes(bytes)), "{text}");
    }
    for text in ["", "256", "256MB", "256 mib", "-1KiB", "1.5GiB", "16777216TiB"] {
        assert!(Size::parse(text).is_err(), "{text}");
    }
    for text in ["512KiB", "1536KiB", "256MiB", "2GiB", "1500B", "0B"] {
        assert_eq!(Size::parse(text).map(|size| size.write()).as_deref(), Ok(text));
    }
    assert_eq!(resolve(&[]).memory_budget, Size::from_bytes(256 << 20));
    assert_eq!(
        refusal_of("memory_budget", "1MiB"),
        "`memory_budget` (code): 1MiB is too little to work with; give 16MiB at least"
    );
}

#[test]
fn what_is_written_is_read_again() {
    for text in ["250ms", "1500ms", "10s", "90s", "5m", "1h", "7d", "0ms"] {
        assert_eq!(
            Duration::parse(text).map(|duration| duration.write()).as_deref(),
            Ok(text)
        );
    }
}

#[test]
fn addresses() {
    let kafka = |bootstrap: &str| BrokerAddress::Kafka {
        bootstrap: bootstrap.to_owned(),
    };
    for (text, address) in [
        ("kafka://localhost:9092", kafka("localhost:9092")),
        ("kafka://a", kafka("a:9092")),
        ("kafka://a:1,b , c:3/", kafka("a:1,b:9092,c:3")),
        ("kafka://a:1,kafka://b:2", kafka("a:1,b:2")),
        (
            "kafka://[::1]:19092,[fe80::1]",
            kafka("[::1]:19092,[fe80::1]:9092"),
        ),
    ] {
        assert_eq!(text.parse(), Ok(address), "{text}");
    }
}

#[cfg(feature = "embedded")]
#[test]
fn embedded_addresses() {
    for (text, port) in [
        ("embedded://", 0),
        ("embedded://127.0.0.1:9093", 9093),
        ("embedded://localhost", 0),
        ("embedded://:0", 0),
    ] {
        assert_eq!(text.parse(), Ok(BrokerAddress::Embedded { port }), "{text}");
    }
}

#[test]
fn addresses_that_are_none_say_why() {
    for (text, part) in [
        ("localhost:9092", "has no scheme; write `kafka://localhost:9092`"),
        ("amqp://a", "there is no broker `amqp://`"),
        ("kafka://", "a host is missing"),
        ("kafka://a:9092,", "a host is missing"),
        ("kafka://a:http", "`http` is not a port"),
        ("kafka://a:70000", "`70000` is not a port"),
        ("kafka://me:secret@a:1", "no credentials"),
        ("kafka://a:1/topic", "goes on behind the port"),
    ] {
        let problem = text.parse::<BrokerAddress>().expect_err(text);
        assert!(problem.contains(part), "{text}: {problem}");
    }
}

#[cfg(feature = "embedded")]
#[test]
fn the_embedded_broker_is_of_this_machine_alone() {
    let text = refusal_of("broker", "embedded://0.0.0.0:9092");
    assert!(
        text.starts_with("`broker` (code): the embedded broker serves this machine alone"),
        "{text}"
    );
}

#[test]
fn the_clients_settings_come_from_every_layer() {
    let file = Layer::from_toml(
        "[kafka]\n\"linger.ms\" = 5\nsocket.keepalive.enable = true\ncompression.type = 'lz4'\nacks = -1\n",
        "stream.toml",
    )
    .expect("TOML");
    let settings = resolve(&[
        file,
        environment(&[("STREAM_KAFKA__LINGER_MS", "1")]),
        layer("--set", &[("linger.ms", "0"), ("kafka.debug", "cgrp")]),
    ]);
    let raw: Vec<_> = settings
        .kafka
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        raw,
        [
            "acks=-1",
            "compression.type=lz4",
            "debug=cgrp",
            "linger.ms=0",
            "socket.keepalive.enable=true"
        ]
    );
}

#[test]
fn the_clients_settings_that_are_ours_are_refused() {
    let file = Layer::from_toml("[kafka]\nenable.auto.commit = true\n", "stream.toml").expect("TOML");
    let text = refusal(&[file, layer("--set", &[("group.id", "x")])]);
    assert!(
        text.contains("the client's `enable.auto.commit` is not to be set: offsets are"),
        "{text}"
    );
    assert!(text.contains("(stream.toml:2)"), "{text}");
    assert!(
        text.contains("the client's `group.id` is not to be set: it is the program's id (--set)"),
        "{text}"
    );
}

#[test]
fn a_file_that_is_wrong_says_where() {
    let refusal = |text: &str| {
        Layer::from_toml(text, "stream.toml")
            .expect_err("it is wrong")
            .to_string()
    };
    assert!(refusal("threads = 2\nbroker = \n").starts_with("stream.toml:2: "));
    assert_eq!(
        refusal("[web]\nport = 1\n"),
        "stream.toml:1: there is no table `web`; the only one is [kafka]"
    );
    assert_eq!(
        refusal("broker = ['a', 'b']\n"),
        "stream.toml:1: `broker` takes a single value"
    );
    assert_eq!(
        refusal("\nkafka = 1\n"),
        "stream.toml:2: `kafka` is a table: write [kafka]"
    );
    let missing = Layer::from_file(Path::new("no-such-file.toml"))
        .expect_err("it is missing")
        .to_string();
    assert!(
        missing.starts_with("cannot read no-such-file.toml: "),
        "{missing}"
    );
}

#[test]
fn stores_that_do_not_exist_are_refused() {
    if cfg!(feature = "rocksdb") {
        resolve(&[layer("code", &[("store", "rocksdb://")])]);
    } else {
        assert_eq!(
            refusal_of("store", "rocksdb://"),
            "`store` (code): this build has no RocksDB: give the dependency `stream-runtime` the feature `rocksdb`, or \
             use `memory://`"
        );
    }
    assert!(
        refusal_of("store", "rocksdb:///var/lib/x")
            .contains("`/var/lib/x`; the directory is the setting `datadir`")
    );
    assert!(refusal_of("store", "redis://x").contains("there is no store `redis://`"));
    assert!(refusal_of("store", "memory").contains("`memory` names no store"));
}

#[test]
fn levels_and_filters() {
    for filter in [
        "info",
        "DEBUG",
        "off",
        "warn,stream_runtime=debug",
        "info,rdkafka=off",
    ] {
        resolve(&[layer("code", &[("log", filter)])]);
    }
    assert_eq!(
        refusal_of("log", "inof"),
        "`log` (code): `inof` is not a level: did you mean `info`?"
    );
    assert_eq!(
        refusal_of("log", "info,colors=loud"),
        "`log` (code): `loud` is not a level: the levels are off, error, warn, info, debug, trace"
    );
}

#[test]
fn values_that_do_not_fit_together_are_refused_at_once() {
    let text = refusal(&[layer(
        "code",
        &[
            ("heartbeat_interval", "50s"),
            ("session_timeout", "45s"),
            ("max_poll_interval", "40s"),
            ("threads", "0"),
            ("commit_interval", "0s"),
        ],
    )]);
    for part in [
        "`heartbeat_interval` (code): 50s must be shorter than `session_timeout` (45s)",
        "`session_timeout` (code): 45s is longer than `max_poll_interval` (40s)",
        "`threads` (code): there must be one thread at least",
        "`commit_interval` (code): must be longer than nothing",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(text.starts_with("4 settings are wrong:"), "{text}");
}

#[test]
fn the_reserved_port_and_odd_instances_are_refused() {
    assert!(refusal_of("web_port", "6066").contains("the name is reserved"));
    assert!(refusal_of("instance_id", "a b").contains("`instance_id` (code): may hold letters"));
}

#[test]
fn rows_show_every_setting_in_order() {
    let settings = resolve(&[layer("code", &[("replication", "3")])]);
    let rows = settings.rows();
    assert_eq!(rows.len(), SETTINGS.len());
    assert!(
        rows.iter()
            .zip(SETTINGS)
            .all(|(row, setting)| row.0 == setting.name)
    );
    assert!(rows.contains(&("replication", "3".to_owned(), "code")));
}
