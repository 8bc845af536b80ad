//! What `#[table]` expands to, and what rustc says where a type does not fit.

use std::marker::PhantomData;
use std::rc::Rc;

use serde::Serialize;

use super::shard::{Shard, TableShard};
use super::{Table, TableDef, TableOptions};
use crate::record::TypeInfo;
use crate::record::codec::{Codec, CodecError, CodecOf, Encoded};
use crate::record::key::TableKey;

/// The table; its types are parameters here so that rustc underlines the one that does not fit, once.
pub const fn declare_table<K: TableKey, V: TableValue<C>, C>(
    options: TableOptions,
    default: fn() -> V,
) -> Table<K, V> {
    Table {
        def: TableDef {
            name: options.name,
            ident: options.ident,
            key: TypeInfo::of::<K>(),
            value: TypeInfo::of::<V>(),
            value_codec: V::CODEC_NAME,
            config: options.config,
            doc: options.doc,
            location: options.location,
        },
        default,
        codec: CodecOf {
            name: V::CODEC_NAME,
            encode: V::ENCODE,
            decode: V::DECODE,
        },
        open: |table| TableShard(Rc::new(Shard::new(table))),
        key: PhantomData,
    }
}

/// A type of values that the codec `C` can write.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the value of a table",
    note = "values of tables need `Clone`, `serde::Serialize` and `serde::Deserialize`, and a codec that can write them"
)]
pub trait TableValue<C>: Clone + Serialize + 'static {
    /// [`Codec::NAME`].
    const CODEC_NAME: &'static str;
    /// [`Codec::encode`].
    const ENCODE: fn(&Self, &mut Vec<u8>) -> Result<Encoded, CodecError>;
    /// [`Codec::decode`].
    const DECODE: fn(Option<&[u8]>) -> Result<Self, CodecError>;
}

// The message is about the type of the value: which of its bounds is missing is in the note.
#[diagnostic::do_not_recommend]
impl<V: Clone + Serialize + 'static, C: Codec<V>> TableValue<C> for V {
    const CODEC_NAME: &'static str = C::NAME;
    const ENCODE: fn(&V, &mut Vec<u8>) -> Result<Encoded, CodecError> = C::encode;
    const DECODE: fn(Option<&[u8]>) -> Result<V, CodecError> = C::decode;
}

/// A type of values that a table can begin with unasked.
#[diagnostic::on_unimplemented(
    message = "a table does not know what a `{Self}` begins with",
    note = "derive `Default`, or say it: `#[table(default = …)]`"
)]
pub trait TableDefault {
    /// The value of a key that has none.
    fn table_default() -> Self;
}

#[diagnostic::do_not_recommend]
impl<V: Default> TableDefault for V {
    fn table_default() -> Self {
        Self::default()
    }
}
