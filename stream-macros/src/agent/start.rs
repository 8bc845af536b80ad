//! The tokens that run an agent: what its arguments are made of, the call, and what becomes of the result.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{FnArg, Type};

use super::args::Sink;
use super::check::{Agent, Output};
use super::inputs::{Form, Role};
use super::returns::Count;
use crate::paths::{run_record, run_stream};

impl Agent<'_> {
    /// An expression that makes one instance out of `__start`.
    pub(super) fn start(&self) -> TokenStream {
        let agent = &self.item.signature.ident;
        let parts = self.inputs.roles.iter().map(|role| role.part(agent));
        match self.inputs.form {
            Form::Stream => {
                let finish = self.output.finish();
                quote! {
                    #run_stream(
                        __start,
                        |__record| ::core::result::Result::Ok(#(#parts)*),
                        |__stream| async move {
                            let __returned = #agent(__stream).await;
                            #finish
                        },
                    )
                }
            }
            Form::Record => {
                let finish = self.output.finish();
                let arguments = self.arguments();
                quote! {
                    #run_record(
                        __start,
                        |__record| ::core::result::Result::Ok((#(#parts,)*)),
                        |(#(#arguments,)*)| #agent(#(#arguments),*),
                        |__returned, __emit| { #finish },
                    )
                }
            }
        }
    }

    /// Names for the arguments, each where its type stands: an extractor that is not one is reported there.
    fn arguments(&self) -> Vec<syn::Ident> {
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
    /// What `__record` gives an argument of this role.
    fn part(&self, agent: &syn::Ident) -> TokenStream {
        match self {
            Self::Value(_) => quote!(__record.value(#agent::topic())?),
            Self::Key(_) => quote!(__record.key(#agent::topic())?),
            Self::Event(..) => quote!(__record.event(#agent::topic())?),
            Self::Headers => quote!(__record.headers()),
            Self::Timestamp => quote!(__record.timestamp()),
        }
    }
}

impl Output<'_> {
    /// Statements that take `__returned` to its sinks and end in the outcome.
    fn finish(&self) -> TokenStream {
        // What cannot become a failure of the agent is reported at the return type.
        let returned = match self.result {
            Some(result) => quote_spanned!(result.span()=> __returned?),
            None => quote!(__returned),
        };
        let send = match self.sunk {
            None => quote!(let _ = #returned;),
            Some((value, Count::One)) => {
                let sends = self.sends(value);
                quote!(let __value = #returned; #sends)
            }
            Some((value, Count::Any)) => {
                let sends = self.sends(value);
                quote!(for __value in #returned { #sends })
            }
        };
        quote!(#send ::core::result::Result::Ok(()))
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
        quote! {
            #(__emit.topic(&#topics, #reference);)*
            #({
                let __sink: fn(&#value) = #functions;
                __sink(&__value);
            })*
        }
    }
}
