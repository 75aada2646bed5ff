//! Writes the JSON Schema of relay.toml from the table of keys, in draft-07, which editors read.

use serde_json::{Map, Value, json};

use super::keys::{KEYS, Key, Type};
use super::units::{DURATION_UNITS, SIZE_UNITS};

/// The schema of a whole relay.toml. It fits an included file too, except that it requires `version`.
pub fn json_schema() -> Value {
    let mut schema = table("");
    let head = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "relay.toml",
        "description": "Configuration of Relay",
    });
    if let (Value::Object(schema), Value::Object(head)) = (&mut schema, head) {
        let rest = std::mem::replace(schema, head);
        schema.extend(rest);
    }
    schema
}

fn table(path: &str) -> Value {
    let keys: Vec<&Key> = KEYS.iter().filter(|key| key.table == path).collect();
    let properties: Map<_, _> = keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<_> = keys.iter().filter(|key| key.required()).map(|key| key.name).collect();
    let mut schema = json!({"type": "object", "additionalProperties": false, "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    match path {
        "topics.<name>.examples" => schema["oneOf"] = one_of(&["valid", "invalid"]),
        "tokens.<name>" => schema["oneOf"] = one_of(&["sha256", "secret"]),
        "tokens.<name>.secret" => schema["oneOf"] = one_of(&["env", "file"]),
        _ => {}
    }
    schema
}

fn one_of(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"required": [name]})).collect()
}

fn property(key: &Key) -> Value {
    let path = key.path();
    let mut schema = match key.value {
        Type::Text => json!({"type": "string"}),
        Type::Choice(words) => json!({"enum": words}),
        Type::Count(..) if key.name == "version" => json!({"const": 1}),
        Type::Count(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        Type::Size(min, max) => json!({"anyOf": [
            {"type": "integer", "minimum": min, "maximum": max},
            {"type": "string", "pattern": format!("^[0-9]+ ?{SIZE_UNITS}$")},
        ]}),
        Type::Duration(..) => json!({"type": "string", "pattern": format!("^[0-9]+ ?{DURATION_UNITS}$")}),
        Type::Rate(max) => json!({"anyOf": [{"const": "off"}, {"type": "integer", "minimum": 1, "maximum": max}]}),
        Type::Texts => json!({"type": "array", "items": {"type": "string"}}),
        // Editors hand a TOML date over as text.
        Type::Time => json!({"type": "string", "format": "date-time"}),
        Type::Json => json!({}),
        Type::Table => table(&path),
        Type::Named => json!({"type": "object", "additionalProperties": table(&format!("{path}.<name>"))}),
        Type::Tables => json!({"type": "array", "items": table(&path)}),
    };
    schema["description"] = json!(key.doc);
    if let Some(default) = key.default_value() {
        schema["default"] = default;
    }
    schema
}
