//! Finds what `relay check --against` compares with: another relay.toml, or a running relay, which is asked for its
//! configuration and is sent nothing of the files at hand.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::{Map, Value};
use tokio::runtime;
use tokio::time::timeout;

use crate::assemble::gate::Next;
use crate::assemble::plan::{Plan, changed_keys};
use crate::assemble::{build, gate, load};
use crate::cli::requests::{Answer, Requests};
use crate::cli::target::{Target, Unfound};
use crate::config::files::{Files, Memory};
use crate::config::model::Config;
use crate::config::view::{settings, to_toml, view};
use crate::diagnostic::{Diagnostic, render};
use crate::disk::Disk;
use crate::name::Pattern;
use crate::schema::Schema;
use crate::schema::compile::SchemaCache;
use crate::shadow::ENOUGH;
use crate::snapshot::{Snapshot, TopicRules};
use crate::time::Time;

/// The highest possible `limits.schema_size`, as written in relay.toml.
const LARGEST: &str = "64 MiB";
/// How long the running relay may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The configuration to compare with.
pub(super) struct Old {
    pub(super) snapshot: Snapshot,
    /// Its keys outside topics and tokens. For a running relay they include the digest of its certificate, which the
    /// snapshot lacks.
    settings: Value,
    /// Its name for people.
    name: String,
    /// `None` if it is a file.
    running: Option<Running>,
}

/// What a running relay discloses about itself.
struct Running {
    /// Its configuration, without secrets, digests and examples.
    config: Value,
    /// The schemas on trial, by topic.
    shadows: Map<String, Value>,
}

impl Old {
    /// Loads the file, or asks the running relay.
    pub(super) fn find(against: &str) -> Result<Self, String> {
        if let Some(why) = misnamed(against) {
            return Err(why);
        }
        if !against.starts_with("http://") && !against.starts_with("unix:") {
            let snapshot = snapshot(&Disk::new(Path::new(against)))?;
            let (name, settings) = (against.to_owned(), settings(&snapshot.config));
            return Ok(Self { snapshot, settings, name, running: None });
        }
        let answer = ask(against).map_err(|error| format!("cannot ask `{against}` for its configuration: {error}"))?;
        Self::running(against, &answer).map_err(|why| format!("cannot understand the answer of `{against}`: {why}"))
    }

    fn running(against: &str, answer: &[u8]) -> Result<Self, String> {
        let mut json: Value = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
        let mut loadable = json["config"].clone();
        // The relay sends its schemas reformatted, with numbers rewritten, so one that fits the limit as a file may
        // exceed it here.
        loadable["limits"]["schema_size"] = LARGEST.into();
        let mut files = Memory::new(&to_toml(&loadable)?);
        for (path, document) in json["schemas"].as_object().into_iter().flatten() {
            files = files.with(path, &document.to_string());
        }
        let snapshot = snapshot(&files)?;
        let shadows = json["shadows"].as_object().cloned().unwrap_or_default();
        for (topic, told) in &shadows {
            let rules = Pattern::parse(topic).ok().and_then(|name| snapshot.declared(&name));
            if let Some(shadow) = rules.and_then(|rules| rules.shadow.as_ref()) {
                let count = |member: &str| told[member].as_u64().unwrap_or(0);
                shadow.go_on(count("judged"), count("refused"));
            }
        }
        let name = format!("{against}, generation {}", json["generation"]);
        let mut settings = settings(&snapshot.config);
        for (table, key) in [("server", "tls"), ("limits", "schema_size")] {
            settings[table][key] = json["config"][table][key].clone();
        }
        let running = Running { config: json["config"].take(), shadows };
        Ok(Self { snapshot, settings, name, running: Some(running) })
    }

