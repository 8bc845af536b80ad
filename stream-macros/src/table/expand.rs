//! The tokens of a table: the static with its value, and its registration.

use proc_macro2::TokenStream;
use quote::quote;

use super::Table;
use crate::paths::{self, Postcard, TableEntry, TableOptions};

impl Table<'_> {
    pub(super) fn expand(&self) -> TokenStream {
        let Self { declaration, args } = self;
        let (ident, ty) = (&declaration.item.ident, &declaration.item.ty);
        // The default codec stands where the type does: a type it cannot write is underlined itself.
        let codec = args
            .value_codec
            .clone()
            .unwrap_or_else(|| Postcard.at(declaration.value));
        let common = declaration.options();
        let config = paths::pairs(&args.config);
        let default = self.default();
        declaration.expand(
            &quote!(<#ty>::__new::<#codec>(#TableOptions { #common config: #config }, #default)),
            &quote!(#TableEntry::__new(|| #ident.def(), || <#ty>::__open(&#ident))),
        )
    }

    fn default(&self) -> TokenStream {
        let value = self.declaration.value;
        match &self.args.default {
            Some(default) => quote!(|| #default),
            None => quote!(<#value as ::core::default::Default>::default),
        }
    }
}
