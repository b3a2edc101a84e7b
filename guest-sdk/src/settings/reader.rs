//! A deserializer over parsed JSON that knows the path of each value. It records unknown keys itself, so that authors
//! need no attribute for it, and skips values that earlier passes found wrong.

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

use super::Found;
use super::refusal::{Refusal, join};

/// A value, its path, and the problems that were found so far.
pub(super) struct Reader<'a> {
    value: &'a Value,
    path: String,
    found: &'a Found,
}

impl<'a> Reader<'a> {
    pub(super) fn new(value: &'a Value, found: &'a Found) -> Self {
        Self { value, path: String::new(), found }
    }

    fn keys(&self, map: &'a Map<String, Value>) -> Keys<'a> {
        Keys { entries: map.iter(), value: None, path: self.path.clone(), found: self.found }
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let result = match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::String(value) => visitor.visit_str(value),
            Value::Array(elements) => visitor.visit_seq(Elements {
                elements: elements.iter().enumerate(),
                path: self.path.clone(),
                found: self.found,
            }),
            Value::Object(map) => visitor.visit_map(self.keys(map)),
            Value::Number(number) => {
                if let Some(value) = number.as_u64() {
                    visitor.visit_u64(value)
                } else if let Some(value) = number.as_i64() {
                    visitor.visit_i64(value)
                } else {
                    visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN))
                }
            }
        };
        result.map_err(|refusal| refusal.at(&self.path))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        let path = self.path.clone();
        visitor.visit_newtype_struct(self).map_err(|refusal| refusal.at(&path))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let Value::Object(map) = self.value else {
            return Err(Refusal::invalid_type(kind(self.value), &"a table").at(&self.path));
        };
        for key in map.keys().filter(|key| !fields.contains(&key.as_str())) {
            if !self.found.skips(&join(&self.path, key)) {
                self.found.add(Refusal::unknown_field(key, fields).at(&self.path));
            }
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let result = match self.value {
            Value::String(variant) => {
                let variant: StrDeserializer<'_, Refusal> = variant.as_str().into_deserializer();
                visitor.visit_enum(variant)
            }
            Value::Object(map) => visitor.visit_enum(MapAccessDeserializer::new(self.keys(map))),
            other => Err(Refusal::invalid_type(kind(other), &"a string")),
        };
        result.map_err(|refusal| refusal.at(&self.path))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

fn kind(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(value) => Unexpected::Bool(*value),
        Value::Number(_) => Unexpected::Other("a number"),
        Value::String(value) => Unexpected::Str(value),
        Value::Array(_) => Unexpected::Seq,
        Value::Object(_) => Unexpected::Map,
    }
}

/// The entries of an object, without the skipped ones.
struct Keys<'a> {
    entries: serde_json::map::Iter<'a>,
    /// The value of the key that was returned last, and its path.
    value: Option<(&'a Value, String)>,
    path: String,
    found: &'a Found,
}

impl<'de> MapAccess<'de> for Keys<'_> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        for (key, value) in self.entries.by_ref() {
            let path = join(&self.path, key);
            if self.found.skips(&path) {
                continue;
            }
            let name: StrDeserializer<'_, Refusal> = key.as_str().into_deserializer();
            let name = seed.deserialize(name).map_err(|refusal| refusal.at(&path))?;
            self.value = Some((value, path));
            return Ok(Some(name));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refusal> {
        let Some((value, path)) = self.value.take() else {
            return Err(Refusal::custom("a value was requested before its key"));
        };
        seed.deserialize(Reader { value, path: path.clone(), found: self.found }).map_err(|refusal| refusal.at(&path))
    }
}

/// The elements of a list, without the skipped ones. Paths count all elements from 0.
struct Elements<'a> {
    elements: std::iter::Enumerate<std::slice::Iter<'a, Value>>,
    path: String,
    found: &'a Found,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Refusal;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refusal> {
        for (position, value) in self.elements.by_ref() {
            let path = join(&self.path, &position.to_string());
            if self.found.skips(&path) {
                continue;
            }
            let reader = Reader { value, path: path.clone(), found: self.found };
            return seed.deserialize(reader).map(Some).map_err(|refusal| refusal.at(&path));
        }
        Ok(None)
    }
}
