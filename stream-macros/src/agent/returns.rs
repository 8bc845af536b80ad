//! What an agent's function returns, as far as its tokens say.

use syn::{ReturnType, Type};

use crate::types;

/// The return type, taken apart: `Result<Option<u64>, Error>` is fallible, none or one `u64`.
pub(super) struct Returns<'a> {
    /// `Result<…>` as written, when it is one.
    pub(super) result: Option<&'a Type>,
    /// Without the `Result`; `None` for `()`.
    pub(super) inner: Option<&'a Type>,
}

impl<'a> Returns<'a> {
    pub(super) fn of(output: &'a ReturnType) -> Self {
        let ReturnType::Type(_, ty) = output else {
            return Self {
                result: None,
                inner: None,
            };
        };
        match types::arguments_of(ty, "Result") {
            Some(arguments) => Self {
                result: Some(ty),
                inner: arguments.first().copied().filter(|inner| !types::is_unit(inner)),
            },
            None => Self {
                result: None,
                inner: Some(&**ty).filter(|inner| !types::is_unit(inner)),
            },
        }
    }

    /// What goes to a sink at a time, and whether there can be none of it or several.
    pub(super) fn sunk(&self) -> Option<(&'a Type, Count)> {
        let inner = self.inner?;
        let many = ["Option", "Vec"]
            .iter()
            .find_map(|name| types::arguments_of(inner, name));
        match many.as_deref() {
            Some([value]) => Some((value, Count::Any)),
            _ => Some((inner, Count::One)),
        }
    }
}

/// How often a sink is given something, for one record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    One,
    Any,
}
