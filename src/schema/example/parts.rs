//! Makes arrays and objects that a schema may accept: the smallest one, and that with one part changed.

use std::borrow::Cow;
use std::ops::ControlFlow::{self, Break};

use serde_json::{Map, Value, json};

use crate::schema::example::text::strings;
use crate::schema::example::{ANYTHING, At, Guess, LONGEST, Offer, list};

impl Guess<'_> {
    pub(super) fn arrays(&self, schema: &Map<String, Value>, at: At, offer: Offer<'_>) -> ControlFlow<()> {
        let below = at.below();
        let bound = |keyword| schema.get(keyword).and_then(Value::as_u64).map(|bound| bound.min(LONGEST) as usize);
        // In 2019-09 and before, `items` may be the list of schemas.
        let (prefix, items) = match schema.get("items") {
            Some(Value::Array(prefix)) => (prefix.as_slice(), schema.get("additionalItems")),
            items => (list(schema, "prefixItems"), items),
        };
        let items = items.unwrap_or(&ANYTHING);
        let contains = schema.get("contains");
        let demanded = contains.map_or(0, |_| bound("minContains").unwrap_or(1));
        let least = bound("minItems").unwrap_or(0);
        let is_distinct = schema.get("uniqueItems") == Some(&ANYTHING);
        let mut front: Vec<Value> = prefix.iter().map(|schema| self.least(schema, below)).collect();
        let several = |count: usize, schema| self.first(if is_distinct { count } else { 1 }, schema, below);
        let found = contains.map(|contains| several(demanded, contains)).unwrap_or_default();
        front.extend(found.iter().cycle().take(if found.is_empty() { 0 } else { demanded }).cloned());
        let base = least.max(if demanded > 0 { front.len() } else { 0 });
        let usual = several(base + 3, items);
        let array = |length: usize, changed: Option<(usize, Value)>| -> Option<Value> {
            let is_spare = |item: &&Value| !is_distinct || changed.as_ref().is_none_or(|(_, value)| value != *item);
            let again = usual.last().filter(|_| !is_distinct).into_iter().cycle();
            let mut usual = usual.iter().filter(is_spare).chain(again);
            let item = |index: usize| match (&changed, front.get(index)) {
                // A placeholder for the changed item.
                (Some((place, _)), _) if *place == index => Some(Value::Null),
                (_, Some(item)) => self.copy(item),
                _ => usual.next().map_or_else(|| Some(json!(index)), |item| self.copy(item)),
            };
            let mut array: Vec<Value> = (0..length).map(item).collect::<Option<_>>()?;
            if let Some((place, value)) = changed {
                array[place] = value;
            }
            Some(array.into())
        };
        let mut offer = |array: Option<Value>| array.map_or(Break(()), &mut *offer);
        let most = bound("maxItems").filter(|most| *most < LONGEST as usize);
        let front_and = |more: usize| front.len() + more;
        let lengths = [base, least, front_and(0), front_and(1), front_and(2), least + 1];
        let lengths = lengths.into_iter().chain(most.into_iter().flat_map(|most| [most, most + 1]));
        at.share(lengths).try_for_each(|length| offer(array(length, None)))?;
        let prefix: Vec<_> = prefix.iter().chain(contains.filter(|_| demanded > 0)).enumerate().collect();
        self.fairly(&prefix, |(index, schema)| {
            self.of(schema, below, &mut |value| offer(array(least.max(front.len()), Some((*index, value)))))
        })?;
        self.of(items, below, &mut |value| offer(array(least.max(front_and(1)), Some((front.len(), value)))))
    }

    pub(super) fn objects(&self, schema: &Map<String, Value>, at: At, offer: Offer<'_>) -> ControlFlow<()> {
        let below = at.below();
        let nothing = Map::new();
        let map = |keyword| schema.get(keyword).and_then(Value::as_object).unwrap_or(&nothing);
        let properties = map("properties");
        let others = schema.get("additionalProperties").unwrap_or(&ANYTHING);
        let value = |name: &str| self.least(properties.get(name).unwrap_or(others), below);
        let mut required = Map::new();
        complete(schema, &mut required, list(schema, "required").iter().rev().collect(), &value);
        let bound = |keyword| schema.get(keyword).and_then(Value::as_u64).filter(|bound| *bound < LONGEST);
        let patterns = || map("patternProperties").iter();
        let by_pattern = || {
            let all = patterns()
                .flat_map(|(pattern, schema)| self.matching(pattern).into_iter().map(move |name| (name, schema)));
            all.filter(|(name, _)| !name.is_empty())
        };
        let filled = |size: u64| {
            let named = properties.iter().map(|(name, schema)| (name.clone(), schema)).chain(by_pattern());
            let names = named.chain((0..size).map(|index| (format!("p{index}"), others)));
            self.copy_object(&required).map(|least| fill(least, size, names, &|schema| self.least(schema, below)))
        };
        let Some(least) = filled(bound("minProperties").unwrap_or(0)) else { return Break(()) };
        let mut offer = |object: Option<Map<String, Value>>| object.map_or(Break(()), |object| offer(object.into()));
        let sizes = bound("maxProperties").into_iter().flat_map(|most| [most, most + 1]);
        let sizes = std::iter::once(None).chain(sizes.map(Some));
        at.share(sizes).try_for_each(|size| offer(size.map_or_else(|| self.copy_object(&least), filled)))?;
        let matching = patterns().flat_map(|(pattern, schema)| {
            let is_known = self.is_known(pattern, schema);
            self.matching(pattern).into_iter().take(3).map(move |name| (name, schema, is_known))
        });
        let named = schema
            .get("propertyNames")
            .and_then(Value::as_object)
            .map(|names| strings(names, self.texts(names)).take(4).map(Cow::into_owned));
        let made = named.into_iter().flatten().chain(["x".to_owned(), "A 1".to_owned(), "x".repeat(64)]);
        let made = made.map(|name| (name, others, self.is_known("additionalProperties", others)));
        let names = properties.iter().map(|(name, schema)| (name.clone(), schema, self.is_known(name, schema)));
        // Known ones come first because they need no share of their own, which leaves more for the rest.
        let (known, mut new): (Vec<_>, Vec<_>) =
            made.chain(matching).chain(names).partition(|(.., is_known)| *is_known);
        // Recursive members come last: they would make an example deeper than necessary.
        new.sort_by_key(|(_, schema, _)| refers(schema) || schema.get("items").is_some_and(refers));
        let mut each = |(name, member, _): &(String, &Value, bool)| {
            let mut with = |guess: Value| {
                let object = self.copy_object(&least).map(|mut object| {
                    object.insert(name.clone(), guess);
                    complete(schema, &mut object, demanded_by(schema, name), &value);
                    object
                });
                offer(object)
            };
            self.of(member, below, &mut with)?;
            // Values that another schema accepts if it does not know this name.
            at.share([Value::Null, json!({}), json!("")]).try_for_each(with)
        };
        self.fairly(&new, &mut each)?;
        self.fairly(&known, each)
    }
}

