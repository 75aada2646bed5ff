//! Decides what is published and to which topics. Asks the relay for what the arguments leave open.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::cli::bench::arguments::{Arguments, MAX_PAYLOAD};
use crate::cli::bench::disk;
use crate::cli::requests::{Requests, refusal};
use crate::name::TopicName;
use crate::schema::compile::{SchemaCache, SchemaLimits, Texts, compile_all};
use crate::schema::json::MAX_DEPTH;

/// The size of a payload, in bytes, if none is given.
const USUAL_SIZE: usize = 128;
/// The length of what surrounds the filler of a payload.
const AROUND: usize = r#"{"fill":""}"#.len();

/// What is published, and where.
#[derive(Debug)]
pub(super) struct Work {
    /// The topic's name as given.
    pub(super) name: String,
    pub(super) topics: Vec<TopicName>,
    pub(super) payload: Bytes,
    /// A description of the payload for people.
    pub(super) kind: &'static str,
}

impl Work {
    /// Prepares the work, and has the relay validate the payload before anything is published.
    pub(super) async fn prepare(arguments: &Arguments, requests: &mut Requests) -> Result<Self, String> {
        let name = match &arguments.topic {
            Some(name) => name.clone(),
            None => only_topic(arguments, requests).await?,
        };
        let topics = spread(&name, arguments.topics)?;
        let (payload, kind) = match &arguments.data {
            Some(file) => (disk::read(file, MAX_PAYLOAD)?.into(), "the file"),
            None => find_payload(arguments, requests, &topics[0]).await?,
        };
        let answer = requests.post(&format!("/validate/{}", topics[0].as_str()), payload.clone()).await?;
        if answer.status != StatusCode::OK {
            let refused = refusal(answer.status, &answer.body);
            return Err(format!("a publish to `{}` would be refused: {refused}", topics[0].as_str()));
        }
        Ok(Self { name, topics, payload, kind })
    }
}

/// The only topic that the relay shows to this caller. If there are several, or may be others, the user has to choose.
async fn only_topic(arguments: &Arguments, requests: &mut Requests) -> Result<String, String> {
    const SAY: &str = "name a topic with --topic: each of its subscribers gets what `relay bench` publishes";
    if arguments.token_env.is_some() || arguments.token_file.is_some() {
        return Err(format!("a token was given: {SAY}"));
    }
    let list = ask(requests, "/topics").await?;
    match list["topics"].as_array().map_or(&[][..], Vec::as_slice) {
        [only] => Ok(only["topic"].as_str().unwrap_or_default().to_owned()),
        [] => Err(
            "this caller may use no topic: name one with --topic, and a token that may publish and subscribe to it \
                   with --token-env or --token-file"
                .to_owned(),
        ),
        several => Err(format!("there are {} topics: {SAY}", several.len())),
    }
}

/// The concrete topics of a name: what stands in braces becomes 0, 1 and so on.
fn spread(name: &str, count: u32) -> Result<Vec<TopicName>, String> {
    let braces = name.find('{').and_then(|from| Some((from, from + name[from..].find('}')? + 1)));
    let concrete = |text: &str| {
        let bad = |error| format!("`{}` is not a topic name: {error}", text.escape_debug());
        TopicName::parse(text).map_err(bad)
    };
    match braces {
        Some((from, to)) => (0..count).map(|n| concrete(&name.replace(&name[from..to], &n.to_string()))).collect(),
        None if count > 1 => Err(format!("`{name}` is one topic: write `{{n}}` where the {count} names differ")),
        None => Ok(vec![concrete(name)?]),
    }
}

/// A payload that the topic accepts: one of its examples, one made from its schema, or filler if it accepts anything.
async fn find_payload(
    arguments: &Arguments,
    requests: &mut Requests,
    topic: &TopicName,
) -> Result<(Bytes, &'static str), String> {
    let declared = ask(requests, &format!("/topics/{}", topic.as_str())).await?;
    let Some(schema) = declared["schema"].as_str() else {
        return Ok((filler(arguments.size.unwrap_or(USUAL_SIZE)), "filler"));
    };
    if arguments.size.is_some() {
        let why = "has a schema, so --size cannot be used: give a payload of that size with --data";
        return Err(format!("`{}` {why}", topic.as_str()));
    }
    if let Some(example) = declared["examples"].as_array().and_then(|examples| examples.first()) {
        return Ok((example.to_string().into(), "an example of the topic"));
    }
    let document = ask(requests, schema).await?;
    match made_from(&document) {
        Some(made) => Ok((made.to_string().into(), "made from the schema")),
        None => Err(format!("no payload could be made from the schema of `{}`: give one with --data", topic.as_str())),
    }
}

/// A JSON object of about `size` bytes.
fn filler(size: usize) -> Bytes {
    json!({"fill": "x".repeat(size.saturating_sub(AROUND))}).to_string().into()
}

/// A schema document in place of a file.
struct Document(Arc<str>);

impl Texts for Document {
    fn read(&self, _: &str) -> Result<Arc<str>, String> {
        Ok(self.0.clone())
    }
}

/// A value that the schema accepts.
fn made_from(document: &Value) -> Option<Value> {
    let path: Arc<str> = "schema.json".into();
    let limits = SchemaLimits { schema_size: 16 << 20, regex_size: 16 << 20, json_depth: MAX_DEPTH };
    let source = Document(document.to_string().into());
    let compiled = compile_all(&source, std::slice::from_ref(&path), &limits, &SchemaCache::default());
    compiled.schemas.get(&path)?.example()
}

async fn ask(requests: &mut Requests, path: &str) -> Result<Value, String> {
    let answer = requests.get(path).await?;
    if answer.status != StatusCode::OK {
        return Err(format!("`GET {path}` was refused: {}", refusal(answer.status, &answer.body)));
    }
    serde_json::from_slice(&answer.body).map_err(|error| format!("`GET {path}` was not answered with JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{filler, made_from, spread};

    #[test]
    fn a_family_is_spread_over_its_topics() {
        let spread = |name: &str, count: u32| -> Result<Vec<String>, String> {
            Ok(spread(name, count)?.iter().map(|topic| topic.as_str().to_owned()).collect())
        };
        assert_eq!(spread("orders.{n}", 3), Ok(vec!["orders.0".into(), "orders.1".into(), "orders.2".into()]));
        assert_eq!(spread("orders.{region}.new", 1), Ok(vec!["orders.0.new".into()]));
        assert_eq!(spread("cats", 1), Ok(vec!["cats".into()]));
        assert_eq!(spread("cats", 2), Err("`cats` is one topic: write `{n}` where the 2 names differ".into()));
        assert!(spread("or ders", 1).expect_err("a blank").starts_with("`or ders` is not a topic name: "));
    }

    #[test]
    fn filler_has_the_size_that_was_asked_for() {
        for size in [11, 12, 128, 100_000] {
            assert_eq!(filler(size).len(), size);
        }
        assert_eq!(&filler(0)[..], br#"{"fill":""}"#);
    }

    #[test]
    fn a_payload_is_made_from_a_schema() {
        let schema =
            json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 3}}});
        assert_eq!(made_from(&schema), Some(json!({"n": 3})));
        assert_eq!(made_from(&json!({"not": {}})), None);
    }
}
