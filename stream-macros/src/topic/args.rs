//! What `#[topic(…)]` was given.

use proc_macro2::TokenStream;
use syn::LitStr;

use crate::args::Args;
use crate::errors::Errors;
use crate::{values, words};

/// The arguments as written, each one right by itself.
pub(super) struct TopicArgs {
    pub(super) internal: bool,
    pub(super) name: Option<String>,
    pub(super) partitions: Option<u32>,
    pub(super) replicas: Option<u16>,
    /// Milliseconds; −1 for ever.
    pub(super) retention: Option<i64>,
    pub(super) compact: bool,
    pub(super) key_codec: Option<TokenStream>,
    pub(super) value_codec: Option<TokenStream>,
    pub(super) config: Vec<(LitStr, LitStr)>,
}

impl TopicArgs {
    pub(super) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let args = Args::parse(tokens, words::OF_TOPIC, errors);
        Self {
            internal: args.flag(words::INTERNAL, errors),
            name: args.value(words::NAME, |expr| values::name(expr, "a topic"), errors),
            partitions: args.value(
                words::PARTITIONS,
                |expr| values::count(expr, i32::MAX.cast_unsigned()),
                errors,
            ),
            replicas: args.value(
                words::REPLICAS,
                |expr| values::count(expr, i16::MAX.cast_unsigned()),
                errors,
            ),
            retention: args.value(words::RETENTION, values::retention, errors),
            compact: args.flag(words::COMPACT, errors),
            key_codec: args.value(words::KEY, values::codec, errors),
            value_codec: args.value(words::VALUE, values::codec, errors),
            config: args
                .value(words::CONFIG, values::config, errors)
                .unwrap_or_default(),
        }
    }
}
