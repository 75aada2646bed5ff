//! Web pages: which may call the server, and which answers they may read.

use relay::reloads::{Outcome, Report, Trigger};
use relay::time::Time;
use serde_json::json;

use crate::rig::{Rig, behind_proxy, call, grants};

#[tokio::test]
async fn foreign_origins_are_refused_and_allowed_ones_may_read() {
    let rig = Rig::start(|config| config.anonymous = grants(&["cats"], &["cats"], &[])).await;
    let own = format!("http://{}", rig.public);
    for (origin, allowed) in [
        ("https://app.example", true),
        (own.as_str(), true),
        ("http://app.example", false),
        ("https://app.example.evil.example", false),
        ("https://APP.example", false),
        ("null", false),
        ("https://app.example:8443", false),
    ] {
        let answer = rig.call(&format!("GET /topics HTTP/1.1\r\nOrigin: {origin}\r\n"), "").await;
        assert_eq!(answer.header("vary"), "Origin", "{origin}");
        if allowed {
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, origin));
            let readable = "ETag, Link, Retry-After, WWW-Authenticate";
            assert_eq!(answer.header("access-control-expose-headers"), readable);
        } else {
            let what = match origin {
                "null" => "this server, and `null` cannot be allowed: serve the page over HTTP",
                _ => "this server: add it to `server.allowed_origins`",
            };
            let detail = format!("pages with origin `{origin}` may not call {what}");
            assert_eq!(answer.problem(), (403, "origin-denied".into(), detail));
            assert_eq!(answer.header("access-control-allow-origin"), "");
        }
        assert_eq!(answer.header("access-control-allow-credentials"), "");
    }
    // No list admits a page to the admin listener, so the advice must not be to add it to the list.
    let refused = call(rig.admin, "GET /config HTTP/1.1\r\nOrigin: https://app.example\r\n", "").await;
    let detail = "pages with origin `https://app.example` may not call the admin listener, whatever `server.allowed_origins` says: \
                  call it without a browser";
    assert_eq!(refused.problem(), (403, "origin-denied".into(), detail.into()));
    let head = "POST /publish/cats HTTP/1.1\r\nOrigin: https://app.example\r\nContent-Type: text/plain\r\n";
    let refused = rig.call(head, "1").await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (415, "https://app.example"));
    let plain = rig.get("/topics", "").await;
    assert_eq!((plain.header("vary"), plain.header("access-control-allow-origin")), ("Origin", ""));
}

/// Regression: an attacker on the network path can serve a page over plain HTTP in the server's name. Its origin was
/// taken for the server's own.
#[tokio::test]
async fn over_tls_a_plain_page_of_the_same_name_is_not_the_servers_own() {
    let rig = Rig::start(|config| {
        config.anonymous = grants(&["cats"], &["cats"], &[]);
        behind_proxy(config);
    })
    .await;
    let name = rig.public;
    for (proto, origin, status) in [
        ("X-Forwarded-Proto: https\r\n", format!("http://{name}"), 403),
        ("X-Forwarded-Proto: https\r\n", format!("https://{name}"), 200),
        ("", format!("http://{name}"), 200),
        // A proxy may terminate TLS without saying so.
        ("", format!("https://{name}"), 200),
        ("X-Forwarded-Proto: http\r\n", format!("http://{name}"), 200),
    ] {
        let answer = rig.call(&format!("GET /topics HTTP/1.1\r\n{proto}Origin: {origin}\r\n"), "").await;
        assert_eq!(answer.status, status, "{proto}{origin}");
        let readable = if status == 200 { origin.as_str() } else { "" };
        assert_eq!(answer.header("access-control-allow-origin"), readable, "{proto}{origin}");
    }
}

/// Proxies write the default port that browsers leave out.
#[tokio::test]
async fn the_port_of_the_scheme_is_no_other_origin() {
    let rig = Rig::start(|_| {}).await;
    for (host, origin, status) in [
        ("localhost:443", "https://localhost", 200),
        ("localhost:80", "http://localhost", 200),
        ("localhost:80", "http://localhost:80", 200),
        ("LOCALHOST:", "http://localhost", 200),
        ("[::1]:443", "https://[::1]", 200),
        ("localhost:443", "http://localhost", 403),
        ("localhost:80", "https://localhost", 403),
        ("localhost:8443", "https://localhost", 403),
        ("localhost:443", "https://localhost:8443", 403),
        ("evil.example:443", "https://evil.example", 421),
    ] {
        let answer = rig.call(&format!("GET /topics HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n"), "").await;
        assert_eq!(answer.status, status, "{host} {origin}");
        let readable = if status == 200 { origin } else { "" };
        assert_eq!(answer.header("access-control-allow-origin"), readable, "{host} {origin}");
    }
}

