//! The tokens of an agent: the function as it was, a handle of its name among the types, and the
//! registration.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

use super::args::TopicUse;
use super::check::Agent;
use super::inputs::Form;
use super::policy::{Policy, Verdict};
use super::topics;
use crate::item::FnItem;
use crate::paths::{
    self, AgentDef, AgentEntry, AgentParts, AnyKey, OnError, Topic, TopicDef, dead_letters, inventory,
};
use crate::{docs, item, signature};

/// The function, a handle that knows nothing, and the mistakes.
///
/// Without a handle, `count::agent()` elsewhere would be reported too. Beside a method there is no room
/// for one.
pub(super) fn with_mistakes(item: &FnItem, mistakes: &syn::Error) -> TokenStream {
    let mistakes = mistakes.to_compile_error();
    if signature::is_method(&item.signature) {
        return quote!(#item #mistakes);
    }
    let visibility = &item.visibility;
    let handle = handle(
        item,
        &quote! {
            #visibility fn agent() -> &'static #AgentDef { ::core::unreachable!() }
        },
    );
    quote!(#item #handle #mistakes)
}

impl Agent<'_> {
    pub(super) fn expand(&self) -> TokenStream {
        let item = self.item;
        let ident = &item.signature.ident;
        let (agent, topic) = (self.agent_method(), self.topic_method());
        let handle = handle(item, &quote!(#agent #topic));
        let conditions = item::conditions(&item.attributes);
        quote! {
            #[allow(clippy::unused_async, reason = "agents are asynchronous, whether they wait or not")]
            #item
            #handle
            #(#conditions)*
            const _: () = {
                #inventory::submit! { #AgentEntry(#ident::agent()) }
            };
        }
    }

    fn agent_method(&self) -> TokenStream {
        let visibility = &self.item.visibility;
        let named_sinks = self.output.named_sinks();
        let no_hidden_result = self.output.no_hidden_result(&self.item.signature.ident);
        let named_dead_letters = self.policy.named_dead_letters();
        let parts = self.parts();
        quote! {
            /// What was declared.
            #visibility const fn agent() -> &'static #AgentDef {
                #no_hidden_result
                #named_sinks
                #named_dead_letters
                static __AGENT: #AgentDef = #AgentDef::__new(#parts);
                &__AGENT
            }
        }
    }

    fn parts(&self) -> TokenStream {
        let Self {
            item,
            name,
            tables,
            mentions,
            policy,
            ..
        } = self;
        let ident = &item.signature.ident;
        let doc = docs::text(&item.attributes);
        let location = paths::location();
        let form = self.inputs.form;
        let sinks = self.output.sink_paths();
        let takes_headers = self.inputs.take_headers();
        let start = self.start();
        quote! {
            #AgentParts {
                name: #name,
                doc: #doc,
                location: #location,
                form: #form,
                input: || #ident::topic().def(),
                sinks: &[#(|| #sinks.def()),*],
                mentions: &[#(#mentions),*],
                tables: &[#(|| #tables.def()),*],
                on_error: #policy,
                takes_headers: #takes_headers,
                start: |__start| #start,
            }
        }
    }

    /// The one place that names the input: a topic of other types is reported here, and only here.
    fn topic_method(&self) -> TokenStream {
        let visibility = &self.item.visibility;
        let value = self.inputs.value();
        let key = self.inputs.key().map(ToTokens::to_token_stream);
        let (key, topic) = match &self.topic {
            // The key's type is known to the static alone.
            TopicUse::Declared(path) => (
                key.unwrap_or_else(|| quote!(impl ::core::marker::Sized + 'static)),
                quote_spanned!(path.span()=> &#path),
            ),
            TopicUse::Named(name) => {
                let topic = format_ident!("__TOPIC");
                let named = topics::named(&topic, name, self.inputs.key(), value);
                (
                    key.unwrap_or_else(|| AnyKey.to_token_stream()),
                    quote!(#named &#topic),
                )
            }
        };
        let topic_type = Topic.at(value);
        let returned = quote_spanned!(value.span()=> &'static #topic_type<#key, #value>);
        quote! {
            /// Where its records come from.
            #visibility fn topic() -> #returned {
                #topic
            }
        }
    }
}

/// The handle. It has braces, so that its name is one among types only and the function keeps its own.
fn handle(item: &FnItem, methods: &TokenStream) -> TokenStream {
    let visibility = &item.visibility;
    let ident = &item.signature.ident;
    let summary = format!("The handle of the agent [`{ident}`](fn@{ident}).");
    let conditions: Vec<_> = item::conditions(&item.attributes).collect();
    quote! {
        #(#conditions)*
        #[doc = #summary]
        #[allow(
            dead_code,
            non_camel_case_types,
            unreachable_pub,
            reason = "a handle is named after its function, and not every agent is asked for its own"
        )]
        #[derive(::core::fmt::Debug)]
        #visibility struct #ident {}

        #(#conditions)*
        #[allow(
            dead_code,
            deprecated,
            private_interfaces,
            unreachable_pub,
            reason = "methods are as visible as their function, and not every agent is asked for its own"
        )]
        impl #ident {
            #methods
        }
    }
}

impl ToTokens for Form {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        use crate::paths::Form;
        tokens.extend(match self {
            Self::Stream => quote!(#Form::Stream),
            Self::Record => quote!(#Form::Record),
        });
    }
}

impl Policy {
    /// The static of dead letters whose topic is named by a string.
    fn named_dead_letters(&self) -> Option<TokenStream> {
        let Verdict::DeadLetter(letters) = &self.then else {
            return None;
        };
        let Some(TopicUse::Named(name)) = &letters.topic else {
            return None;
        };
        let location = paths::location();
        Some(quote! {
            static __DEAD_LETTERS: #TopicDef = #TopicDef::__dead_letters(#name, #location);
        })
    }
}

impl ToTokens for Policy {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        use crate::paths::Verdict as Path;
        let Self {
            retries,
            backoff,
            max,
            then,
        } = self;
        let then = match then {
            Verdict::Stop => quote!(#Path::Stop),
            Verdict::Skip => quote!(#Path::Skip),
            Verdict::DeadLetter(letters) => match &letters.topic {
                None => quote!(#Path::DeadLetter(#dead_letters)),
                Some(TopicUse::Named(_)) => quote!(#Path::DeadLetter(|| &__DEAD_LETTERS)),
                Some(TopicUse::Declared(path)) => quote!(#Path::DeadLetter(|| #path.def())),
            },
        };
        tokens.extend(quote! {
            #OnError {
                retries: #retries,
                backoff: ::core::time::Duration::from_millis(#backoff),
                max_backoff: ::core::time::Duration::from_millis(#max),
                then: #then,
            }
        });
    }
}
