//! Topics as they are declared. Sending to one is in [`crate::stream::send`].

use super::codec::{Codec, CodecError, CodecOf, Encoded};
use super::{Location, TypeInfo};

/// Who creates a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// It belongs to others: never created or altered (but on the embedded broker, where nobody else can).
    External,
    /// It belongs to this program, is named `<app>-<name>` and created before the program runs.
    Internal,
}

/// Everything a declaration says about a topic, without its types' parameters.
#[derive(Debug)]
#[non_exhaustive]
pub struct TopicDef {
    /// The declared name; an internal topic's name on the broker has the program's id before it.
    pub name: &'static str,
    /// The identifier of the static, or empty where an agent names the topic by a string.
    pub ident: &'static str,
    /// Who creates it.
    pub ownership: Ownership,
    /// The wanted number of partitions.
    pub partitions: Option<u32>,
    /// The wanted number of replicas.
    pub replicas: Option<u16>,
    /// How long records are kept, in milliseconds; −1 for ever.
    pub retention_ms: Option<i64>,
    /// Whether only the last record of each key is kept.
    pub compact: bool,
    /// Further settings of the topic, in the broker's words.
    pub config: &'static [(&'static str, &'static str)],
    /// The type of the keys.
    pub key: TypeInfo,
    /// The name of the keys' codec.
    pub key_codec: &'static str,
    /// The type of the values.
    pub value: TypeInfo,
    /// The name of the values' codec.
    pub value_codec: &'static str,
    /// The doc comment.
    pub doc: &'static str,
    /// Where it was declared.
    pub location: Location,
}

impl TopicDef {
    /// The topic of this name as those use it who put dead letters there: bytes, whatever the topic is declared as.
    #[doc(hidden)]
    pub const fn __dead_letters(name: &'static str, location: Location) -> Self {
        Self {
            name,
            ident: "",
            ownership: Ownership::External,
            partitions: None,
            replicas: None,
            retention_ms: None,
            compact: false,
            config: &[],
            key: TypeInfo::of::<AnyKey>(),
            key_codec: AnyKeyCodec::NAME,
            value: TypeInfo::of::<Vec<u8>>(),
            value_codec: "raw",
            doc: "",
            location,
        }
    }
}

/// The part of a declaration that is not types: what `#[topic]` was given.
#[derive(Debug, Clone, Copy)]
pub struct TopicOptions {
    /// See [`TopicDef`]; so for every field.
    pub name: &'static str,
    /// The identifier of the static.
    pub ident: &'static str,
    /// Who creates it.
    pub ownership: Ownership,
    /// The wanted number of partitions.
    pub partitions: Option<u32>,
    /// The wanted number of replicas.
    pub replicas: Option<u16>,
    /// Milliseconds; −1 for ever.
    pub retention_ms: Option<i64>,
    /// Whether only the last record of each key is kept.
    pub compact: bool,
    /// Further settings, in the broker's words.
    pub config: &'static [(&'static str, &'static str)],
    /// The doc comment.
    pub doc: &'static str,
    /// Where it was declared.
    pub location: Location,
}

impl TopicOptions {
    /// An external topic with nothing else said.
    pub const fn named(name: &'static str, location: Location) -> Self {
        Self {
            name,
            ident: "",
            ownership: Ownership::External,
            partitions: None,
            replicas: None,
            retention_ms: None,
            compact: false,
            config: &[],
            doc: "",
            location,
        }
    }
}

/// The key type of a topic that was named by a string by somebody who does not look at keys.
///
/// It agrees with every key type, decodes from anything and is written as null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnyKey;

/// The codec of [`AnyKey`].
#[derive(Debug)]
pub struct AnyKeyCodec;

impl Codec<AnyKey> for AnyKeyCodec {
    const NAME: &'static str = "any";

    fn encode(_: &AnyKey, _: &mut Vec<u8>) -> Result<Encoded, CodecError> {
        Ok(Encoded::Null)
    }

    fn decode(_: Option<&[u8]>) -> Result<AnyKey, CodecError> {
        Ok(AnyKey)
    }
}

/// A typed topic, declared by `#[topic]`.
///
/// ```
/// use stream_runtime::prelude::*;
///
/// /// Orders as the shop writes them: not ours, so never created or altered.
/// #[topic(name = "shop.orders.v1")]
/// static ORDERS: Topic<String, String>;
///
/// /// Orders by customer: `<app>-orders-by-customer`, created with the partitions of its readers' inputs.
/// #[topic(internal)]
/// static ORDERS_BY_CUSTOMER: Topic<String, String>;
/// # fn main() {}
/// ```
///
/// The key type `()` is for records without a key, `Option<V>` as the value type for topics that carry
/// tombstones.
#[derive(Debug)]
pub struct Topic<K: 'static, V: 'static> {
    def: TopicDef,
    pub(crate) key: CodecOf<K>,
    pub(crate) value: CodecOf<V>,
}

impl<K: 'static, V: 'static> Topic<K, V> {
    /// What `#[topic]` expands to: the codecs `KC` and `VC`, and the options.
    #[doc(hidden)]
    pub const fn __new<KC: Codec<K>, VC: Codec<V>>(options: TopicOptions) -> Self {
        Self {
            def: TopicDef {
                name: options.name,
                ident: options.ident,
                ownership: options.ownership,
                partitions: options.partitions,
                replicas: options.replicas,
                retention_ms: options.retention_ms,
                compact: options.compact,
                config: options.config,
                key: TypeInfo::of::<K>(),
                key_codec: KC::NAME,
                value: TypeInfo::of::<V>(),
                value_codec: VC::NAME,
                doc: options.doc,
                location: options.location,
            },
            key: CodecOf::new::<KC>(),
            value: CodecOf::new::<VC>(),
        }
    }

    /// What was declared.
    pub const fn def(&self) -> &TopicDef {
        &self.def
    }
}
