//! `/metrics`: all counters, in the OpenMetrics text format.
//!
//! Nothing is stored here: each scrape reads the counters where they are.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::live::Live;
use crate::name::Pattern;
use crate::snapshot::TopicRules;
use crate::telemetry::logs;
use crate::telemetry::process::Process;
use crate::telemetry::stats::Histogram;
use crate::time::Time;

/// The media type of [`Scraper::text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Reads all counters.
pub struct Scraper(Registry);

impl Scraper {
    /// Creates a scraper for this server.
    pub fn new(live: Arc<Live>) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process { started: Time::now() }));
        registry.sub_registry_with_prefix("relay").register_collector(Box::new(Everything(live)));
        Self(registry)
    }

    /// The present values, as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0).expect("a string takes whatever is written");
        text
    }
}

struct Everything(Arc<Live>);

impl fmt::Debug for Everything {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Everything")
    }
}

impl Collector for Everything {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Metrics(encoder);
        topics(&self.0, &mut page)?;
        connections(&self.0, &mut page)?;
        requests(&self.0, &mut page)?;
        reloads(&self.0, &mut page)?;
        process(&self.0, &mut page)
    }
}

fn reloads(live: &Live, page: &mut Metrics<'_>) -> fmt::Result {
    let (committed, refused) = live.reloads.counts();
    let results = [([("result", "committed")], committed), ([("result", "refused")], refused)];
    page.counters("reloads", "Reloads, committed or refused", results)?;
    let fresh = u64::from(live.reloads.stale().is_none());
    page.gauge("last_reload_successful", "0 while the last change of the files is refused", fresh)?;
    let snapshot = live.snapshot();
    let last = live.reloads.last().map_or(snapshot.loaded_at, |report| report.at);
    page.gauge(
        "last_reload_timestamp_seconds",
        "When a reload was last committed or refused, Unix time",
        seconds(last),
    )?;
    page.gauge(
        "config_loaded_timestamp_seconds",
        "When the configuration in force was loaded, Unix time",
        seconds(snapshot.loaded_at),
    )?;
    page.gauge("config_generation", "Generation of the configuration in force", snapshot.generation)?;
    // There is no metric without a certificate: 0 would mean one that expired in 1970.
    let cert = snapshot.config.server.tls.as_ref().map(|tls| tls.cert.as_str());
    let expires = cert.zip(snapshot.certificate_expires).map(|(cert, at)| ([("cert", cert)], seconds(at)));
    page.gauges(
        "certificate_expires_timestamp_seconds",
        "When the certificate of `server.tls` expires, Unix time",
        expires,
    )?;
    let expires = snapshot.config.tokens.iter().filter_map(|token| Some((&*token.name, token.not_after?)));
    page.gauges(
        "token_expires_timestamp_seconds",
        "When a token with a `not_after` expires, Unix time",
        expires.map(|(token, at)| ([("token", token)], seconds(at))),
    )
}

fn seconds(time: Time) -> u64 {
    u64::try_from(time.0 / 1_000).unwrap_or(0)
}

