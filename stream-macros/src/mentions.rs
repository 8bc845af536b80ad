//! What a function's body mentions: paths that may name topics and tables.
//!
//! Statics are written in capitals, so those paths are taken whose last segment is. The runtime looks each
//! up among what was declared, and forgets the ones that are something else (`u64::MAX`). What a helper
//! function mentions is not seen.

use proc_macro2::{TokenStream, TokenTree};

/// The paths in order of appearance, each once, macro arguments included.
pub(crate) fn mentions(body: &TokenStream) -> Vec<String> {
    let mut found = Vec::new();
    collect(body.clone(), &mut found);
    found
}

fn collect(tokens: TokenStream, found: &mut Vec<String>) {
    let mut path = Path::default();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => path.ident(&ident.to_string(), found),
            TokenTree::Punct(punct) => path.punct(punct.as_char(), found),
            TokenTree::Literal(_) => path.end(found),
            TokenTree::Group(group) => {
                path.end(found);
                collect(group.stream(), found);
            }
        }
    }
    path.end(found);
}

/// A path that is being read.
#[derive(Default)]
struct Path {
    segments: Vec<String>,
    /// Colons since the last segment.
    colons: usize,
    /// The next identifier is a lifetime, a field or a method.
    skips: bool,
}

impl Path {
    fn ident(&mut self, ident: &str, found: &mut Vec<String>) {
        if self.colons != 2 {
            self.end(found);
        }
        self.colons = 0;
        if !std::mem::take(&mut self.skips) {
            self.segments.push(ident.to_owned());
        }
    }

    fn punct(&mut self, punct: char, found: &mut Vec<String>) {
        if punct == ':' && self.colons < 2 {
            self.colons += 1;
        } else {
            self.end(found);
            self.skips = matches!(punct, '.' | '\'');
        }
    }

    fn end(&mut self, found: &mut Vec<String>) {
        let segments = std::mem::take(&mut self.segments);
        self.colons = 0;
        if segments.last().is_some_and(|last| is_capitals(last)) {
            let path = segments.join("::");
            if !found.contains(&path) {
                found.push(path);
            }
        }
    }
}

/// Whether the name is written as statics are; a single letter is a type parameter.
pub(crate) fn is_capitals(name: &str) -> bool {
    name.len() > 1
        && name.starts_with(|first: char| first.is_ascii_uppercase())
        && name
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use quote::quote;

    #[track_caller]
    fn check(body: &proc_macro2::TokenStream, expected: &[&str]) {
        assert_eq!(super::mentions(body), expected);
    }

    #[test]
    fn paths_are_kept_as_written() {
        check(
            &quote!({
                COLORS.send(&a, &b).await;
                super::tables::COUNT.get(&a);
                ::shop::ORDERS.def();
            }),
            &["COLORS", "super::tables::COUNT", "shop::ORDERS"],
        );
    }

    #[test]
    fn groups_and_macros_are_searched_and_nothing_is_named_twice() {
        check(
            &quote!({
                println!("{}", [COUNT.get(&k), TOTALS.get(&k)]);
                COUNT.get(&k)
            }),
            &["COUNT", "TOTALS"],
        );
    }

    #[test]
    fn other_things_are_not_paths_of_statics() {
        check(
            &quote!({
                let x: T = value.MAX;
                'OUTER: loop {
                    break 'OUTER;
                }
                Shape::Round;
                f::<A>()
            }),
            &[],
        );
    }

    #[test]
    fn a_type_annotation_is_no_path() {
        check(
            &quote!({
                let limit: LIMIT = other;
                S {
                    field: TOTALS,
                    at: a::COUNT,
                }
            }),
            &["LIMIT", "TOTALS", "a::COUNT"],
        );
    }
}
