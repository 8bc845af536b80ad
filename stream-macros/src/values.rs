//! The values of arguments: expressions in, checked values out, each mistake at the expression.

use std::ops::RangeInclusive;

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Expr, ExprLit, ExprPath, Ident, Lit, LitStr, Path};

use crate::errors::{Errors, mistake, mistake_with_help};
use crate::paths::{Json, Postcard, Raw, Text};
use crate::words;

/// A string.
pub(crate) fn text(expr: &Expr) -> syn::Result<&LitStr> {
    match expr {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text), ..
        }) => Ok(text),
        _ => Err(mistake_with_help(
            expr,
            "expected a string",
            "put it in quotes: `\"…\"`",
        )),
    }
}

/// A whole number from 1 to the largest the broker's protocol has room for, or less.
pub(crate) fn count<T: TryFrom<u32> + Copy>(expr: &Expr, largest: T) -> syn::Result<T>
where
    u32: From<T>,
{
    let number = whole_number(expr, 1..=u32::from(largest))?;
    Ok(T::try_from(number).unwrap_or(largest))
}

/// A whole number of a range.
pub(crate) fn whole_number(expr: &Expr, range: RangeInclusive<u32>) -> syn::Result<u32> {
    let number: Option<u32> = match expr {
        Expr::Lit(ExprLit {
            lit: Lit::Int(number),
            ..
        }) => number.base10_parse().ok(),
        _ => None,
    };
    number.filter(|number| range.contains(number)).ok_or_else(|| {
        let (first, last) = range.into_inner();
        mistake(
            expr,
            format_args!("expected a whole number from {first} to {last}"),
        )
    })
}

/// A path: no literal, no call.
pub(crate) fn path(expr: &Expr) -> Option<&Path> {
    match expr {
        Expr::Path(ExprPath {
            qself: None, path, ..
        }) => Some(path),
        _ => None,
    }
}

/// A path that is one word.
pub(crate) fn word(expr: &Expr) -> Option<&Ident> {
    path(expr)?.get_ident()
}

/// The elements of `[…]`.
pub(crate) fn list(expr: &Expr) -> syn::Result<impl Iterator<Item = &Expr>> {
    match expr {
        Expr::Array(array) => Ok(array.elems.iter()),
        _ => Err(mistake_with_help(
            expr,
            "expected a list",
            format_args!("write `[{}]`", expr.to_token_stream()),
        )),
    }
}

/// All results, or all errors as one.
pub(crate) fn all<T>(results: impl Iterator<Item = syn::Result<T>>) -> syn::Result<Vec<T>> {
    let mut errors = Errors::new();
    let values = results.filter_map(|result| errors.keep(result)).collect();
    errors.finish(Some(values))
}

/// A name that can be one on the broker. `what` gets it: "a topic".
pub(crate) fn name(expr: &Expr, what: &str) -> syn::Result<String> {
    let text = text(expr)?;
    let name = text.value();
    match name_fault(&name) {
        None => Ok(name),
        Some(fault) => {
            let message = format_args!("\"{name}\" cannot name {what}: {fault}");
            Err(mistake_with_help(text, message, NAME_RULE))
        }
    }
}

/// The name given, or else the one that comes from the identifier.
pub(crate) fn name_or(
    given: Option<String>,
    otherwise: fn(&str) -> String,
    ident: &Ident,
    what: &str,
) -> syn::Result<String> {
    let name = given.unwrap_or_else(|| otherwise(&ident.unraw().to_string()));
    match name_fault(&name) {
        None => Ok(name),
        Some(_) => {
            let message = format_args!("`{ident}` cannot name {what}");
            Err(mistake_with_help(
                ident,
                message,
                "give it another name: `name = \"…\"`",
            ))
        }
    }
}

const NAME_RULE: &str = "a name is 1 to 249 letters (a–z, A–Z), digits, `.`, `_` and `-`";

/// What Kafka has against a topic's name.
fn name_fault(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name {
        "" => Some("it is empty".to_owned()),
        "." | ".." => Some("it is a directory".to_owned()),
        _ if name.len() > 249 => Some(format!("it is {} bytes long", name.len())),
        _ => name
            .chars()
            .find(|&c| !allowed(c))
            .map(|c| format!("it contains {c:?}")),
    }
}

/// `COLORS_COUNT` and `ColorsCount` as `colors-count`; digits stay with their letters (`ORDERS_V2`, `orders-v2`).
pub(crate) fn kebab(ident: &str) -> String {
    let mut kebab = String::new();
    let mut after_lower = false;
    for c in ident.chars() {
        let dash = c == '_' || (after_lower && c.is_uppercase());
        if dash && !kebab.is_empty() && !kebab.ends_with('-') {
            kebab.push('-');
        }
        if c != '_' {
            kebab.extend(c.to_lowercase());
        }
        after_lower = c.is_lowercase();
    }
    kebab.trim_end_matches('-').to_owned()
}

