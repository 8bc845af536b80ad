//! Null in records and in types: `None` and `()` are null, everything else is not.

use std::fmt;

use serde::de::{DeserializeOwned, IntoDeserializer, value::Error as ValueError};
use serde::ser::{Impossible, Serialize, Serializer};

use crate::record::codec::CodecError;

/// Whether `value` is `None` or `()`.
///
/// Serde alone knows whether a `T` is an option. The probe answers at the value's first call and never
/// walks into it; the call is monomorphic and leaves nothing behind for other types.
pub(super) fn is_null<T: Serialize>(value: &T) -> bool {
    matches!(value.serialize(Probe), Err(Seen::Null))
}

/// The `T` that stands for null: `None`, `()`.
pub(super) fn from_null<T: DeserializeOwned>() -> Result<T, CodecError> {
    let null = IntoDeserializer::<ValueError>::into_deserializer(());
    T::deserialize(null).map_err(|_| {
        CodecError::new(format!(
            "a {} is needed, the record has none (take `Option` where null is meant)",
            std::any::type_name::<T>()
        ))
    })
}

/// What the first call of a value told; an error, since that ends its serialization.
#[derive(Debug)]
enum Seen {
    Null,
    Something,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Seen {}

impl serde::ser::Error for Seen {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Something
    }
}

struct Probe;

type Nothing = Impossible<(), Seen>;

macro_rules! something {
    ($($name:ident($type:ty);)*) => {
        $(fn $name(self, _: $type) -> Result<(), Seen> {
            Err(Seen::Something)
        })*
    };
}

impl Serializer for Probe {
    type Ok = ();
    type Error = Seen;
    type SerializeSeq = Nothing;
    type SerializeTuple = Nothing;
    type SerializeTupleStruct = Nothing;
    type SerializeTupleVariant = Nothing;
    type SerializeMap = Nothing;
    type SerializeStruct = Nothing;
    type SerializeStructVariant = Nothing;

    fn serialize_none(self) -> Result<(), Seen> {
        Err(Seen::Null)
    }

    fn serialize_unit(self) -> Result<(), Seen> {
        Err(Seen::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), Seen> {
        Err(Seen::Something)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Seen> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Seen> {
        Err(Seen::Something)
    }

    something! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_unit_struct(&'static str);
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Seen> {
        Err(Seen::Something)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Nothing, Seen> {
        Err(Seen::Something)
    }

    fn serialize_tuple(self, _: usize) -> Result<Nothing, Seen> {
        Err(Seen::Something)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Nothing, Seen> {
        Err(Seen::Something)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Nothing, Seen> {
        Err(Seen::Something)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Nothing, Seen> {
        Err(Seen::Something)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Nothing, Seen> {
        Err(Seen::Something)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Nothing, Seen> {
        Err(Seen::Something)
    }
}
