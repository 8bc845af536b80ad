//! The tokens of a table: the static with its value, and its registration.

use proc_macro2::TokenStream;
use quote::quote;

use crate::declaration::Declaration;
use crate::paths::{self, Postcard, Table, TableDefault, TableEntry, TableOptions, declare_table};

impl super::Table<'_> {
    pub(super) fn expand(&self) -> TokenStream {
        let Declaration { item, key, value, .. } = &self.declaration;
        let ident = &item.ident;
        // The default codec stands where the type does: a type it cannot write is underlined itself.
        let codec = self
            .args
            .value_codec
            .clone()
            .unwrap_or_else(|| Postcard.at(value));
        let common = self.declaration.options();
        let config = paths::pairs(&self.args.config);
        let default = self.default();
        self.declaration.expand(
            &quote! {
                #declare_table::<#key, #value, #codec>(#TableOptions { #common config: #config }, #default)
            },
            &quote!(#TableEntry::__new(|| #ident.def(), || #Table::__open(&#ident))),
        )
    }

    fn default(&self) -> TokenStream {
        let value = self.declaration.value;
        match &self.args.default {
            Some(default) => quote!(|| #default),
            None => quote!(<#value as #TableDefault>::table_default),
        }
    }
}