fn topics(live: &Live, page: &mut Metrics<'_>) -> fmt::Result {
    let snapshot = live.snapshot();
    let named = snapshot.topics.iter().map(|rules| (rules.topic.name.as_str(), &**rules));
    let mut topics: Vec<(&str, &TopicRules)> = named.collect();
    topics.sort_unstable_by_key(|(name, _)| *name);
    type Read = fn(&TopicRules) -> u64;
    let counters: [(&str, &str, Read); 4] = [
        ("published", "Messages appended", |rules| rules.topic.published.get()),
        ("delivered", "Messages written to subscribers, and handed out by `GET /history`", |rules| {
            rules.topic.delivered.get()
        }),
        ("validations_slow", "Validations over `limits.validation_budget`", |rules| rules.fuse.counts.slow.get()),
        ("topic_rests", "Times that publishing to a topic was paused because its validations were too slow", |rules| {
            rules.fuse.counts.blown.get()
        }),
    ];
    for (name, help, read) in counters {
        page.counters(name, help, topics.iter().map(|(topic, rules)| ([("topic", *topic)], read(rules))))?;
    }
    let gaps = topics.iter().map(|(topic, rules)| ([("topic", *topic)], rules.topic.gaps.get()));
    page.counters(
        "gaps",
        "Gaps reported to subscribers; those of several declared names have an empty `topic`",
        gaps.chain([([("topic", "")], live.stats.gaps.get())]),
    )?;
    let declared = topics.iter().map(|(topic, rules)| (*topic, &rules.topic.refused));
    // What belongs to no declared topic has the empty name, which no topic has.
    let refused = declared.chain([("", &live.stats.refused)]).flat_map(|(topic, refused)| {
        refused.by_problem().map(move |(problem, n)| ([("topic", topic), ("problem", problem)], n))
    });
    page.counters("publish_refused", "Publishes refused, by problem", refused)?;
    shadows(&topics, page)?;
    page.gauges(
        "subscriptions",
        "Subscriptions; those that span several declared names have an empty `topic`",
        subscriptions(live, &topics).into_iter().map(|(name, n)| ([("topic", name)], n as u64)),
    )?;
    let keys = live.hub.store().keys();
    page.gauge("idempotency_keys", "Idempotency keys that are remembered", keys.remembered as u64)?;
    page.counter(
        "idempotency_keys_forgotten",
        "Idempotency keys forgotten before `limits.idempotency_window` had passed, because `limits.idempotency_keys` was reached",
        keys.forgotten_early,
    )?;
    let retained = live.hub.store().retained();
    let retained = retained.iter().map(|(name, bytes)| ([("topic", name.as_str())], *bytes as u64));
    page.gauges("retained_bytes", "Bytes of payload retained for replay", retained)
}

/// What schemas on trial would have refused.
fn shadows(topics: &[(&str, &TopicRules)], page: &mut Metrics<'_>) -> fmt::Result {
    let all: Vec<_> = topics.iter().filter_map(|(topic, rules)| Some((*topic, rules.shadow.as_ref()?))).collect();
    let judged = all.iter().map(|(topic, shadow)| ([("topic", *topic)], shadow.counts().0));
    page.counters("shadow_judged", "Messages judged by `schema_next`", judged)?;
    let refused = all.iter().map(|(topic, shadow)| ([("topic", *topic)], shadow.counts().1));
    page.counters("shadow_refused", "Messages that `schema_next` would have refused", refused)?;
    let keywords: Vec<_> = all.iter().map(|(topic, shadow)| (*topic, shadow.keywords())).collect();
    let rows = keywords.iter().flat_map(|(topic, keywords)| {
        keywords.iter().map(move |(keyword, n)| ([("topic", *topic), ("keyword", keyword.as_str())], *n))
    });
    page.counters("shadow_violations", "Violations that `schema_next` found, by keyword", rows)
}

/// Number of subscriptions by the declared name that contains all their topics, or the empty name if there is none.
///
/// A pattern that many subscribe to is looked up once.
fn subscriptions<'t>(live: &Live, topics: &[(&'t str, &TopicRules)]) -> BTreeMap<&'t str, usize> {
    let declared = topics.iter().map(|(name, _)| *name);
    let mut counts: BTreeMap<&str, usize> = declared.chain([""]).map(|name| (name, 0)).collect();
    let mut wanted: HashMap<Pattern, usize> = HashMap::new();
    live.hub.each_member(|member| {
        member.subscriptions.into_iter().for_each(|pattern| *wanted.entry(pattern).or_default() += 1);
    });
    for (pattern, n) in wanted {
        let topic = live.hub.containing(&pattern);
        let name = topic.as_ref().map_or("", |topic| topic.name.as_str());
        // During a reload the hub may know a topic that the snapshot does not.
        if let Some(count) = counts.get_mut(name) {
            *count += n;
        }
    }
    counts
}

