//! `[limits]`

use crate::config::model::Limits;
use crate::config::section::{Findings, Placed, Section};
use crate::config::units::show_size;
use crate::diagnostic::ServerFact;

pub(super) fn limits(section: &Section<'_>) -> Limits {
    let (body, window) = (section.size("body"), section.size("window"));
    // If one of them could not be read, the comparison below would use its default.
    let is_unread = [("body", &body), ("window", &window)].iter().any(|(key, read)| section.has(key) && read.is_none());
    let size =
        |read: Option<Placed<usize>>, key: &str| read.map_or_else(|| section.default_size(key), |(size, _)| size);
    let limits = Limits {
        body: size(body, "body"),
        batch: section.count_or_default("batch"),
        frame: section.size_or_default("frame"),
        header: section.size_or_default("header"),
        uri: section.size_or_default("uri"),
        header_timeout: section.duration_or_default("header_timeout"),
        body_timeout: section.duration_or_default("body_timeout"),
        auth_timeout: section.duration_or_default("auth_timeout"),
        unauthenticated: section.count_or_default("unauthenticated"),
        ping_interval: section.duration_or_default("ping_interval"),
        pong_timeout: section.duration_or_default("pong_timeout"),
        write_stall: section.duration_or_default("write_stall"),
        subscriptions: section.count_or_default("subscriptions"),
        connections: section.count("connections").and_then(|(n, _)| usize::try_from(n).ok()),
        send_buffer: section.size_or_default("send_buffer"),
        outbound: section.size_or_default("outbound"),
        window: size(window, "window"),
        family_topics: section.count_or_default("family_topics"),
        idempotency_keys: section.count_or_default("idempotency_keys"),
        idempotency_window: section.duration_or_default("idempotency_window"),
        registrations: section.count_or_default("registrations"),
        registration_ttl: section.duration_or_default("registration_ttl"),
        commands: section.count_or_default("commands"),
        auth_failures: section.count_or_default("auth_failures"),
        publish_rate: section.rate("publish_rate"),
        connect_rate: section.rate("connect_rate"),
        drain: section.duration_or_default("drain"),
        schema_size: section.size_or_default("schema_size"),
        regex_size: section.size_or_default("regex_size"),
        json_depth: section.count_or_default("json_depth"),
        validation_budget: section.duration_or_default("validation_budget"),
        reload_poll: section.duration_or_default("reload_poll"),
    };
    if limits.window < limits.body && !is_unread {
        let span = section.place("window").or_else(|| section.place("body")).unwrap_or(section.span.clone());
        let (window, body) = (show_size(limits.window as u64), show_size(limits.body as u64));
        section.findings.report(ServerFact::WindowBelowBody { window, body }, &span);
    }
    limits
}

/// The defaults of the table of keys.
impl Default for Limits {
    fn default() -> Self {
        limits(&Section::absent("limits", &Findings::default()))
    }
}
