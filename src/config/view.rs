//! The configuration in force as JSON, for operators: defaults filled in, includes merged, secrets masked.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::model::{Compatibility, Config, Limits, OnLag, SchemaSource, Server, TokenConfig, TopicConfig};
use super::{show_duration, show_size};
use crate::hex::hex;
use crate::principal::{Grants, UserPattern};

/// Replaces every secret and digest.
pub const MASKED: &str = "…masked";

/// The whole configuration, in the terms of the file.
pub fn view(config: &Config) -> Value {
    let topics: Map<_, _> = config.topics.iter().map(|t| (t.name.to_string(), topic(t))).collect();
    let tokens: Map<_, _> = config.tokens.iter().map(|t| (t.name.to_string(), token(t))).collect();
    let mut whole = settings(config);
    whole["topics"] = topics.into();
    whole["tokens"] = tokens.into();
    whole["anonymous"] = grants(&config.anonymous).into();
    whole
}

/// The parts that do not grow with topics and tokens: `[server]`, `[log]`, `[limits]`, `[store]`.
pub fn settings(config: &Config) -> Value {
    json!({
        "version": 1,
        "server": server(&config.server),
        "log": { "format": if config.log.json { "json" } else { "human" }, "level": config.log.level },
        "limits": limits(&config.limits),
        "store": { "kind": config.store.kind },
    })
}

/// Turns a [`view`] back into a relay.toml, without tokens, grants, certificates and examples.
///
/// # Errors
/// It is not a view.
pub fn to_toml(view: &Value) -> Result<String, String> {
    let mut view = view.as_object().cloned().ok_or("it contains no configuration")?;
    for untold in ["tokens", "anonymous"] {
        view.remove(untold);
    }
    if let Some(server) = view.get_mut("server").and_then(Value::as_object_mut) {
        // The certificate's files are on the server's machine.
        server.remove("tls");
    }
    let topics = view.get_mut("topics").and_then(Value::as_object_mut);
    topics.into_iter().flatten().filter_map(|(_, topic)| topic.as_object_mut()).for_each(|topic| {
        topic.remove("examples");
    });
    let limits = view.get_mut("limits").and_then(Value::as_object_mut);
    limits.into_iter().for_each(|limits| limits.retain(|_, value| !value.is_null()));
    toml::to_string(&view).map_err(|error| error.to_string())
}

fn server(server: &Server) -> Value {
    let proxies: Vec<_> = server.trusted_proxies.iter().map(|(address, bits)| format!("{address}/{bits}")).collect();
    json!({
        "listen": server.listen.to_string(),
        "admin": server.admin.as_ref().map_or(String::new(), ToString::to_string),
        "allowed_origins": server.allowed_origins,
        "allowed_hosts": server.allowed_hosts.clone().unwrap_or_default(),
        "trusted_proxies": proxies,
        "public_url": server.public_url.clone().unwrap_or_default(),
        "tls": server.tls.as_ref().map(|tls| json!({
            "cert": tls.cert,
            "cert_sha256": hex(&Sha256::digest(&tls.cert_pem)),
            "key": tls.key,
        })),
    })
}

fn topic(topic: &TopicConfig) -> Value {
    let history = &topic.history;
    let source = |schema: &SchemaSource| match schema {
        SchemaSource::Any => "any".to_owned(),
        // A file of that name needs `./`, or it would read as the word for no schema.
        SchemaSource::File(path) if &**path == "any" => "./any".to_owned(),
        SchemaSource::File(path) => path.to_string(),
    };
    let mut object = json!({
        "description": topic.description,
        "schema": source(&topic.schema),
        "history": {
            "count": history.count,
            "bytes": show_size(history.bytes as u64),
            "age": show_duration(history.age),
        },
        "compatibility": match topic.compatibility {
            Compatibility::None => "none",
            Compatibility::Publishers => "publishers",
            Compatibility::Subscribers => "subscribers",
            Compatibility::Full => "full",
        },
        "on_lag": match topic.on_lag {
            OnLag::Gap => "gap",
            OnLag::Disconnect => "disconnect",
        },
        "examples": topic.examples.len(),
    });
    if let Some((next, _)) = &topic.schema_next {
        object["schema_next"] = source(next).into();
    }
    object
}

fn token(token: &TokenConfig) -> Value {
    let mut object = Map::from_iter([("sha256".to_owned(), json!(MASKED))]);
    if let Some(user) = &token.user {
        object.insert("user".to_owned(), user.as_str().into());
    }
    if let Some(end) = token.not_after {
        object.insert("not_after".to_owned(), end.to_string().into());
    }
    object.extend(grants(&token.grants));
    Value::Object(object)
}

fn grants(grants: &Grants) -> Map<String, Value> {
    let topics = |patterns: &[crate::name::Pattern]| patterns.iter().map(ToString::to_string).collect::<Value>();
    let user = |pattern: &UserPattern| match pattern {
        UserPattern::Any => "*".to_owned(),
        UserPattern::Prefix(prefix) => format!("{prefix}*"),
        UserPattern::One(user) => user.as_str().to_owned(),
    };
    Map::from_iter([
        ("publish".to_owned(), topics(&grants.publish)),
        ("subscribe".to_owned(), topics(&grants.subscribe)),
        ("register".to_owned(), grants.register.iter().map(user).collect()),
    ])
}

fn limits(limits: &Limits) -> Value {
    let size = |bytes: usize| show_size(bytes as u64);
    let rate = |rate: Option<u32>| rate.map_or_else(|| json!("off"), |n| json!(n));
    json!({
        "body": size(limits.body),
        "batch": limits.batch,
        "frame": size(limits.frame),
        "header": size(limits.header),
        "uri": size(limits.uri),
        "header_timeout": show_duration(limits.header_timeout),
        "body_timeout": show_duration(limits.body_timeout),
        "auth_timeout": show_duration(limits.auth_timeout),
        "unauthenticated": limits.unauthenticated,
        "ping_interval": show_duration(limits.ping_interval),
        "pong_timeout": show_duration(limits.pong_timeout),
        "write_stall": show_duration(limits.write_stall),
        "subscriptions": limits.subscriptions,
        "connections": limits.connections,
        "send_buffer": size(limits.send_buffer),
        "outbound": size(limits.outbound),
        "window": size(limits.window),
        "family_topics": limits.family_topics,
        "idempotency_keys": limits.idempotency_keys,
        "idempotency_window": show_duration(limits.idempotency_window),
        "registrations": limits.registrations,
        "registration_ttl": show_duration(limits.registration_ttl),
        "commands": limits.commands,
        "auth_failures": limits.auth_failures,
        "publish_rate": rate(limits.publish_rate),
        "connect_rate": rate(limits.connect_rate),
        "drain": show_duration(limits.drain),
        "schema_size": size(limits.schema_size),
        "regex_size": size(limits.regex_size),
        "json_depth": limits.json_depth,
        "validation_budget": show_duration(limits.validation_budget),
        "reload_poll": show_duration(limits.reload_poll),
    })
}
