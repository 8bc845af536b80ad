//! The doc comment of an item, as the topology shows it.

use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// The text of the doc comment: lines joined, the space after `///` dropped.
///
/// `#[doc = include_str!(…)]` has no text yet when a macro sees it, and is left out.
pub(crate) fn text(attributes: &[Attribute]) -> String {
    let lines: Vec<String> = attributes.iter().filter_map(line).collect();
    lines.join("\n").trim().to_owned()
}

fn line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(meta) = &attribute.meta else {
        return None;
    };
    match &meta.value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text), ..
        }) if meta.path.is_ident("doc") => {
            let text = text.value();
            Some(text.strip_prefix(' ').unwrap_or(&text).to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    #[test]
    fn lines_are_joined_and_lose_their_first_space() {
        let item: syn::ItemStruct = parse_quote! {
            /// Counts colours.
            ///
            ///  - indented
            #[allow(dead_code)]
            #[doc = include_str!("more.md")]
            struct Item;
        };
        assert_eq!(super::text(&item.attrs), "Counts colours.\n\n - indented");
    }
}