fn connections(live: &Live, page: &mut Metrics<'_>) -> fmt::Result {
    let websockets = live.drain.tasks().get("websocket").map_or(0, |n| *n as u64);
    let streams = live.stats.streams.get();
    let others = (live.connections.open() as u64).saturating_sub(websockets + streams);
    let kinds = [([("kind", "websocket")], websockets), ([("kind", "stream")], streams), ([("kind", "http")], others)];
    page.gauges("connections", "Connections open on the public listener, by kind", kinds)?;
    let allowed = live.connections.allowed(live.snapshot().config.limits.connections);
    for (name, help, value) in [
        (
            "connections_limit",
            "Connections that are accepted: `limits.connections`, or what the descriptors allow",
            allowed as u64,
        ),
        ("subscribers_behind", "Subscribers that are behind", live.hub.behind.get()),
        ("outbound_bytes", "Bytes that slow readers have not taken", live.hub.outbound.held() as u64),
        (
            "unidentified",
            "WebSockets that hold a place of `limits.unauthenticated`",
            live.unauthenticated.count() as u64,
        ),
        ("registrations", "Registrations", live.registrations.count() as u64),
    ] {
        page.gauge(name, help, value)?;
    }
    let refused = [("connections", &live.stats.over_connections), ("connect_rate", &live.stats.over_connect_rate)];
    let refused = refused.map(|(limit, counter)| ([("limit", limit)], counter.get()));
    page.counters("connections_refused", "Connections turned away, by the limit", refused)?;
    let outbound = &live.hub.outbound;
    let shed = [([("step", "refuse")], outbound.refused.get()), ([("step", "drop")], outbound.dropped.get())];
    page.counters("shed", "Subscribers and large answers refused or dropped to stay within `limits.outbound`", shed)?;
    for (name, help, ended) in [
        (
            "websockets_ended",
            "WebSockets that ended, by who closed them, and the code if it was the server",
            &live.stats.websockets_ended,
        ),
        (
            "streams_ended",
            "Event streams that ended, by who ended them, and the code if it was the server",
            &live.stats.streams_ended,
        ),
    ] {
        let ended = ended.read();
        page.counters(name, help, ended.iter().map(|((by, code), n)| ([("by", *by), ("code", code.as_str())], *n)))?;
    }
    let refused = live.stats.subscribe_refused.by_problem().map(|(problem, n)| ([("problem", problem)], n));
    page.counters("subscribe_refused", "Subscriptions refused, by problem", refused)
}

fn requests(live: &Live, page: &mut Metrics<'_>) -> fmt::Result {
    let stats = &live.stats;
    let rows: Vec<_> = stats.requests().map(|(route, status, n)| (route, status.to_string(), n)).collect();
    let rows = rows.iter().map(|(route, status, n)| ([("route", *route), ("status", status)], *n));
    page.counters("http_requests", "Requests that could be read and were answered, by route and status", rows)?;
    for (name, help, histogram) in [
        (
            "http_publish_seconds",
            "Seconds from the header of a publish to its answer, refusals included",
            &stats.publish_request,
        ),
        ("publish_seconds", "Seconds from a complete publish to its receipt, over HTTP and WebSocket", &stats.publish),
    ] {
        page.histogram(name, help, histogram)?;
    }
    let failures = live.failures.by_reason().map(|(reason, n)| ([("reason", reason)], n));
    page.counters("auth_failures", "Credentials refused, by reason", failures)?;
    for (name, help, value) in [
        ("accept_errors", "Connections that could not be accepted", stats.accept_errors.get()),
        ("tls_failures", "TLS handshakes that failed", stats.tls_failures.get()),
        ("unreadable_requests", "Requests that could not be read", stats.unreadable_requests.get()),
        ("panics", "Requests whose handler panicked", stats.panics.get()),
        ("log_lines_dropped", "Lines of the server log lost because standard error did not take them", logs::dropped()),
    ] {
        page.counter(name, help, value)?;
    }
    Ok(())
}

fn process(live: &Live, page: &mut Metrics<'_>) -> fmt::Result {
    let tasks = live.drain.tasks();
    page.gauges("tasks", "Running tasks, by kind", tasks.iter().map(|(name, n)| ([("task", *name)], *n as u64)))?;
    page.gauges("build_info", "Always 1; the label is the version", [([("version", env!("CARGO_PKG_VERSION"))], 1)])?;
    page.gauge("log_seq", "Seq of the newest message", live.hub.store().head())?;
    page.gauge("draining", "1 while the server is shutting down", live.drain.has_begun().into())
}

struct Metrics<'a>(DescriptorEncoder<'a>);

impl Metrics<'_> {
    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        let (sum, count, buckets) = histogram.read();
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}
