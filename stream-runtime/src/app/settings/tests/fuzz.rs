//! `stream.toml`, and the values of settings wherever they are written.

use super::*;
use crate::app::settings::value::Value;
use crate::tests::fuzz::Target;

/// Whether it is one; what is written of it is read again as the same.
fn is_value<T: Value + PartialEq + std::fmt::Debug>(text: &str) -> bool {
    let Ok(value) = T::parse(text) else {
        return false;
    };
    let written = value.write();
    assert_eq!(
        T::parse(&written).as_ref(),
        Ok(&value),
        "`{text}` is written as `{written}`"
    );
    true
}

#[test]
fn values() {
    let samples: &[&[u8]] = &[
        b"250ms",
        b"7d",
        b"213503982334d",
        b"512KiB",
        b"16777215TiB",
        b"kafka://a:9092,b,[::1]:9093",
        b"embedded://",
        b"embedded://127.0.0.1:9092",
        b"exactly_once",
        b"65535",
    ];
    let mut target = Target::of("values", samples);
    target.words = &[
        b"://",
        b"kafka",
        b"embedded",
        b",",
        b":",
        b"18446744073709551615",
        b"ms",
        b"GiB",
        b" ",
        b"\xe2\x80\x83",
    ];
    target.run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let address = text.parse::<BrokerAddress>();
        if let Ok(address) = &address {
            let written = match address {
                BrokerAddress::Kafka { bootstrap } => format!("kafka://{bootstrap}"),
                BrokerAddress::Embedded { port } => format!("embedded://127.0.0.1:{port}"),
            };
            assert_eq!(
                written.parse().as_ref(),
                Ok(address),
                "`{text}` is written as `{written}`"
            );
        }
        [
            is_value::<Duration>(&text),
            is_value::<Size>(&text),
            is_value::<ProcessingGuarantee>(&text),
            is_value::<u16>(&text),
            is_value::<usize>(&text),
            is_value::<Option<Duration>>(&text),
            address.is_ok(),
        ]
    });
}

#[test]
fn files() {
    let samples: &[&[u8]] = &[
        b"broker = \"kafka://a:9092\"\nthreads = 2\ncommit_interval = \"250ms\"\n",
        b"[kafka]\nlinger.ms = 0\n\"fetch.max.bytes\" = 1_000\n",
        b"a = [[1, 2], {b = 3}]\nc = 1979-05-27T07:32:00Z\n",
        b"'' = '''\n'''\n[[kafka]]\n",
    ];
    let mut target = Target::of("files", samples);
    // The parser keeps the text, its events and a table.
    target.memory = (256 * 1024, 2_000);
    target.usual = 4_000;
    target.words = &[
        b"[kafka]\n",
        b"[[",
        b"{",
        b"[",
        b"\"\"\"",
        b"'''",
        b" = ",
        b".",
        b"0x",
        b"inf",
        b"\\u0000",
        b"store",
        b"\r\n",
        b"memory_budget",
    ];
    target.run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let layer = Layer::from_toml(&text, "stream.toml");
        let resolved = layer.map(|layer| Settings::resolve("colors", &[layer]));
        match resolved {
            Ok(Ok(_)) => (2, 0),
            Ok(Err(error)) => (1, error.to_string().lines().count()),
            Err(error) => (0, error.to_string().lines().count()),
        }
    });
}
