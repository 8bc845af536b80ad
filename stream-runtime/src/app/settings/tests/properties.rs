//! Values in their written forms, layers in any number, and texts that are none of it.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::value::Value;
use super::super::{BrokerAddress, Layer, SETTINGS, Settings, Size, format_duration};
use crate::tests::property::holds;

/// Whole numbers of every length, and those that units are made of.
fn numbers() -> impl Strategy<Value = u64> {
    let round = (
        0_u64..5000,
        prop_oneof![Just(1_000), Just(60_000), Just(86_400_000), Just(1 << 20)],
    );
    prop_oneof![
        any::<u64>(),
        0_u64..100_000,
        round.prop_map(|(number, unit): (u64, u64)| number * unit)
    ]
}

#[test]
fn a_duration_is_read_as_it_was_written() {
    holds(numbers(), |millis| {
        let duration = Duration::from_millis(millis);
        let text = format_duration(duration);
        prop_assert_eq!(<Duration as Value>::parse(&text), Ok(duration), "{}", text);
        prop_assert_eq!(<Option<Duration> as Value>::parse(&text), Ok(Some(duration)));
        Ok(())
    });
}

#[test]
fn a_size_is_read_as_it_was_written() {
    holds(numbers(), |bytes| {
        let size = Size::from_bytes(bytes);
        prop_assert_eq!(<Size as Value>::parse(&size.to_string()), Ok(size), "{}", size);
        Ok(())
    });
}

#[test]
fn a_number_and_a_unit_are_their_product_or_too_much() {
    let units = [
        ("ms", 1_u128),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
        ("B", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ];
    let strategy = (
        numbers(),
        prop::sample::select(units.to_vec()),
        " {0,2}",
        " {0,2}",
    );
    holds(strategy, |(number, (unit, factor), before, between)| {
        let text = format!("{before}{number}{between}{unit} ");
        let product = u64::try_from(u128::from(number) * factor).ok();
        let is_size = unit.ends_with('B');
        let duration = <Duration as Value>::parse(&text).ok();
        prop_assert_eq!(duration, product.filter(|_| !is_size).map(Duration::from_millis));
        let size = <Size as Value>::parse(&text).ok();
        prop_assert_eq!(size, product.filter(|_| is_size).map(Size::from_bytes));
        Ok(())
    });
}

/// Settings whose values stand for themselves, with values that fit together.
const FREE: [(&str, [&str; 3]); 6] = [
    ("broker", ["kafka://a:1", "kafka://b:2,c", "embedded://"]),
    ("threads", ["1", "2", "17"]),
    ("partitions", ["1", "12", "300"]),
    ("commit_interval", ["250ms", "2s", "1m"]),
    ("memory_budget", ["16MiB", "1GiB", "17000000B"]),
    ("instance_id", ["one", "two", ""]),
];

fn layers() -> impl Strategy<Value = Vec<Vec<(usize, usize)>>> {
    vec(vec((0..FREE.len(), 0..3_usize), 0..6), 0..5)
}

#[test]
fn the_last_of_the_layers_that_give_a_value_wins() {
    holds(layers(), |chosen| {
        let mut layers = Vec::new();
        let mut expected = std::collections::BTreeMap::new();
        for (number, values) in chosen.iter().enumerate() {
            let name = format!("layer {number}");
            let mut layer = Layer::new(name.as_str());
            for (setting, value) in values {
                let (setting, values) = FREE[*setting];
                layer.put(setting, values[*value]);
                expected.insert(setting, (values[*value], name.clone()));
            }
            layers.push(layer);
        }
        let settings = Settings::resolve("colors", &layers).expect("they fit together");
        for (name, value, source) in settings.rows() {
            match expected.get(name) {
                Some((text, layer)) => prop_assert_eq!((value.as_str(), source), (*text, layer.as_str())),
                None => prop_assert_eq!(source, "default"),
            }
        }
        // What is listed can be given again.
        let mut listed = Layer::new("listed");
        for (name, value, _) in settings.rows() {
            listed.put(name, value);
        }
        // A text that is empty is no text.
        let again = Settings::resolve("colors", &[listed]).expect("it was right");
        let values = |settings: &Settings| -> Vec<_> {
            let rows = settings.rows().into_iter();
            rows.map(|(name, value, _)| (name, value)).collect()
        };
        prop_assert_eq!(values(&again), values(&settings));
        Ok(())
    });
}

/// Texts that are now and then what a setting takes.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[0-9]{0,22} ?(ms|s|m|h|d|B|KiB|TiB|é)?",
        "(kafka|embedded|memory|rocksdb|é)?(://)?[\\[\\]a-b:0-9,/@é ]{0,9}",
        "([a-z_]{0,4}(\\[[a-z{=}\"]{0,5}\\])?=?(info|DEBUG|inof|é)?,?){0,3}",
    ]
}

