//! A body in JSON as its description has it: objects are objects, where serde's structures take arrays of their fields as well,
//! and 2.0 is a whole number.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// What is sent; every structure in it, however deep, is an object.
pub(super) struct Sent<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Sent<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sent<T>, D::Error> {
        T::deserialize(Strict(deserializer)).map(Sent)
    }
}

/// Around what reads, and around all that it hands on.
struct Strict<I>(I);

/// Up to here each whole number is one of those of 64 bits with a fraction (2^53).
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    // JSON says what comes, so that nothing else has to be asked for by its kind.
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Strict(visitor))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_option(Strict(visitor))
    }

    /// Asks for a map, which an array is not.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Strict(visitor))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, Strict(visitor))
    }

    /// A choice is a word: what it would have beside that is not looked into.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Strict<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<V::Value, E> {
        self.0.visit_bool(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<V::Value, E> {
        self.0.visit_i64(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<V::Value, E> {
        self.0.visit_u64(value)
    }

    /// Who wants a fraction takes a whole number as well.
    fn visit_f64<E: Error>(self, value: f64) -> Result<V::Value, E> {
        match value.fract() == 0.0 && value.abs() <= WHOLE_MAX {
            true => self.0.visit_i64(value as i64),
            false => self.0.visit_f64(value),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<V::Value, E> {
        self.0.visit_str(value)
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Strict(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Strict(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Strict(access))
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Strict(access))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Strict(seed))
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Strict(seed))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(deserializer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        name: Option<String>,
        inner: Option<Inner>,
        #[serde(default)]
        list: Vec<Inner>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(expecting = "an object")]
    struct Inner {
        rate: f64,
        count: Option<i8>,
        flag: bool,
    }

    fn read(text: &str) -> Result<Outer, String> {
        serde_json::from_str::<Sent<Outer>>(text).map(|sent| sent.0).map_err(|error| error.to_string())
    }

    #[test]
    fn objects_are_read_as_ever() {
        let inner = |rate, count| Inner { rate, count, flag: true };
        let text = r#"{"name": "a\nb", "inner": {"rate": 5, "count": -3, "flag": true},
            "list": [{"rate": 0.5, "count": null, "flag": true}]}"#;
        let name = Some("a\nb".to_owned());
        assert_eq!(
            read(text),
            Ok(Outer { name, inner: Some(inner(5.0, Some(-3))), list: vec![inner(0.5, None)] })
        );
        assert_eq!(
            read(r#"{"name": null, "inner": null}"#),
            Ok(Outer { name: None, inner: None, list: vec![] })
        );
        assert!(read(r#"{"other": 1}"#).unwrap_err().contains("unknown field `other`"));
        assert!(read(r#"{"name": "a", "name": "b"}"#).unwrap_err().contains("duplicate field"));
    }

    #[test]
    fn a_whole_number_may_have_a_fraction_of_nothing() {
        let count = |text: &str| {
            let text = format!(r#"{{"inner": {{"rate": 1, "flag": true, "count": {text}}}}}"#);
            read(&text).map(|outer| outer.inner.and_then(|inner| inner.count))
        };
        assert_eq!((count("12.0"), count("-1e1"), count("-0.0")), (Ok(Some(12)), Ok(Some(-10)), Ok(Some(0))));
        for wrong in ["1.5", "128.0", "1e300", "\"1\"", "true", "[]"] {
            assert!(count(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_array_stands_for_no_object_however_deep() {
        let array = "[1.0, 2, true]";
        for text in [
            "[null, null, []]".to_owned(),
            format!(r#"{{"inner": {array}}}"#),
            format!(r#"{{"list": [{array}]}}"#),
        ] {
            assert!(serde_json::from_str::<Outer>(&text).is_ok(), "serde itself takes {text}");
            assert!(read(&text).unwrap_err().contains("invalid type: sequence"), "{text}");
        }
        assert!(read(r#"{"inner": []}"#).unwrap_err().contains("expected an object"));
    }
}
