//! `#[table]`: a typed table, as a static.
//!
//! What there is to check is what all declarations share, so it is in [`declaration`](crate::declaration).

mod args;
mod expand;

use proc_macro2::TokenStream;

use crate::declaration::{Declaration, Kind};
use crate::errors::Errors;
use crate::item;
use args::TableArgs;

const TABLE: Kind = Kind {
    what: "a table",
    noun: "table",
    generic: "Table",
};

/// A table in which nothing is wrong.
struct Table<'a> {
    declaration: Declaration<'a>,
    args: TableArgs,
}

pub(crate) fn table(attribute: TokenStream, tokens: &TokenStream) -> TokenStream {
    let mut errors = Errors::new();
    let mut args = TableArgs::parse(attribute, &mut errors);
    let item = TABLE.read(tokens, &mut errors);
    let declaration = item
        .as_ref()
        .and_then(|item| TABLE.check(item, args.name.take(), &mut errors));
    let table = declaration.map(|declaration| Table { declaration, args });
    match errors.finish(table) {
        Ok(table) => table.expand(),
        Err(mistakes) => match &item {
            Some(item) => item.with_mistakes(&mistakes),
            None => item::with_mistakes(tokens, &mistakes),
        },
    }
}