    /// Takes the examples of a running relay, which it does not disclose, to be those of the files at hand.
    pub(super) fn suppose(&mut self, at_hand: &Config) {
        if self.running.is_none() {
            return;
        }
        let at_hand: HashMap<_, _> = at_hand.topics.iter().map(|topic| (topic.name.as_str(), topic)).collect();
        for topic in &mut self.snapshot.config.topics {
            if let Some(same) = at_hand.get(topic.name.as_str()) {
                topic.examples.clone_from(&same.examples);
            }
        }
    }

    /// The plan, without what a running relay does not disclose: secrets and their digests.
    pub(super) fn plan(&self, next: &mut Next) -> Value {
        let Next { plan, snapshot } = next;
        plan.keys = changed_keys(&self.settings, &settings(&snapshot.config));
        if let Some(running) = &self.running {
            compare_callers(plan, &running.config, &view(&snapshot.config));
        }
        plan.to_json()
    }

    /// What the plan cannot tell of, because a running relay does not disclose it.
    pub(super) fn not_compared(&self, next: &Snapshot) -> &'static [&'static str] {
        let has_tokens = |running: &Running| {
            !next.config.tokens.is_empty()
                || running.config["tokens"].as_object().is_some_and(|tokens| !tokens.is_empty())
        };
        if self.running.as_ref().is_some_and(has_tokens) { &["token secrets"] } else { &[] }
    }

    /// The plan in words for people, with the state of every trial that goes on or is promoted.
    pub(super) fn describe(&self, plan: &Value, next: &Snapshot) -> String {
        let mut text = format!("against {}:\n", self.name);
        // Before the changes: "nothing would change" must not be read alone.
        for what in self.not_compared(next) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {what} were not compared: a running relay does not disclose them");
        }
        for (what, names) in plan.as_object().into_iter().flatten() {
            let names: Vec<&str> = names.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let names = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
            let _ = writeln!(text, "  {}{names}", what.replace('_', " "));
        }
        if plan.as_object().is_none_or(Map::is_empty) {
            text.push_str("  nothing would change\n");
        }
        for (topic, told) in self.running.iter().flat_map(|running| &running.shadows) {
            let Ok(name) = Pattern::parse(topic) else { continue };
            let (before, after) = (self.snapshot.declared(&name), next.declared(&name));
            if let Some((before, _)) = before.zip(after).filter(|(before, after)| still_matters(before, after)) {
                let _ = writeln!(text, "  {topic}: {}", progress(told, self.is_held_to(before)));
            }
        }
        text
    }

    /// Whether `compatibility` would refuse a topic's trial schema as its successor, whatever the trial has shown.
    fn is_held_to(&self, rules: &TopicRules) -> bool {
        let compatibility = self.snapshot.config.topics[rules.config].compatibility;
        rules.shadow.as_ref().is_some_and(|shadow| gate::keeps_out(&rules.schema, &shadow.schema, compatibility))
    }
}

/// Whether the schema that a topic has on trial stays on trial, or becomes the topic's schema.
fn still_matters(before: &TopicRules, after: &TopicRules) -> bool {
    let next = after.shadow.as_ref().map(|shadow| &shadow.schema);
    let is_one_of = |trial: &Schema| trial.is_same(&after.schema) || next.is_some_and(|next| trial.is_same(next));
    before.shadow.as_ref().is_some_and(|shadow| is_one_of(&shadow.schema))
}

/// Compares tokens and anonymous callers by two views of a configuration.
fn compare_callers(plan: &mut Plan, old: &Value, new: &Value) {
    let none = Map::new();
    let [before, after] = [old, new].map(|view| view["tokens"].as_object().unwrap_or(&none));
    let names = |of: &Map<String, Value>, fits: &dyn Fn(&str) -> bool| {
        of.keys().filter(|name| fits(name)).map(|name| name.as_str().into()).collect()
    };
    let is_replaced = |name: &str| before[name]["user"] != after[name]["user"];
    plan.tokens_added = names(after, &|name| !before.contains_key(name));
    plan.tokens_removed = names(before, &|name| !after.contains_key(name));
    plan.tokens_replaced = names(after, &|name| before.contains_key(name) && is_replaced(name));
    plan.tokens_changed =
        names(after, &|name| before.get(name).is_some_and(|before| *before != after[name]) && !is_replaced(name));
    plan.anonymous = old["anonymous"] != new["anonymous"];
}

