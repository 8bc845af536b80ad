//! Types as they are written: a macro sees names, not what they stand for.

use syn::{GenericArgument, PathArguments, PathSegment, Type};

/// The last segment of a type that is a path: `Stream<T>` in `stream_runtime::Stream<T>`.
pub(crate) fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        Type::Paren(inner) => last_segment(&inner.elem),
        Type::Group(inner) => last_segment(&inner.elem),
        _ => None,
    }
}

/// The type arguments of a segment: `K` and `V` in `Topic<K, V>`.
pub(crate) fn arguments(segment: &PathSegment) -> Vec<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return Vec::new();
    };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    types.collect()
}

/// The arguments of `ty` if it is the generic type called `name`, and none otherwise.
pub(crate) fn arguments_of<'a>(ty: &'a Type, name: &str) -> Option<Vec<&'a Type>> {
    let segment = last_segment(ty).filter(|segment| segment.ident == name)?;
    Some(arguments(segment))
}

/// Whether this is `()`.
pub(crate) fn is_unit(ty: &Type) -> bool {
    matches!(ty, Type::Tuple(tuple) if tuple.elems.is_empty())
}

/// What keeps a type from being named in a static and from outliving a call, if anything does.
pub(crate) fn not_owned(ty: &Type) -> Option<&'static str> {
    match ty {
        Type::Reference(_) => Some("a reference"),
        Type::ImplTrait(_) => Some("`impl Trait`"),
        Type::Paren(inner) => not_owned(&inner.elem),
        Type::Group(inner) => not_owned(&inner.elem),
        _ => None,
    }
}
