//! TLS on the public listener: requests, WebSockets, a new certificate without a restart, and peers that do not
//! complete the handshake.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use relay::assemble::reload::Look;
use relay::hub::connection::LAYER;
use relay::reloads::{Outcome, Report, Trigger};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::peer::{Peer, narrow};
use crate::program::Place;
use crate::reload::site::Site;
use crate::rig::{Rig, until};
use crate::subscriber::Subscriber;

const CONFIG: &str = r#"
version = 1
[server]
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"
tls = { cert = "tls/cert.pem", key = "tls/key.pem" }
[topics.cats]
schema = "any"
[anonymous]
publish = ["cats"]
subscribe = ["cats"]
[limits]
header_timeout = "1 s"
write_stall = "1 s"
send_buffer = "4 KiB"
"#;

/// Writes a fresh certificate and its key; returns the certificate.
fn certify(place: &Place) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    place.write("tls/cert.pem", &made.cert.pem());
    place.write("tls/key.pem", &made.signing_key.serialize_pem());
    CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).expect("PEM")
}

/// A server, and its certificate.
async fn start(config: &str) -> (Site, CertificateDer<'static>) {
    let place = Place::new("tls");
    place.write("relay.toml", config);
    let certificate = certify(&place);
    (Site::open(place, "relay.toml").await, certificate)
}

