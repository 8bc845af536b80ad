//! The grammar all attributes share: `flag`, `key = expression`, separated by commas.
//!
//! What a key means is not decided here; [`values`](crate::values) reads the expressions.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Expr, Ident, Token};

use crate::errors::{Errors, mistake, mistake_with_help};
use crate::words;

/// What an attribute was given: known keys, each once.
pub(crate) struct Args {
    given: Vec<Arg>,
}

struct Arg {
    key: Ident,
    /// What follows `=`, if it is an expression; `None` for a key that stands alone.
    value: Option<syn::Result<Expr>>,
}

impl Args {
    /// Reads the tokens between the attribute's parentheses. Unknown keys, keys given twice and syntax
    /// errors are reported and left out; the rest is read all the same.
    pub(crate) fn parse(tokens: TokenStream, known: &[&str], errors: &mut Errors) -> Self {
        let mut args = Self { given: Vec::new() };
        let read = |input: ParseStream<'_>| {
            while !input.is_empty() {
                args.parse_one(input, known, errors);
            }
            Ok(())
        };
        let parsed = read.parse2(tokens);
        errors.keep(parsed);
        args
    }

    fn parse_one(&mut self, input: ParseStream<'_>, known: &[&str], errors: &mut Errors) {
        let arg = Arg::parse(input);
        let stray = skip_past_comma(input);
        match arg {
            Err(error) => errors.push(error),
            Ok(arg) => {
                if !stray.is_empty() && !matches!(arg.value, Some(Err(_))) {
                    errors.push(mistake(stray, "expected `,`"));
                }
                self.admit(arg, known, errors);
            }
        }
    }

    fn admit(&mut self, arg: Arg, known: &[&str], errors: &mut Errors) {
        let key = &arg.key;
        if self.key(&key.to_string()).is_some() {
            errors.push(mistake(key, format_args!("`{key}` is given twice")));
        } else if known.iter().any(|word| key == word) {
            self.given.push(arg);
        } else {
            errors.push(unknown(key, known));
        }
    }

    /// The key as written, when it was given, be it rightly or not.
    pub(crate) fn key(&self, word: &str) -> Option<&Ident> {
        self.get(word).map(|arg| &arg.key)
    }

    /// Whether the flag stands there.
    pub(crate) fn flag(&self, word: &str, errors: &mut Errors) -> bool {
        let Some(Arg { key, value }) = self.get(word) else {
            return false;
        };
        if value.is_some() {
            let message = format_args!("`{key}` takes no value");
            errors.push(mistake_with_help(
                key,
                message,
                format_args!("write `{key}` alone"),
            ));
        }
        true
    }

    /// The value of the key as `read` understands it.
    pub(crate) fn value<T>(
        &self,
        word: &str,
        read: impl FnOnce(&Expr) -> syn::Result<T>,
        errors: &mut Errors,
    ) -> Option<T> {
        let Arg { key, value } = self.get(word)?;
        match value {
            Some(Ok(value)) => errors.keep(read(value)),
            Some(Err(error)) => {
                errors.push(error.clone());
                None
            }
            None => {
                errors.push(needs_value(key));
                None
            }
        }
    }

    fn get(&self, word: &str) -> Option<&Arg> {
        self.given.iter().find(|arg| arg.key == word)
    }
}

impl Arg {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if !input.peek(Ident::peek_any) {
            let found: TokenTree = input.parse()?;
            let help = "arguments are written `key = value`, or `key` alone where it is a flag";
            return Err(mistake_with_help(found, "expected a key", help));
        }
        let key = input.call(Ident::parse_any)?;
        let value = match input.parse::<Option<Token![=]>>()? {
            None => None,
            Some(_) if input.is_empty() || input.peek(Token![,]) => Some(Err(needs_value(&key))),
            Some(_) => Some(input.parse().map(without_groups)),
        };
        Ok(Self { key, value })
    }
}

/// What a `macro_rules!` has put in place of `$topic` comes in a group that nobody has written.
fn without_groups(expr: Expr) -> Expr {
    match expr {
        Expr::Group(group) => without_groups(*group.expr),
        Expr::Array(mut array) => {
            let elements = std::mem::take(&mut array.elems);
            array.elems = elements.into_iter().map(without_groups).collect();
            Expr::Array(array)
        }
        other => other,
    }
}

/// Goes on behind the next comma; returns what stood before it and belongs to no argument.
fn skip_past_comma(input: ParseStream<'_>) -> TokenStream {
    let mut stray = TokenStream::new();
    while let Ok(token) = input.parse::<TokenTree>() {
        match token {
            TokenTree::Punct(comma) if comma.as_char() == ',' => break,
            token => token.to_tokens(&mut stray),
        }
    }
    stray
}

fn needs_value(key: &Ident) -> syn::Error {
    let message = format_args!("`{key}` needs a value");
    mistake_with_help(key, message, format_args!("write `{key} = …`"))
}

fn unknown(key: &Ident, known: &[&str]) -> syn::Error {
    let written = key.to_string();
    let message = format!(
        "unknown argument `{written}`; expected one of: {}",
        words::listed(known)
    );
    match words::nearest(&written, known) {
        Some(word) => mistake_with_help(key, message, format_args!("did you mean `{word}`?")),
        None => mistake(key, message),
    }
}