/// Describes how a schema on trial is doing.
fn progress(told: &Value, is_kept_out: bool) -> String {
    let schema = told["schema"].as_str().unwrap_or("any");
    let (judged, refused) = (told["judged"].as_u64().unwrap_or(0), told["refused"].as_u64().unwrap_or(0));
    let keywords = told["keywords"].as_object().into_iter().flatten().map(|(keyword, n)| format!("`{keyword}` {n}"));
    match refused {
        0 if is_kept_out => format!(
            "`{schema}` would have refused none of {judged} messages, but breaks what `compatibility` promises: set that \
             to \"none\" in a save of its own before promoting it"
        ),
        0 if judged >= ENOUGH => format!("`{schema}` would have refused none of {judged} messages: it may be promoted"),
        0 => format!("`{schema}` would have refused none of {judged} messages: wait for {ENOUGH} before promoting it"),
        _ => {
            let keywords = keywords.collect::<Vec<_>>().join(", ");
            format!("`{schema}` would have refused {refused} of {judged} messages ({keywords}): do not promote it yet")
        }
    }
}

fn snapshot(files: &dyn Files) -> Result<Snapshot, String> {
    let mut loaded = load(files, &SchemaCache::default(), Time::now());
    match loaded.config.take() {
        Some(config) => Ok(build::snapshot(config, &loaded, None)),
        None => {
            loaded.diagnostics.retain(Diagnostic::is_error);
            let text = render::human(&loaded.diagnostics, &loaded.sources, false);
            Err(format!("the configuration to compare with is itself invalid\n{}", text.trim_end()))
        }
    }
}

/// Explains what is wrong with the name of a running relay, if it is meant to be one.
fn misnamed(against: &str) -> Option<String> {
    let expected = "name the admin listener of a relay as `http://host:port` or `unix:/path`, or an older relay.toml";
    if let Some(rest) = against.strip_prefix("http://") {
        let (listener, path) = rest.split_once('/')?;
        let better = format!("`{against}` has a path: name the admin listener alone, `http://{listener}`");
        return (!path.is_empty()).then_some(better);
    }
    if against.contains("://") {
        return Some(format!("`{against}` is not the address of an admin listener: {expected}"));
    }
    let port = against.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.split('/').next());
    let is_address = port.flatten().is_some_and(|port| port.parse::<u16>().is_ok());
    let is_absent = !against.starts_with("unix:") && !Path::new(against).exists();
    is_absent.then(|| match is_address {
        true => format!("there is no file `{against}`; if a relay runs there, {expected}"),
        false => format!("there is no file `{against}` to compare with"),
    })
}

/// Asks a running relay for its configuration.
fn ask(against: &str) -> Result<Bytes, String> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let asked = async {
        let target = Target::find(against, None, None).await.map_err(|why| match why {
            Unfound::Misnamed => "no relay can be there".to_owned(),
            Unfound::Unreachable(error) => error.to_string(),
            Unfound::Unfit(why) => why,
        })?;
        Requests::open(&target).await?.get("/config?schemas=1").await
    };
    let answered = runtime.block_on(async { timeout(PATIENCE, asked).await });
    match answered.map_err(|_| format!("it has not answered within {} s", PATIENCE.as_secs()))?? {
        Answer { status: StatusCode::OK, body } => Ok(body),
        Answer { status, body } => {
            let problem = serde_json::from_slice::<Value>(&body).unwrap_or_default();
            let detail = problem["detail"].as_str().filter(|_| status != StatusCode::NOT_FOUND);
            Err(format!(
                "it answers with status {}; {}",
                status.as_u16(),
                detail.unwrap_or("is this its admin listener?")
            ))
        }
    }
}
