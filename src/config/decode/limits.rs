//! `[limits]`

use crate::config::model::Limits;
use crate::config::section::Section;
use crate::config::units::show_size;
use crate::diagnostic::ServerFact;

pub(super) fn limits(section: &Section<'_>) -> Limits {
    let default = Limits::default();
    let size = |name, default| section.size(name).map_or(default, |(bytes, _)| bytes);
    let count = |name, default| section.count(name).and_then(|(n, _)| usize::try_from(n).ok()).unwrap_or(default);
    let each_second = |name, default| section.count(name).and_then(|(n, _)| u32::try_from(n).ok()).unwrap_or(default);
    let duration = |name, default| section.duration(name).unwrap_or(default);
    let body = section.size("body");
    let window = section.size("window");
    let limits = Limits {
        body: body.as_ref().map_or(default.body, |(bytes, _)| *bytes),
        batch: count("batch", default.batch),
        frame: size("frame", default.frame),
        header: size("header", default.header),
        uri: size("uri", default.uri),
        header_timeout: duration("header_timeout", default.header_timeout),
        body_timeout: duration("body_timeout", default.body_timeout),
        auth_timeout: duration("auth_timeout", default.auth_timeout),
        unauthenticated: count("unauthenticated", default.unauthenticated),
        ping_interval: duration("ping_interval", default.ping_interval),
        pong_timeout: duration("pong_timeout", default.pong_timeout),
        write_stall: duration("write_stall", default.write_stall),
        subscriptions: count("subscriptions", default.subscriptions),
        connections: section.count("connections").and_then(|(n, _)| usize::try_from(n).ok()),
        send_buffer: size("send_buffer", default.send_buffer),
        outbound: size("outbound", default.outbound),
        window: window.as_ref().map_or(default.window, |(bytes, _)| *bytes),
        family_topics: count("family_topics", default.family_topics),
        idempotency_keys: count("idempotency_keys", default.idempotency_keys),
        idempotency_window: duration("idempotency_window", default.idempotency_window),
        registrations: count("registrations", default.registrations),
        registration_ttl: duration("registration_ttl", default.registration_ttl),
        commands: each_second("commands", default.commands),
        auth_failures: each_second("auth_failures", default.auth_failures),
        publish_rate: section.rate("publish_rate").flatten(),
        connect_rate: section.rate("connect_rate").flatten(),
        drain: duration("drain", default.drain),
        schema_size: size("schema_size", default.schema_size),
        regex_size: size("regex_size", default.regex_size),
        json_depth: count("json_depth", default.json_depth),
        validation_budget: duration("validation_budget", default.validation_budget),
        reload_poll: duration("reload_poll", default.reload_poll),
    };
    if limits.window < limits.body {
        let span = window.or(body).map_or(section.span.clone(), |(_, span)| span);
        let (window, body) = (show_size(limits.window as u64), show_size(limits.body as u64));
        section.findings.report(ServerFact::WindowBelowBody { window, body }, &span);
    }
    limits
}
