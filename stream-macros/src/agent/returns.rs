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

    /// What goes to a sink at a time, and how often.
    pub(super) fn sunk(&self) -> Option<(&'a Type, Count)> {
        let inner = self.inner?;
        let element = |name, count| match types::arguments_of(inner, name)?[..] {
            [element] => Some((element, count)),
            _ => None,
        };
        element("Option", Count::Maybe)
            .or_else(|| element("Vec", Count::Each))
            .or(Some((inner, Count::Once)))
    }
}

/// How often a sink is given something, for one record.
#[derive(Clone, Copy)]
pub(super) enum Count {
    Once,
    /// Once or never: what is in an `Option`.
    Maybe,
    /// As often as a `Vec` says.
    Each,
}
