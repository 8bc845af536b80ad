//! Codecs, from the bytes of an input to the bytes of an output.

use serde::{Deserialize, Serialize};
use stream_runtime::prelude::*;
use stream_runtime::{AgentDef, Codec, CodecError, Encoded};

use crate::support::bench::Input;
use crate::support::{Bench, input};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    item: String,
    count: u32,
}

/// Gives an agent one record; gives the bytes of the key and the value that it made of it.
#[track_caller]
fn check(codec: &str, agent: &'static AgentDef, record: Input) -> (Bench, Option<Vec<u8>>, Option<Vec<u8>>) {
    let [from, to] = ["in", "out"].map(|direction| format!("{codec}-{direction}"));
    let bench = Bench::new(&[(&from, 1), (&to, 1)]);
    bench.produce(&from, [record]);
    let running = bench.start([agent]);
    let outputs = bench.read_when(&to, 1);
    running.stop().expect("all is well");
    (bench, outputs[0].key.clone(), outputs[0].value.clone())
}

#[topic(name = "json-out")]
static CODECS_JSON: Topic<u64, Order>;

#[agent(topic = "json-in")]
async fn by_json(Key(key): Key<u64>, order: Order) {
    let more = Order {
        count: order.count + 1,
        ..order
    };
    CODECS_JSON.send(&(key + 1), &more).await;
}

#[test]
fn json_is_the_codec_of_structs_and_numbers() {
    let (_, key, value) = check(
        "json",
        by_json::agent(),
        input(r#"{"item":"nut","count":6}"#).key("41"),
    );
    assert_eq!(key.as_deref(), Some(&b"42"[..]));
    assert_eq!(value.as_deref(), Some(&br#"{"item":"nut","count":7}"#[..]));
}

#[topic(name = "plain-out")]
static CODECS_PLAIN: Topic<String, Vec<u8>>;

#[agent(topic = "plain-in")]
async fn plainly(Key(key): Key<String>, bytes: Vec<u8>) {
    let reversed = bytes.into_iter().rev().collect();
    CODECS_PLAIN.send(&format!("{key}!"), &reversed).await;
}

#[test]
fn text_and_raw_bytes_are_the_codecs_of_strings_and_byte_vectors() {
    let (_, key, value) = check("plain", plainly::agent(), input([0, 159, 255]).key("clé"));
    assert_eq!(key.as_deref(), Some("clé!".as_bytes()));
    assert_eq!(value, Some(vec![255, 159, 0]));
}

#[topic(name = "postcard-in", value = postcard)]
static CODECS_POSTCARD_IN: Topic<(), Order>;
#[topic(name = "postcard-out", key = postcard, value = text)]
static CODECS_POSTCARD_OUT: Topic<u32, String>;

#[agent(topic = CODECS_POSTCARD_IN)]
async fn by_postcard(order: Order) {
    CODECS_POSTCARD_OUT.send(&order.count, &order.item).await;
}

#[test]
fn postcard_and_text_are_written_where_the_declaration_says_so() {
    let (_, key, value) = check(
        "postcard",
        by_postcard::agent(),
        input([3, b'n', b'u', b't', 0xac, 0x02]),
    );
    assert_eq!(key, Some(vec![0xac, 0x02]), "300 as a varint");
    assert_eq!(value.as_deref(), Some(&b"nut"[..]));
}

/// Temperatures in tenths of a degree, two bytes each.
#[derive(Debug)]
pub(crate) struct Tenths;

impl Codec<f64> for Tenths {
    const NAME: &'static str = "tenths";

    fn encode(value: &f64, out: &mut Vec<u8>) -> Result<Encoded, CodecError> {
        out.extend_from_slice(&((value * 10.0) as i16).to_be_bytes());
        Ok(Encoded::Bytes)
    }

    fn decode(bytes: Option<&[u8]>) -> Result<f64, CodecError> {
        let bytes = bytes.ok_or_else(|| CodecError::new("a temperature is needed, the record has none"))?;
        let bytes = bytes
            .try_into()
            .map_err(|_| CodecError::new("a temperature is two bytes"))?;
        Ok(f64::from(i16::from_be_bytes(bytes)) / 10.0)
    }
}

#[topic(name = "tenths-in", value = Tenths)]
static CODECS_OWN_IN: Topic<(), f64>;
#[topic(name = "tenths-out", value = Tenths)]
static CODECS_OWN_OUT: Topic<(), f64>;

#[table(value = Tenths)]
static CODECS_HOTTEST: Table<String, f64>;

#[agent(topic = CODECS_OWN_IN, sink = CODECS_OWN_OUT)]
async fn by_own_codec(degrees: f64) -> f64 {
    CODECS_HOTTEST.set("all", degrees);
    degrees + 0.5
}

#[test]
fn a_codec_of_the_program_writes_topics_and_tables() {
    let (bench, key, value) = check("tenths", by_own_codec::agent(), input([0, 215]));
    assert_eq!((key, value), (None, Some(vec![0, 220])));
    let changelog = bench.read(&bench.changelog("codecs-hottest"));
    let changes: Vec<_> = changelog
        .iter()
        .map(|change| (change.key_text(), change.value.clone()))
        .collect();
    assert_eq!(
        changes,
        [("all".to_owned(), Some(vec![1, 0, 215]))],
        "a version byte, then the codec's"
    );
}
