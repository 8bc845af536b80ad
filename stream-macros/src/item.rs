//! The items the macros stand on. Signatures and types are parsed; bodies stay tokens.

use proc_macro2::TokenStream;
use quote::{ToTokens, TokenStreamExt, quote};
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Attribute, Expr, Ident, Signature, Token, Type, Visibility};

use crate::errors::mistake_with_help;

/// Reads an item; where it is another kind of item, `message` says so at its first word.
pub(crate) fn read<T: Parse>(tokens: &TokenStream, message: &str, help: &str) -> syn::Result<T> {
    syn::parse2(tokens.clone()).map_err(|_| mistake_with_help(first_word(tokens), message, help))
}

/// The word that says what an item is: `struct`, `fn`, `const`.
fn first_word(tokens: &TokenStream) -> TokenStream {
    let read = |input: ParseStream<'_>| {
        input.call(Attribute::parse_outer)?;
        input.parse::<Visibility>()?;
        let word: proc_macro2::TokenTree = input.parse()?;
        input.parse::<TokenStream>()?;
        Ok(word.into())
    };
    read.parse2(tokens.clone()).unwrap_or_default()
}

/// A function.
pub(crate) struct FnItem {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    /// What follows the signature.
    pub(crate) body: TokenStream,
}

impl Parse for FnItem {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        Ok(Self {
            attributes: input.call(Attribute::parse_outer)?,
            visibility: input.parse()?,
            signature: input.parse()?,
            body: input.parse()?,
        })
    }
}

impl ToTokens for FnItem {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.append_all(&self.attributes);
        self.visibility.to_tokens(tokens);
        self.signature.to_tokens(tokens);
        self.body.to_tokens(tokens);
    }
}

/// A static with or without a value: the language wants one, the macros supply it.
pub(crate) struct StaticItem {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) mutability: Option<Token![mut]>,
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    pub(crate) value: Option<Expr>,
}

impl Parse for StaticItem {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        input.parse::<Token![static]>()?;
        let mutability = input.parse()?;
        let ident = input.parse()?;
        input.parse::<Token![:]>()?;
        let ty = input.parse()?;
        let value = match input.parse::<Option<Token![=]>>()? {
            Some(_) => Some(input.parse()?),
            None => None,
        };
        input.parse::<Token![;]>()?;
        Ok(Self {
            attributes,
            visibility,
            mutability,
            ident,
            ty,
            value,
        })
    }
}

impl StaticItem {
    /// The static with this value in place of whatever it had.
    pub(crate) fn with_value(&self, value: &TokenStream) -> TokenStream {
        let Self {
            attributes,
            visibility,
            ident,
            ty,
            ..
        } = self;
        quote! {
            #(#attributes)*
            #visibility static #ident: #ty = #value;
        }
    }

    /// The static with the mistakes for a value: it keeps its name and its type, so that what uses it is
    /// not reported as well, and rustc does not ask for the value that nobody can make.
    pub(crate) fn with_mistakes(&self, mistakes: &syn::Error) -> TokenStream {
        let mistakes = mistakes.to_compile_error();
        self.with_value(&quote!({ #mistakes }))
    }
}

/// The attributes that decide whether an item exists: what is generated beside it needs them too.
pub(crate) fn conditions(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
}

/// An item that could not be read, as it was written, and the mistakes.
pub(crate) fn with_mistakes(tokens: &TokenStream, mistakes: &syn::Error) -> TokenStream {
    let mistakes = mistakes.to_compile_error();
    quote!(#tokens #mistakes)
}
