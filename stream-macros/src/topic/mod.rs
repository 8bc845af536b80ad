//! `#[topic]`: a typed topic, as a static.
//!
//! What there is to check is what all declarations share, so it is in [`declaration`](crate::declaration).

mod args;
mod expand;

use proc_macro2::TokenStream;

use crate::declaration::{Declaration, Kind};
use crate::errors::Errors;
use crate::item;
use args::TopicArgs;

const TOPIC: Kind = Kind {
    what: "a topic",
    noun: "topic",
    generic: "Topic",
};

/// A topic in which nothing is wrong.
struct Topic<'a> {
    declaration: Declaration<'a>,
    args: TopicArgs,
}

pub(crate) fn topic(attribute: TokenStream, tokens: &TokenStream) -> TokenStream {
    let mut errors = Errors::new();
    let mut args = TopicArgs::parse(attribute, &mut errors);
    let item = TOPIC.read(tokens, &mut errors);
    let declaration = item
        .as_ref()
        .and_then(|item| TOPIC.check(item, args.name.take(), &mut errors));
    let topic = declaration.map(|declaration| Topic { declaration, args });
    match errors.finish(topic) {
        Ok(topic) => topic.expand(),
        Err(mistakes) => match &item {
            Some(item) => item.with_mistakes(&mistakes),
            None => item::with_mistakes(tokens, &mistakes),
        },
    }
}
