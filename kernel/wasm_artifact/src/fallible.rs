//! Decoding of what needs memory: a lack of it is an error, where serde's own implementations panic.
//!
//! To be named in `#[serde(deserialize_with = "…")]` of every field that is a vector, a boxed slice or a string. What is written
//! stays the same.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// The text of the error.
pub(crate) const OUT_OF_MEMORY: &str = "out of memory";

/// Bytes that are allocated at most because a file says so. More comes as there really are elements.
const BELIEVED: usize = 64 << 10;

fn out_of_memory<E: Error>() -> E {
    E::custom(OUT_OF_MEMORY)
}

/// Decodes a vector.
pub(crate) fn vec<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Elements<T>(PhantomData<fn() -> T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a sequence")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<T>, A::Error> {
            let mut elements = Vec::new();
            let announced = sequence.size_hint().unwrap_or(0).min(BELIEVED / size_of::<T>().max(1));
            elements.try_reserve_exact(announced).map_err(|_| out_of_memory())?;
            while let Some(element) = sequence.next_element()? {
                elements.try_reserve(1).map_err(|_| out_of_memory())?;
                elements.push(element);
            }
            Ok(elements)
        }
    }

    deserializer.deserialize_seq(Elements(PhantomData))
}

/// Decodes a boxed slice, which is meant to be short: a long one is moved to where it fits exactly.
pub(crate) fn boxed<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Box<[T]>, D::Error> {
    vec(deserializer).map(Vec::into_boxed_slice)
}

/// Decodes a string.
pub(crate) fn string<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Text::deserialize(deserializer).map(|text| text.0)
}

/// Decodes a string that may be absent.
pub(crate) fn optional_string<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    Ok(Option::<Text>::deserialize(deserializer)?.map(|text| text.0))
}

struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Characters;

        impl Visitor<'_> for Characters {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, characters: &str) -> Result<Text, E> {
                let mut text = String::new();
                text.try_reserve_exact(characters.len()).map_err(|_| out_of_memory())?;
                text.push_str(characters);
                Ok(Text(text))
            }
        }

        deserializer.deserialize_str(Characters)
    }
}
