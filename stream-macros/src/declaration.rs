//! What `#[topic]` and `#[table]` share: a static without a value, over a key and a value.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Type;
use syn::ext::IdentExt;

use crate::errors::{Errors, mistake, mistake_with_help};
use crate::item::{self, StaticItem};
use crate::paths::{self, inventory};
use crate::{docs, types, values};

/// What is declared, in the words of messages.
pub(crate) struct Kind {
    /// With its article: "a topic".
    pub(crate) what: &'static str,
    /// Without: "topic", which is the macro's name as well.
    pub(crate) noun: &'static str,
    /// The generic type: "Topic".
    pub(crate) generic: &'static str,
}

/// A static in which nothing is wrong.
pub(crate) struct Declaration<'a> {
    pub(crate) item: &'a StaticItem,
    pub(crate) name: String,
    pub(crate) key: &'a Type,
    pub(crate) value: &'a Type,
}

impl Kind {
    /// The item the attribute stands on.
    pub(crate) fn read(&self, tokens: &TokenStream, errors: &mut Errors) -> Option<StaticItem> {
        let Self { noun, generic, .. } = self;
        let message = format!("`#[{noun}]` goes on a `static`");
        let help = format!("write `static NAME: {generic}<K, V>;`");
        errors.keep(item::read(tokens, &message, &help))
    }

    /// The static and the name it was given, if any, together.
    pub(crate) fn check<'a>(
        &self,
        item: &'a StaticItem,
        name: Option<String>,
        errors: &mut Errors,
    ) -> Option<Declaration<'a>> {
        let whom = format!("{} `{}`", self.noun, item.ident);
        if let Some(token) = item.mutability {
            errors.push(mistake(token, format_args!("{whom} must not be `mut`")));
        }
        if let Some(value) = &item.value {
            let message = format_args!("{whom} must not have a value");
            let help = "end it with `;` behind its type, the macro makes the value";
            errors.push(mistake_with_help(value, message, help));
        }
        let name = values::name_or(name, values::kebab, &item.ident, self.what);
        let name = errors.keep(name);
        let (key, value) = errors.keep(self.types(item, &whom))?;
        Some(Declaration {
            item,
            name: name?,
            key,
            value,
        })
    }

    fn types<'a>(&self, item: &'a StaticItem, whom: &str) -> syn::Result<(&'a Type, &'a Type)> {
        let generic = self.generic;
        match types::arguments_of(&item.ty, generic).as_deref() {
            Some([key, value]) => Ok((key, value)),
            _ => {
                let message = format_args!("{whom} must be a `{generic}<K, V>`");
                let help = format_args!("name the types of its keys and values: `{generic}<String, u64>`");
                Err(mistake_with_help(&item.ty, message, help))
            }
        }
    }
}

impl Declaration<'_> {
    /// The fields that the options of a topic and of a table begin with.
    pub(crate) fn options(&self) -> TokenStream {
        let Self { item, name, .. } = self;
        let ident = item.ident.unraw().to_string();
        let doc = docs::text(&item.attributes);
        let location = paths::location();
        quote! {
            name: #name,
            ident: #ident,
            doc: #doc,
            location: #location,
        }
    }

    /// The static with its value, and its registration.
    pub(crate) fn expand(&self, value: &TokenStream, entry: &TokenStream) -> TokenStream {
        let declared = self.item.with_value(value);
        let conditions = item::conditions(&self.item.attributes);
        quote! {
            #declared
            #(#conditions)*
            const _: () = {
                #inventory::submit! { #entry }
            };
        }
    }
}