#[test]
fn any_text_is_a_value_or_an_error_that_names_the_setting() {
    let settings = prop::sample::select(SETTINGS.iter().map(|setting| setting.name).collect::<Vec<_>>());
    holds((settings, texts()), |(name, text)| {
        let mut layer = Layer::new("code");
        layer.put(name, &text);
        match Settings::resolve("colors", &[layer]) {
            Ok(settings) => prop_assert_eq!(settings.source(name), "code"),
            Err(error) => prop_assert!(error.to_string().contains(&format!("`{name}`")), "{error}"),
        }
        Ok(())
    });
}

#[test]
fn any_name_is_a_setting_or_an_error_that_quotes_it() {
    let names = prop_oneof![
        any::<String>(),
        "(kafka\\.)?[a-z._-]{0,12}",
        "[a-z]{1,6}_interval"
    ];
    holds((names, texts()), |(name, text)| {
        let mut layer = Layer::new("code");
        layer.put(name.as_str(), &text);
        if let Err(error) = Settings::resolve("colors", &[layer]) {
            let raw = name.strip_prefix("kafka.").unwrap_or(&name);
            prop_assert!(error.to_string().contains(raw), "{error}");
        }
        Ok(())
    });
}

#[test]
fn any_file_is_a_layer_or_an_error_that_names_its_line() {
    let line = prop_oneof![
        any::<String>(),
        "[a-z_]{1,8} = (1|'a'|\"é\"|\\[1\\]|\\{\\}|1979-05-27|1\\.5|true)",
        "\\[(kafka|é|a\\.b)\\]",
        "\"?linger\\.ms\"? = [0-9]",
    ];
    holds(vec(line, 0..5), |lines| {
        match Layer::from_toml(&lines.join("\n"), "stream.toml") {
            Ok(layer) => drop(Settings::resolve("colors", &[layer])),
            Err(error) => prop_assert!(error.to_string().starts_with("stream.toml:"), "{error}"),
        }
        Ok(())
    });
}

#[test]
fn any_environment_is_a_layer() {
    let name = prop_oneof![any::<String>(), "STREAM_(TEST_|KAFKA__)?[A-Zé_]{0,9}"];
    holds(vec((name, texts()), 0..4), |variables| {
        let ours = variables.iter().filter(|(name, _)| {
            name.starts_with("STREAM_") && !name.starts_with("STREAM_TEST_") && name != "STREAM_CONFIG"
        });
        let ours = ours.count();
        let layer = Layer::from_env(variables);
        prop_assert_eq!(layer.entries().count(), ours);
        drop(Settings::resolve("colors", &[layer]));
        Ok(())
    });
}

/// An address in one form, with a port for every host.
fn canonical(address: &BrokerAddress) -> String {
    match address {
        BrokerAddress::Kafka { bootstrap } => format!("kafka://{bootstrap}"),
        BrokerAddress::Embedded { port } => format!("embedded://:{port}"),
    }
}

#[test]
fn an_address_is_read_as_it_was_understood() {
    holds(texts(), |text| {
        if let Ok(address) = text.parse::<BrokerAddress>() {
            let written = canonical(&address);
            prop_assert_eq!(written.parse(), Ok(address), "{}", written);
        }
        Ok(())
    });
}

#[test]
fn hosts_keep_their_order_and_have_a_port() {
    let host = prop_oneof!["[a-z][a-z0-9.-]{0,6}", Just("[::1]".to_owned())];
    let hosts = vec((host, proptest::option::of(any::<u16>())), 1..4);
    holds(hosts, |hosts| {
        let write = |(host, port): &(String, Option<u16>)| match port {
            Some(port) => format!("{host}:{port}"),
            None => host.clone(),
        };
        let text = format!(
            "kafka://{}",
            hosts.iter().map(write).collect::<Vec<_>>().join(",")
        );
        let with_port = |(host, port): &(String, Option<u16>)| format!("{host}:{}", port.unwrap_or(9092));
        let bootstrap = hosts.iter().map(with_port).collect::<Vec<_>>().join(",");
        prop_assert_eq!(text.parse(), Ok(BrokerAddress::Kafka { bootstrap }));
        Ok(())
    });
}
