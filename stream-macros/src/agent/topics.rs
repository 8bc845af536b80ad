//! Topics that an agent names by a string: private statics, with the types that the agent says.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::{Ident, Type};

use super::args::{Sink, TopicUse};
use super::check::Output;
use crate::paths::{self, AnyKey, AnyKeyCodec, Auto, Topic, TopicOptions};

/// The static `ident`, for the topic called `name`.
pub(super) fn named(ident: &Ident, name: &str, key: Option<&Type>, value: &Type) -> TokenStream {
    let (key, key_codec) = match key {
        Some(key) => (key.to_token_stream(), Auto.at(key)),
        None => (AnyKey.to_token_stream(), AnyKeyCodec.to_token_stream()),
    };
    // The codec stands where the type does: a type it cannot write is underlined itself.
    let value_codec = Auto.at(value);
    let location = paths::location();
    quote! {
        static #ident: #Topic<#key, #value> =
            #Topic::__new::<#key_codec, #value_codec>(#TopicOptions::named(#name, #location));
    }
}

impl Output<'_> {
    /// The statics of the sinks that are named by a string.
    pub(super) fn named_sinks(&self) -> TokenStream {
        let Some((value, _)) = self.sunk else {
            return TokenStream::new();
        };
        let statics = self.topics().filter_map(|(index, topic)| match topic {
            TopicUse::Named(name) => Some(named(&ident(index), name, None, value)),
            TopicUse::Declared(_) => None,
        });
        statics.collect()
    }

    /// The statics of all sinks that are topics.
    pub(super) fn sink_paths(&self) -> Vec<TokenStream> {
        let paths = self.topics().map(|(index, topic)| match topic {
            TopicUse::Named(_) => ident(index).into_token_stream(),
            TopicUse::Declared(path) => path.to_token_stream(),
        });
        paths.collect()
    }

    fn topics(&self) -> impl Iterator<Item = (usize, &TopicUse)> {
        self.sinks
            .iter()
            .enumerate()
            .filter_map(|(index, sink)| match sink {
                Sink::Topic(topic) => Some((index, topic)),
                Sink::Function(_) => None,
            })
    }
}

fn ident(index: usize) -> Ident {
    format_ident!("__SINK_{index}")
}
