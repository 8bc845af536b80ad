//! The tokens that run an agent: what its arguments are made of, the call, and what becomes of the result.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{FnArg, Ident, Type};

use super::args::Sink;
use super::check::{Agent, Output};
use super::inputs::{Form, Role};
use super::returns::Count;
use crate::paths::{NotAResult, Returned, run_record, run_stream, sink_function_must_return_nothing};
use crate::types;

impl Agent<'_> {
    /// An expression that makes one instance out of `__start`.
    pub(super) fn start(&self) -> TokenStream {
        let agent = &self.item.signature.ident;
        let finish = self.output.finish();
        let roles = &self.inputs.roles;
        match self.inputs.form {
            Form::Stream => {
                let yields = roles.iter().map(|role| role.decode(agent));
                quote! {
                    #run_stream(
                        __start,
                        |__record| #(#yields)*,
                        |__stream| async move {
                            let __returned = #agent(__stream).await;
                            #finish
                        },
                    )
                }
            }
            Form::Record => {
                let takes = roles.iter().map(|role| role.take(agent));
                let arguments = self.arguments();
                quote! {
                    #run_record(
                        __start,
                        |__record| ::core::result::Result::Ok((#(#takes,)*)),
                        |(#(#arguments,)*)| #agent(#(#arguments),*),
                        |__returned, __emit| { #finish },
                    )
                }
            }
        }
    }

    /// Names for the arguments, each where its type stands: an extractor that is not one is reported there.
    fn arguments(&self) -> Vec<Ident> {
        let typed = self
            .item
            .signature
            .inputs
            .iter()
            .filter_map(|argument| match argument {
                FnArg::Typed(argument) => Some(&argument.ty),
                FnArg::Receiver(_) => None,
            });
        typed
            .enumerate()
            .map(|(index, ty)| format_ident!("__{index}", span = ty.span()))
            .collect()
    }
}

impl Role<'_> {
    /// What `__record` gives an argument of this role, in a function that can fail.
    fn take(&self, agent: &Ident) -> TokenStream {
        let decoded = self.decode(agent);
        match self {
            Self::Value(_) | Self::Key(_) | Self::Event(..) => quote!(#decoded?),
            Self::Headers | Self::Timestamp => decoded,
        }
    }

    /// A `Result` of it, where it is decoded.
    fn decode(&self, agent: &Ident) -> TokenStream {
        match self {
            Self::Value(_) => quote!(__record.value(#agent::topic())),
            Self::Key(_) => quote!(__record.key(#agent::topic())),
            Self::Event(..) => quote!(__record.event(#agent::topic())),
            Self::Headers => quote!(__record.headers()),
            Self::Timestamp => quote!(__record.timestamp()),
        }
    }
}

impl Output<'_> {
    /// Statements that take `__returned` to its sinks and end in the outcome.
    fn finish(&self) -> TokenStream {
        // What cannot become a failure of the agent is reported at the return type.
        let returned = match self.returns.result {
            Some(result) => quote_spanned!(result.span()=> __returned?),
            None => quote!(__returned),
        };
        let Some((value, count)) = self.sunk() else {
            return quote!(let _ = #returned; ::core::result::Result::Ok(()));
        };
        let sends = self.sends(value);
        let send = match count {
            Count::Once => quote!(let __value = #returned; #sends),
            Count::Maybe => quote!(if let ::core::option::Option::Some(__value) = #returned { #sends }),
            Count::Each => quote!(for __value in #returned { #sends }),
        };
        quote!(#send ::core::result::Result::Ok(()))
    }

    /// A refusal, at compile time, of a `Result` by another name.
    pub(super) fn no_hidden_result(&self, agent: &Ident) -> Option<TokenStream> {
        let plain = self
            .returns
            .inner
            .filter(|ty| self.returns.result.is_none() && types::not_owned(ty).is_none())?;
        let message = format!(
            "agent `{agent}` returns a `Result` by another name: write `Result<…>`, or its errors go unseen"
        );
        Some(quote_spanned! {plain.span()=>
            const _: () = {
                #[allow(unused_imports, reason = "a `Result` answers without the trait")]
                use #NotAResult as _;
                ::core::assert!(!<#Returned<#plain>>::IS_RESULT, #message);
            };
        })
    }

    /// Statements that hand `__value` to every sink.
    fn sends(&self, value: &Type) -> TokenStream {
        let topics = self.sink_paths();
        let functions = self.sinks.iter().filter_map(|sink| match sink {
            Sink::Function(path) => Some(path),
            Sink::Topic(_) => None,
        });
        // rustc reports a value that is not its sink's at the return type, and points to the sink.
        let reference = quote_spanned!(value.span()=> &__value);
        // A function that returns something could return an error, which nobody would see.
        let calls = functions.map(|path| {
            let call = quote_spanned!(path.span()=> #path(#reference));
            quote!(#sink_function_must_return_nothing(#call);)
        });
        quote! {
            #(__emit.topic(&#topics, #reference);)*
            #(#calls)*
        }
    }
}
