use stream_runtime::prelude::*;
use stream_runtime::{Codec, CodecError, Encoded};

/// Temperatures in tenths of a degree.
struct Tenths;

impl Codec<i16> for Tenths {
    const NAME: &'static str = "tenths";

    fn encode(value: &i16, out: &mut Vec<u8>) -> Result<Encoded, CodecError> {
        out.extend_from_slice(&value.to_be_bytes());
        Ok(Encoded::Bytes)
    }

    fn decode(bytes: Option<&[u8]>) -> Result<i16, CodecError> {
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(i16::from_be_bytes).ok_or_else(|| CodecError::new("two bytes are needed"))
    }
}

#[topic]
static SHOP_ORDERS: Topic<String, u64>;

/// Temperatures by place.
///
/// As the stations measure them.
#[topic(
    internal,
    name = "measured",
    partitions = 12,
    replicas = 3,
    retention = "7d",
    compact,
    key = text,
    value = Tenths,
    config = [("min.insync.replicas", "2"), ("segment.ms", "60000")],
)]
static TEMPERATURES: Topic<String, i16>;

#[topic(retention = "forever", key = raw, value = json)]
static FOREVER: stream_runtime::Topic<Vec<u8>, Option<String>>;

#[topic(value = postcard)]
static WITHOUT_KEYS: Topic<(), (u8, String)>;

mod nested {
    pub mod deeper {
        use stream_runtime::{Topic, topic};

        #[topic(value = super::super::Tenths)]
        pub static FROM_FAR: Topic<String, i16>;

        #[cfg(any())]
        #[topic]
        pub static ABSENT: Topic<String, Missing>;

        #[topic]
        #[cfg(any())]
        pub static ABSENT_TOO: Topic<String, Missing>;
    }
}

fn main() {
    #[topic]
    static IN_A_FUNCTION: Topic<String, u64>;

    let orders = SHOP_ORDERS.def();
    assert_eq!((orders.name, orders.ident, orders.doc), ("shop-orders", "SHOP_ORDERS", ""));
    assert!(orders.location.file.ends_with("topics.rs"), "{}", orders.location);
    assert_eq!(orders.location.line, 21);

    let temperatures = TEMPERATURES.def();
    assert_eq!(temperatures.name, "measured");
    assert_eq!(temperatures.doc, "Temperatures by place.\n\nAs the stations measure them.");
    assert_eq!((temperatures.partitions, temperatures.replicas), (Some(12), Some(3)));
    assert_eq!((temperatures.retention_ms, temperatures.compact), (Some(604_800_000), true));
    assert_eq!((temperatures.key_codec, temperatures.value_codec), ("text", "tenths"));
    assert_eq!(temperatures.config, [("min.insync.replicas", "2"), ("segment.ms", "60000")]);

    assert_eq!(FOREVER.def().retention_ms, Some(-1));
    assert_eq!(WITHOUT_KEYS.def().value_codec, "postcard");
    assert_eq!(nested::deeper::FROM_FAR.def().name, "from-far");
    assert_eq!(IN_A_FUNCTION.def().name, "in-a-function");
}