#[tokio::test]
async fn a_preflight_tells_what_the_path_allows() {
    let rig = Rig::start(|_| {}).await;
    let preflight = "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n";
    let answer = rig.call(&format!("OPTIONS /publish/cats HTTP/1.1\r\n{preflight}"), "").await;
    assert_eq!((answer.status, answer.header("allow")), (204, "POST"));
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(answer.header("access-control-allow-methods"), "POST");
    assert_eq!(
        answer.header("access-control-allow-headers"),
        "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID"
    );
    assert_eq!(answer.header("access-control-max-age"), "600");
    assert_eq!(answer.header("vary"), "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
    let foreign = rig.call("OPTIONS /publish/cats HTTP/1.1\r\nOrigin: https://evil.example\r\n", "").await;
    assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (403, ""));
    let none = rig.call("OPTIONS /topics HTTP/1.1\r\n", "").await;
    assert_eq!(
        (none.status, none.header("allow"), none.header("access-control-allow-methods")),
        (204, "GET, HEAD", "")
    );
}

#[tokio::test]
async fn a_rebound_name_is_refused_on_loopback() {
    let rig = Rig::start(|_| {}).await;
    for (host, served) in [
        ("localhost", true),
        ("LOCALHOST:1234", true),
        ("127.0.0.1", true),
        ("[::1]:8000", true),
        ("evil.example", false),
        ("localhost.evil.example", false),
        ("127.0.0.1.nip.io:8000", false),
        ("127.0.0.2", false),
    ] {
        for address in [rig.public, rig.admin] {
            let answer = call(address, &format!("GET /nothing HTTP/1.1\r\nHost: {host}\r\n"), "").await;
            if served {
                assert_eq!(answer.status, 404, "{host}");
            } else {
                // If an operator added the refused name alone, the public listener would serve that name only.
                let detail = format!(
                    "`{host}` is not one of this server's names: use its address, or add this name and every other \
                     name of the public listener to `server.allowed_hosts`"
                );
                assert_eq!(answer.problem(), (421, "unknown-host".into(), detail));
            }
        }
    }
}

#[tokio::test]
async fn allowed_hosts_replace_the_default_names() {
    let rig = Rig::start(|config| {
        config.server.allowed_hosts = Some(vec!["relay.example".into(), "other.example:8443".into()]);
    })
    .await;
    for (host, status) in [
        ("relay.example", 404),
        ("Relay.Example:9999", 404),
        ("other.example:8443", 404),
        ("other.example", 421),
        ("localhost", 421),
    ] {
        let head = format!("GET /nothing HTTP/1.1\r\nHost: {host}\r\n");
        assert_eq!(call(rig.public, &head, "").await.status, status, "{host}");
    }
    let refused = call(rig.public, "GET /nothing HTTP/1.1\r\nHost: localhost\r\n", "").await;
    let detail = "`localhost` is not one of this server's names: add it to `server.allowed_hosts`";
    assert_eq!(refused.problem(), (421, "unknown-host".into(), detail.into()));
    let admin = call(rig.admin, "GET /health HTTP/1.1\r\nHost: localhost\r\n", "").await;
    assert_eq!(
        (admin.status, admin.json()),
        (200, json!({"status": "ok"})),
        "operators still reach it by its own names"
    );
}

/// Regression: a kubelet calls a pod by its address, which nobody can list. It got 421 as soon as there was a list.
#[tokio::test]
async fn probes_are_answered_by_any_name_and_tell_a_rebound_page_nothing() {
    let rig = Rig::start(|config| config.server.allowed_hosts = Some(vec!["relay.example".into()])).await;
    rig.live.reloads.note(Report {
        at: Time(0),
        trigger: Trigger::File,
        took_ms: 1,
        generation: 1,
        result: Outcome::Refused,
        diagnostics: json!([{"severity": "error", "message": "unknown key `secret`"}]),
    });
    for address in [rig.public, rig.admin] {
        let health = call(address, "GET /health HTTP/1.1\r\nHost: 10.1.2.3:8000\r\n", "").await;
        assert_eq!((health.status, health.json()), (200, json!({"status": "ok"})));
        let ready = call(address, "GET /ready HTTP/1.1\r\nHost: 10.1.2.3:8000\r\n", "").await;
        assert_eq!((ready.status, ready.json()), (200, json!({"status": "stale"})));
        let known = call(address, "GET /ready HTTP/1.1\r\nHost: relay.example\r\n", "").await.json();
        let why = known["why"].as_str();
        assert_eq!(why.is_some_and(|why| why.ends_with("unknown key `secret`")), address == rig.admin, "{known}");
        assert_eq!((why.is_some(), &known["status"]), (address == rig.admin, &json!("stale")), "{known}");
        let page = "GET /ready HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n";
        let page = call(address, page, "").await;
        assert_eq!((page.status, page.header("access-control-allow-origin")), (403, ""));
    }
}