async fn connect(rig: &Rig, trusted: &[&CertificateDer<'static>]) -> std::io::Result<TlsStream<TcpStream>> {
    shake(TcpStream::connect(rig.public).await.expect("the server listens"), trusted, &["h2", "http/1.1"]).await
}

async fn shake(
    socket: TcpStream,
    trusted: &[&CertificateDer<'static>],
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for cert in trusted {
        roots.add((*cert).clone()).expect("a root");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.expect("versions").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").expect("a name"), socket).await
}

async fn publish(rig: &Rig, trusted: &CertificateDer<'static>, body: &Value) {
    let mut peer = Peer::new(connect(rig, &[trusted]).await.expect("a handshake"));
    let body = body.to_string();
    let head = "POST /publish/cats HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    peer.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await;
    assert_eq!(peer.answer().await.expect("an answer").status, 200);
}

/// A connection over a socket with a tiny receive buffer.
async fn connect_narrowly(rig: &Rig, trusted: &CertificateDer<'static>) -> TlsStream<TcpStream> {
    shake(narrow(rig.public).await, &[trusted], &["http/1.1"]).await.expect("a handshake")
}

async fn listen(rig: &Rig, trusted: &CertificateDer<'static>) -> Subscriber<TlsStream<TcpStream>> {
    listen_on(connect(rig, &[trusted]).await.expect("a handshake")).await
}

async fn listen_on(stream: TlsStream<TcpStream>) -> Subscriber<TlsStream<TcpStream>> {
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (socket, _) = tokio_tungstenite::client_async("wss://localhost/ws", stream).await.expect("an upgrade");
    let mut subscriber = Subscriber::over(socket);
    assert_eq!(subscriber.json().await["type"], "hello");
    subscriber.subscribe("cats").await;
    subscriber
}

/// Regression: a handshake is the dearest thing that a stranger can ask for, and had no rate.
#[tokio::test]
async fn connections_far_over_the_rate_are_closed_before_their_handshake() {
    let (rig, certificate) = start(&format!("{CONFIG}connect_rate = 1\n")).await;
    let (mut refused, mut closed) = (0, 0);
    for n in 0.. {
        assert!(n < 100, "{refused} were refused, {closed} closed");
        match connect(&rig, &[&certificate]).await {
            Ok(stream) => {
                let mut peer = Peer::new(stream);
                peer.send("GET /topics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
                refused += u32::from(peer.answer().await.expect("an answer").status == 429);
            }
            Err(_) => closed += 1,
        }
        if refused > 0 && closed > 0 {
            break;
        }
    }
    let line = format!("relay_connections_refused_total{{limit=\"connect_rate\"}} {}\n", refused + closed);
    let metrics = rig.metrics().await;
    assert!(metrics.contains(&line), "{line} in\n{metrics}");
    assert!(metrics.contains("relay_tls_failures_total 0\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_replaced_without_a_restart_and_nobody_is_disconnected() {
    let (rig, first) = start(CONFIG).await;
    let mut subscriber = listen(&rig, &first).await;
    // Larger than what a TLS session buffers at once, so that the rest goes through the connection's own task.
    let large = json!({ "fill": "x".repeat(200_000) });
    for _ in 0..8 {
        publish(&rig, &first, &large).await;
        assert_eq!(subscriber.payload().await, large);
    }

    // A peer that comes back resumes its TLS session, so the reload of something else must not discard the sessions.
    let before = rig.live.snapshot().tls.clone().expect("it is encrypted");
    rig.place.write("relay.toml", &CONFIG.replace("\"4 KiB\"", "\"5 KiB\""));
    let report = rig.reloader.reload(Trigger::Request, false).await.expect("a report");
    assert!(matches!(report.result, Outcome::Committed(_)), "{:?}", report.result);
    assert!(Arc::ptr_eq(&before, rig.live.snapshot().tls.as_ref().expect("it is encrypted")));

    let second = certify(&rig.place);
    let report = rig.reloader.reload(Trigger::Request, false).await.expect("a report");
    assert!(matches!(report.result, Outcome::Committed(_)), "{:?}", report.result);
    assert!(connect(&rig, &[&first]).await.is_err(), "the old certificate is no longer shown");
    publish(&rig, &second, &json!({"after": "the change"})).await;
    assert_eq!(subscriber.payload().await, json!({"after": "the change"}), "the old connection goes on");

    let old = fs::read_to_string(rig.place.0.join("tls/key.pem")).expect("a file");
    rig.place.write("tls/key.pem", "no key");
    let report = rig.reloader.reload(Trigger::Request, false).await.expect("a report");
    assert!(matches!(report.result, Outcome::Refused), "{:?}", report.result);
    let diagnostics = report.diagnostics;
    assert_eq!(diagnostics[0]["code"], "bad-tls");
    assert_eq!(diagnostics[0]["message"], "`tls/key.pem` has no private key in PEM");
    // Half of a change: a new certificate beside the old key.
    certify(&rig.place);
    rig.place.write("tls/key.pem", &old);
    let report = rig.reloader.reload(Trigger::Request, false).await.expect("a report");
    assert!(matches!(report.result, Outcome::Refused), "{:?}", report.result);
    let [said, help] = ["message", "help"].map(|of| report.diagnostics[0][of].as_str().expect("a text"));
    assert_eq!(said, "`tls/key.pem` does not belong to the certificate in `tls/cert.pem`");
    assert_eq!(help, "replace both files; a relay that runs keeps the pair it has until the new one is whole");
    publish(&rig, &second, &json!({"still": "served"})).await;
    assert_eq!(subscriber.payload().await, json!({"still": "served"}));
}

/// Regression: whoever copied first the certificate and a second later the key found an error in the log, each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_and_a_key_may_be_replaced_one_after_the_other() {
    let (site, _) = start(CONFIG).await;
    let old = fs::read_to_string(site.place.0.join("tls/key.pem")).expect("a file");
    let second = certify(&site.place);
    let new = fs::read_to_string(site.place.0.join("tls/key.pem")).expect("a file");
    for (key, text) in [("the old key", old.as_str()), ("a beginning", &new[..40]), ("nothing", "")] {
        site.place.write("tls/key.pem", text);
        let look = site.reloader.look(Trigger::File, None).await;
        assert!(matches!(look, Look::HalfWritten(_)), "{key}: {look:?}");
    }
    site.place.write("tls/key.pem", &new);
    let look = site.reloader.look(Trigger::File, None).await;
    assert!(matches!(look, Look::Done(Report { result: Outcome::Committed(_), .. })), "{look:?}");
    assert_eq!(site.live.reloads.counts(), (1, 0));
    publish(&site, &second, &json!({"after": "the change"})).await;
}

/// An expired certificate is no reason to refuse other changes.
#[tokio::test]
async fn a_certificate_that_has_expired_is_put_in_force_with_a_warning() {
    let (rig, _) = start(CONFIG).await;
    for code in ["expired-certificate", "early-certificate"] {
        for file in ["cert.pem", "key.pem"] {
            fs::copy(format!("tests/config/bad/{code}/{file}"), rig.place.0.join("tls").join(file)).expect("a file");
        }
        let report = rig.reloader.reload(Trigger::Request, false).await.expect("a report");
        assert!(matches!(report.result, Outcome::Committed(_)), "{code}: {:?}", report.result);
        let diagnostics = report.diagnostics.as_array().expect("a list").clone();
        assert_eq!((diagnostics.len(), &diagnostics[0]["code"]), (1, &json!(code)), "{diagnostics:?}");
        assert_eq!((&diagnostics[0]["severity"], &diagnostics[0]["line"]), (&json!("warning"), &json!(6)));
    }
    let metrics = rig.metrics().await;
    let expires = "\nrelay_certificate_expires_timestamp_seconds{cert=\"tls/cert.pem\"} ";
    let (_, expires) = metrics.split_once(expires).expect("the time that the certificate expires");
    assert_eq!(expires.lines().next(), Some("7258118400"));
}

#[tokio::test]
async fn a_plain_page_of_the_same_name_is_not_the_servers_own() {
    let (rig, cert) = start(CONFIG).await;
    for (scheme, status) in [("http", 403), ("https", 200)] {
        let mut peer = Peer::new(connect(&rig, &[&cert]).await.expect("a handshake"));
        peer.send(format!("GET /topics HTTP/1.1\r\nHost: localhost\r\nOrigin: {scheme}://localhost\r\n\r\n")).await;
        assert_eq!(peer.answer().await.expect("an answer").status, status, "{scheme}");
    }
}

#[tokio::test]
async fn who_does_not_shake_hands_is_let_go() {
    let (rig, _) = start(CONFIG).await;
    let started = Instant::now();
    let mut silent = TcpStream::connect(rig.public).await.expect("the server listens");
    assert_eq!(silent.read(&mut [0; 16]).await.unwrap_or(0), 0, "closed");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(5), "{took:?}");
    let mut plain = Peer::new(TcpStream::connect(rig.public).await.expect("the server listens"));
    plain.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let rest = plain.rest().await;
    assert!(!rest.starts_with(b"HTTP"), "a plain request is no handshake");
    until("both are counted", || rig.live.stats.tls_failures.get() == 2).await;
}

/// Regression: TLS accepts an answer of some KiB whole, so that no write ever waits. What was left in it kept the
/// connection forever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_the_end_of_an_answer_is_let_go() {
    let (rig, cert) = start(CONFIG).await;
    publish(&rig, &cert, &json!("x".repeat(40_000))).await;
    let mut deaf = Peer::new(connect_narrowly(&rig, &cert).await);
    deaf.send("GET /history/cats HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    until("`limits.write_stall` holds for TLS too", || rig.live.connections.open() == 0).await;
    assert_eq!(rig.live.hub.outbound.held(), 0);
    drop(deaf);
}

/// Regression: the layer took up to 64 KiB for each subscriber, and nothing counted that.
#[tokio::test]
async fn what_a_slow_reader_holds_in_the_tls_layer_is_counted() {
    let (rig, cert) = start(CONFIG).await;
    let deaf = listen_on(connect_narrowly(&rig, &cert).await).await;
    publish(&rig, &cert, &json!("x".repeat(40_000))).await;
    until("a record in the layer and the rest are held", || rig.live.hub.outbound.held() > LAYER).await;
    drop(deaf);
    rig.end().await;
}

/// Regression: a peer that had connected but not completed the handshake made every restart as long as
/// `limits.header_timeout`.
#[tokio::test]
async fn a_handshake_that_does_not_come_does_not_hold_up_the_end() {
    let (rig, _) = start(&CONFIG.replace("header_timeout = \"1 s\"", "header_timeout = \"20 s\"")).await;
    let silent = TcpStream::connect(rig.public).await.expect("the server listens");
    until("it is let in", || rig.live.connections.open() == 1).await;
    let began = Instant::now();
    rig.end().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(silent);
}

/// Regression: it was refused in the handshake, although HTTP/1.0 is served.
#[tokio::test]
async fn who_offers_http_1_0_alone_is_served() {
    let (rig, cert) = start(CONFIG).await;
    for (offered, agreed) in [(&["http/1.0"][..], "http/1.0"), (&["http/1.0", "http/1.1"], "http/1.1")] {
        let socket = TcpStream::connect(rig.public).await.expect("the server listens");
        let stream = shake(socket, &[&cert], offered).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(agreed.as_bytes()));
        let mut peer = Peer::new(stream);
        peer.send("GET /health HTTP/1.0\r\n\r\n").await;
        assert_eq!(peer.answer().await.expect("an answer").status, 200);
    }
    let socket = TcpStream::connect(rig.public).await.expect("the server listens");
    assert!(shake(socket, &[&cert], &["h2"]).await.is_err());
    rig.end().await;
}