fn refers(schema: &Value) -> bool {
    schema.get("$ref").is_some()
}

/// Adds members of these names, and those that they require in turn.
fn complete<'s>(
    schema: &'s Map<String, Value>,
    object: &mut Map<String, Value>,
    mut names: Vec<&'s Value>,
    value: &dyn Fn(&str) -> Value,
) {
    while let Some(name) = names.pop() {
        let Some(name) = name.as_str().filter(|name| !object.contains_key(*name)) else { continue };
        object.insert(name.to_owned(), value(name));
        names.extend(demanded_by(schema, name));
    }
}

/// The names that an object must have if it has this one.
fn demanded_by<'s>(schema: &'s Map<String, Value>, name: &str) -> Vec<&'s Value> {
    let keywords = ["dependentRequired", "dependencies"].into_iter();
    keywords.filter_map(|keyword| schema.get(keyword)?.get(name)?.as_array()).flatten().collect()
}

/// Adds members until the object has `size` of them or the names run out.
fn fill<'s>(
    mut object: Map<String, Value>,
    size: u64,
    names: impl Iterator<Item = (String, &'s Value)>,
    value: &dyn Fn(&Value) -> Value,
) -> Map<String, Value> {
    for (name, schema) in names {
        if object.len() as u64 >= size {
            break;
        }
        object.entry(name).or_insert_with(|| value(schema));
    }
    object
}
