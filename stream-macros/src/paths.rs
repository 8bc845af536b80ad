//! Every path an expansion may name, once. A unit struct each, so that `#Topic` in `quote!` is the path.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::LitStr;

macro_rules! runtime_paths {
    ($($name:ident)*) => {$(
        #[allow(non_camel_case_types, reason = "named as the path ends")]
        pub(crate) struct $name;

        impl ToTokens for $name {
            fn to_tokens(&self, tokens: &mut TokenStream) {
                tokens.extend(self.spanned(Span::call_site(), Span::call_site()));
            }
        }

        #[allow(dead_code, reason = "not every path carries the span of something the user wrote")]
        impl $name {
            /// The path as if it stood where `at` stands: what rustc says about it is said there.
            pub(crate) fn at(&self, at: &impl ToTokens) -> TokenStream {
                let tokens: Vec<_> = at.to_token_stream().into_iter().collect();
                match (tokens.first(), tokens.last()) {
                    (Some(first), Some(last)) => self.spanned(first.span(), last.span()),
                    _ => self.to_token_stream(),
                }
            }

            // rustc underlines a path from its first token to its last one.
            fn spanned(&self, first: Span, last: Span) -> TokenStream {
                let name = quote::format_ident!("{}", stringify!($name), span = last);
                let root = quote_spanned!(first=> ::stream_runtime::__private);
                quote_spanned!(last=> #root::#name)
            }
        }
    )*};
}

runtime_paths! {
    AgentDef AgentEntry AgentParts
    AnyKey AnyKeyCodec
    Auto Json Postcard Raw Text
    Form Location NotAResult OnError Ownership Returned Verdict
    Table TableDefault TableEntry TableOptions declare_table
    Topic TopicDef TopicEntry TopicOptions
    dead_letters inventory run_record run_stream sink_function_must_return_nothing
}

/// Where the attribute stands.
pub(crate) fn location() -> TokenStream {
    quote! {
        #Location { file: ::core::file!(), line: ::core::line!(), module: ::core::module_path!() }
    }
}

/// Settings as a constant.
pub(crate) fn pairs(pairs: &[(LitStr, LitStr)]) -> TokenStream {
    let pairs = pairs.iter().map(|(name, value)| quote!((#name, #value)));
    quote!(&[#(#pairs),*])
}
