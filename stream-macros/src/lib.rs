//! The attribute macros of `stream-runtime`, documented where that crate re-exports them.
//!
//! Every macro has its folder and the same three stages: `args` reads what the attribute was given, a
//! check compares it with the item and makes the only type that can be expanded, `expand` writes tokens.
//! What they share lies beside them, and imports point one way:
//!
//! ```text
//! lib → agent, topic, table → signature, declaration → item, types, values, mentions, docs, args
//!     → words, paths, errors
//! ```
//!
//! Invariants:
//! - Every mistake of an item is reported in one go, each at its own tokens.
//! - The user's item is emitted whatever happens: one mistake must not look like forty.
//! - Bodies of functions stay tokens, so that a body that is being typed still expands.
//! - An expansion names nothing but `::stream_runtime::__private` and `::core`.
//!
//! What is not here: rules that span items (names given twice, types that differ between two uses of a
//! topic). No macro sees two items; the registry of the runtime does.

mod agent;
mod args;
mod declaration;
mod docs;
mod errors;
mod item;
mod mentions;
mod paths;
mod signature;
mod table;
mod topic;
mod types;
mod values;
mod words;

#[cfg(test)]
mod expansion_tests;

use proc_macro::TokenStream;

#[expect(
    missing_docs,
    reason = "documented at the re-export, where the examples can be compiled"
)]
#[proc_macro_attribute]
pub fn agent(attribute: TokenStream, item: TokenStream) -> TokenStream {
    agent::agent(attribute.into(), &item.into()).into()
}

#[expect(
    missing_docs,
    reason = "documented at the re-export, where the examples can be compiled"
)]
#[proc_macro_attribute]
pub fn topic(attribute: TokenStream, item: TokenStream) -> TokenStream {
    topic::topic(attribute.into(), &item.into()).into()
}

#[expect(
    missing_docs,
    reason = "documented at the re-export, where the examples can be compiled"
)]
#[proc_macro_attribute]
pub fn table(attribute: TokenStream, item: TokenStream) -> TokenStream {
    table::table(attribute.into(), &item.into()).into()
}
