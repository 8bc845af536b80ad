//! What `#[table(…)]` was given.

use proc_macro2::TokenStream;
use syn::{Expr, LitStr};

use crate::args::Args;
use crate::errors::Errors;
use crate::{values, words};

/// The arguments as written, each one right by itself.
pub(super) struct TableArgs {
    pub(super) name: Option<String>,
    pub(super) value_codec: Option<TokenStream>,
    pub(super) default: Option<Expr>,
    pub(super) config: Vec<(LitStr, LitStr)>,
}

impl TableArgs {
    pub(super) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let args = Args::parse(tokens, words::OF_TABLE, errors);
        Self {
            name: args.value(words::NAME, |expr| values::name(expr, "a table"), errors),
            value_codec: args.value(words::VALUE, values::codec, errors),
            default: args.value(words::DEFAULT, |expr| Ok(expr.clone()), errors),
            config: args
                .value(words::CONFIG, values::config, errors)
                .unwrap_or_default(),
        }
    }
}