/// A span of time in milliseconds: `"500ms"`, `"10s"`, `"5m"`, `"2h"`, `"7d"`.
pub(crate) fn duration(expr: &Expr) -> syn::Result<u64> {
    let length = text(expr).ok().and_then(|text| milliseconds(&text.value()));
    length.ok_or_else(|| not_a_duration(expr, ""))
}

/// As [`duration`], or `"forever"`, which is −1 as the broker has it.
pub(crate) fn retention(expr: &Expr) -> syn::Result<i64> {
    let length = text(expr).ok().and_then(|text| match text.value().as_str() {
        words::FOREVER => Some(-1),
        text => i64::try_from(milliseconds(text)?).ok(),
    });
    length.ok_or_else(|| not_a_duration(expr, ", or `\"forever\"`"))
}

fn not_a_duration(expr: &Expr, otherwise: &str) -> syn::Error {
    let help = format_args!(
        "write a whole number and its unit: `\"500ms\"`, `\"10s\"`, `\"5m\"`, `\"2h\"`, `\"7d\"`{otherwise}"
    );
    mistake_with_help(expr, "expected a span of time", help)
}

fn milliseconds(text: &str) -> Option<u64> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return None,
    };
    number.checked_mul(factor).filter(|&length| length > 0)
}

/// A codec: one of those that come along by its word, or the path of another.
pub(crate) fn codec(expr: &Expr) -> syn::Result<TokenStream> {
    let Some(path) = path(expr) else {
        return Err(mistake_with_help(expr, "expected a codec", codec_help()));
    };
    let Some(word) = path
        .get_ident()
        .filter(|word| word.to_string().starts_with(char::is_lowercase))
    else {
        return Ok(path.to_token_stream());
    };
    match word.to_string().as_str() {
        words::JSON => Ok(Json.at(word)),
        words::TEXT => Ok(Text.at(word)),
        words::RAW => Ok(Raw.at(word)),
        words::POSTCARD => Ok(Postcard.at(word)),
        _ => Err(mistake_with_help(
            word,
            format_args!("unknown codec `{word}`"),
            codec_help(),
        )),
    }
}

fn codec_help() -> String {
    let known = words::listed(&[words::JSON, words::TEXT, words::RAW, words::POSTCARD]);
    format!("a codec is one of {known}, or the path of a type that implements `Codec`")
}

/// Settings in the broker's words: `[("min.insync.replicas", "2")]`.
pub(crate) fn config(expr: &Expr) -> syn::Result<Vec<(LitStr, LitStr)>> {
    let pairs = all(list(expr)?.map(|pair| match pair {
        Expr::Tuple(tuple) if tuple.elems.len() == 2 => {
            Ok((text(&tuple.elems[0])?.clone(), text(&tuple.elems[1])?.clone()))
        }
        _ => Err(mistake_with_help(
            pair,
            "expected a setting",
            "write `(\"name\", \"value\")`",
        )),
    }))?;
    for (index, (name, _)) in pairs.iter().enumerate() {
        if pairs[..index]
            .iter()
            .any(|(earlier, _)| earlier.value() == name.value())
        {
            return Err(mistake(name, format_args!("\"{}\" is given twice", name.value())));
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_names_are_in_kebab_case() {
        assert_eq!(kebab("COLORS_COUNT"), "colors-count");
        assert_eq!(kebab("ORDERS_V2"), "orders-v2");
        assert_eq!(kebab("TOP_10_ORDERS"), "top-10-orders");
        assert_eq!(kebab("__PRIVATE__NAME_"), "private-name");
        assert_eq!(kebab("ColorsCount"), "colors-count");
    }

    #[test]
    fn names_are_those_the_broker_accepts() {
        for name in ["shop.orders.v1", "a", "A_b-9", &"x".repeat(249)] {
            assert_eq!(name_fault(name), None, "{name}");
        }
        for name in ["", ".", "..", "two words", "é", "a/b", &"x".repeat(250)] {
            assert!(name_fault(name).is_some(), "{name}");
        }
    }

    #[test]
    fn spans_of_time_are_a_number_and_a_unit() {
        assert_eq!(milliseconds("500ms"), Some(500));
        assert_eq!(milliseconds("5m"), Some(300_000));
        assert_eq!(milliseconds("7d"), Some(604_800_000));
        for text in [
            "",
            "5",
            "s",
            "0s",
            "-5s",
            "1.5h",
            "5 m",
            "5M",
            "1w",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }
}
