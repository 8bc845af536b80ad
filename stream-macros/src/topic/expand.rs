//! The tokens of a topic: the static with its value, and its registration.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};

use super::Topic;
use crate::paths::{self, Auto, Ownership, TopicEntry, TopicOptions};

impl Topic<'_> {
    pub(super) fn expand(&self) -> TokenStream {
        let Self { declaration, args } = self;
        let (ident, ty) = (&declaration.item.ident, &declaration.item.ty);
        // The default codec stands where the type does: a type it cannot write is underlined itself.
        let key_codec = args.key_codec.clone().unwrap_or_else(|| Auto.at(declaration.key));
        let value_codec = args
            .value_codec
            .clone()
            .unwrap_or_else(|| Auto.at(declaration.value));
        let options = self.options();
        declaration.expand(
            &quote!(<#ty>::__new::<#key_codec, #value_codec>(#options)),
            &quote!(#TopicEntry(|| #ident.def())),
        )
    }

    fn options(&self) -> TokenStream {
        let Self { declaration, args } = self;
        let common = declaration.options();
        let ownership = if args.internal {
            quote!(Internal)
        } else {
            quote!(External)
        };
        let partitions = option(args.partitions);
        let replicas = option(args.replicas);
        let retention = option(args.retention);
        let compact = args.compact;
        let config = paths::pairs(&args.config);
        quote! {
            #TopicOptions {
                #common
                ownership: #Ownership::#ownership,
                partitions: #partitions,
                replicas: #replicas,
                retention_ms: #retention,
                compact: #compact,
                config: #config,
            }
        }
    }
}

fn option(value: Option<impl ToTokens>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}
