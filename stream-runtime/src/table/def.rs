//! What `#[table]` says about a table.

use super::shard::TableShard;
use crate::record::{Location, TypeInfo};

/// Everything a declaration says about a table, without its types' parameters.
#[derive(Debug)]
#[non_exhaustive]
pub struct TableDef {
    /// The declared name; the changelog is `<app>-<name>-changelog`.
    pub name: &'static str,
    /// The identifier of the static.
    pub ident: &'static str,
    /// The type of the keys.
    pub key: TypeInfo,
    /// The type of the values.
    pub value: TypeInfo,
    /// The name of the values' codec.
    pub value_codec: &'static str,
    /// Further settings of the changelog topic, in the broker's words.
    pub config: &'static [(&'static str, &'static str)],
    /// The doc comment.
    pub doc: &'static str,
    /// Where it was declared.
    pub location: Location,
}

/// The part of a declaration that is not types: what `#[table]` was given.
#[derive(Debug, Clone, Copy)]
#[doc(hidden)]
pub struct TableOptions {
    pub name: &'static str,
    pub ident: &'static str,
    pub config: &'static [(&'static str, &'static str)],
    pub doc: &'static str,
    pub location: Location,
}

/// A table as the registry collects it.
#[derive(Debug, Clone, Copy)]
#[doc(hidden)]
pub struct TableEntry {
    pub def: fn() -> &'static TableDef,
    /// Makes an empty shard for one task.
    pub(crate) open: fn() -> TableShard,
}

impl TableEntry {
    #[doc(hidden)]
    pub const fn __new(def: fn() -> &'static TableDef, open: fn() -> TableShard) -> Self {
        Self { def, open }
    }
}
