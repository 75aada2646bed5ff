//! `relay check --against`.

use std::process::{Command, Output};

use super::site::{HEAD, Site, token};
use crate::program::{Place, Relay};
use crate::tour::copy;

fn check(place: &Place, file: &str, against: &str) -> Output {
    let mut relay = Command::new(env!("CARGO_BIN_EXE_relay"));
    relay.current_dir(&place.0).args(["check", "--config", file, "--against", against]).output().expect("relay starts")
}

fn check_as(place: &Place, format: &str, against: &str) -> Output {
    let mut relay = Command::new(env!("CARGO_BIN_EXE_relay"));
    let arguments = ["check", "--against", against, "--format", format];
    relay.current_dir(&place.0).args(arguments).output().expect("relay starts")
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn config(topics: &str) -> String {
    format!("{HEAD}{}{topics}", token("all", "publish = [\"**\"]\nsubscribe = [\"**\"]"))
}

const NOT_COMPARED: &str = "  token secrets were not compared: a running relay does not disclose them\n";

const CAT: &str =
    r##"{"type": "object", "required": ["name"], "properties": {"name": {"$ref": "deep/name.json#/$defs/name"}}}"##;
const NAME: &str = r#"{"$defs": {"name": {"type": "string", "maxLength": 9}}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_relay_is_asked_and_not_touched() {
    let cats = "[topics.cats]\nschema = \"schemas/cat.json\"\ncompatibility = \"publishers\"\nschema_next = \"schemas/next.json\"\nexamples = [{ valid = { name = \"Tom\" } }]\n";
    let running = config(cats);
    let files = [
        ("relay.toml", running.as_str()),
        ("schemas/cat.json", CAT),
        ("schemas/deep/name.json", NAME),
        ("schemas/next.json", "{\"type\": \"object\"}"),
    ];
    let site = Site::start(&files).await;
    for body in [r#"{"name":"Tom"}"#, r#"{"name":"Kit"}"#] {
        assert_eq!(site.post("/publish/cats", "all", body).await.status, 200);
    }
    let url = format!("http://{}", site.admin);
    let tried = "  cats: `schemas/next.json` would have refused none of 2 messages: wait for 100 before promoting it\n";

    let (code, out, err) = said(&check(&site.place, "relay.toml", &url));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let expected = format!("against {url}, generation 1:\n{NOT_COMPARED}  nothing would change\n{tried}");
    assert!(out.ends_with(&expected) && out.contains(", 2 schemas in 3 files, "), "{out}");

    site.place.write("relay.toml", &config(&format!("{cats}[topics.dogs]\nschema = \"any\"\n")));
    let (code, out, _) = said(&check(&site.place, "relay.toml", &url));
    let expected = format!("against {url}, generation 1:\n{NOT_COMPARED}  topics added: dogs\n{tried}");
    assert!(code == Some(0) && out.ends_with(&expected), "{out}");

    let dropped = cats.replace("schema_next = \"schemas/next.json\"\n", "");
    site.place.write("relay.toml", &config(&dropped));
    let (code, out, _) = said(&check(&site.place, "relay.toml", &url));
    let (_, change) = out.split_once("generation 1:\n").expect("what would change");
    assert!(code == Some(0) && !change.contains("messages"), "the trial ends with the change: {change}");

    let state = |out: &str| out.split_once("generation 1:\n").expect("what would change").1.contains("of 2 messages");
    site.place.write("relay.toml", &config(&dropped.replace("cat.json", "promoted.json")));
    site.place.write("schemas/promoted.json", "{ \"type\": \"object\" }");
    let (_, out, err) = said(&check(&site.place, "relay.toml", &url));
    assert!(state(&out) || err.contains("2 messages"), "it is promoted under another name: {out}{err}");
    site.place.write("relay.toml", &config(cats));
    site.place.write("schemas/next.json", "{\"type\": [\"object\", \"null\"]}");
    let (code, out, _) = said(&check(&site.place, "relay.toml", &url));
    assert!(code == Some(0) && !state(&out), "another schema has the name of the one on trial: {out}");
    site.place.write("schemas/next.json", "{\"type\": \"object\"}");

    site.place.write("schemas/deep/name.json", &NAME.replace('9', "3"));
    let (code, out, err) = said(&check(&site.place, "relay.toml", &url));
    assert_eq!((code, out.as_str()), (Some(78), ""));
    assert!(err.starts_with("error[breaks-publishers]: the new schema of `cats` refuses"), "{err}");
    assert!(err.contains("--> schemas/deep/name.json:1:39\n") && err.contains("for example: {\"name\":"), "{err}");

    site.place.write("schemas/deep/name.json", NAME);
    site.place.write("relay.toml", &config(cats).replace("admin = \"127.0.0.1:0\"", "admin = \"127.0.0.1:9\""));
    let (code, _, err) = said(&check(&site.place, "relay.toml", &url));
    assert_eq!(code, Some(78));
    assert!(err.starts_with("error[restart-only]: `server.admin` cannot change while relay runs"), "{err}");
    assert!(err.contains("--> relay.toml:4:1"), "{err}");
    assert!(!site.has("dogs") && site.live.reloads.last().is_none(), "nothing was sent");

    let (code, _, err) = said(&check(&site.place, "relay.toml", &format!("http://{}", site.public)));
    assert_eq!(code, Some(1));
    assert!(err.contains("status 404; is this its admin listener?"), "{err}");
}

/// Regression: an admin listener on a Unix socket answered 421 unless `allowed_hosts` named `localhost`.
#[test]
fn a_running_relay_is_asked_over_a_unix_socket_whatever_it_is_called() {
    let place = Place::new("against");
    let admin = format!("unix:{}", place.0.join("admin.sock").display());
    let text = config("[topics.cats]\nschema = \"any\"\n");
    let listens = format!("admin = \"{admin}\"\nallowed_hosts = [\"relay.example\"]");
    let text = text.replace("admin = \"127.0.0.1:0\"", &listens);
    let mut relay = Relay::start(&place.write("relay.toml", &text));
    let (public, _) = relay.addresses();
    let (code, out, err) = said(&check(&place, "relay.toml", &admin));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.ends_with(&format!("against {admin}, generation 1:\n{NOT_COMPARED}  nothing would change\n")), "{out}");
    let (code, _, err) = said(&check(&place, "relay.toml", &format!("http://{public}")));
    let why = format!("status 421; `{public}` is not one of this server's names: add it to `server.allowed_hosts`");
    assert!(code == Some(1) && err.contains(&why), "{err}");
    relay.signal("TERM");
    assert_eq!(relay.end().0, Some(0));
}

/// Regression: once rewritten, a number may be longer than it was in the file, and the running schema was called
/// invalid.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_was_small_enough_as_a_file_is_so_as_it_is_told() {
    let numbers = format!("{{\"enum\": [{}]}}", (0..110).map(|n| format!("{n}e15")).collect::<Vec<_>>().join(","));
    assert!(numbers.len() < 1_024);
    let text = config("[topics.cats]\nschema = \"cat.json\"\n[limits]\nschema_size = \"1 KiB\"\n");
    let site = Site::start(&[("cat.json", numbers.as_str()), ("relay.toml", text.as_str())]).await;
    let url = format!("http://{}", site.admin);
    let change = || said(&check(&site.place, "relay.toml", &url));
    let (code, out, err) = change();
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("\n  nothing would change\n"), "{out}");
    site.place.write("relay.toml", &text.replace("1 KiB", "2 KiB"));
    let (_, out, _) = change();
    assert!(out.contains("\n  keys changed: limits.schema_size\n"), "{out}");
}

/// Regression: the schema was called ready, and then refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_be_refused_is_not_called_ready_for_having_refused_nothing() {
    let topic = |compatibility: &str| {
        let line = format!("compatibility = \"{compatibility}\"\n");
        config(&format!("[topics.cats]\nschema = \"any\"\nschema_next = \"next.json\"\n{line}"))
    };
    let next = ("next.json", r#"{"type": "object", "required": ["name"]}"#);
    for (compatibility, expected) in [
        ("none", "it may be promoted\n"),
        (
            "publishers",
            "but breaks what `compatibility` promises: set that to \"none\" in a save of its own before promoting it\n",
        ),
    ] {
        let site = Site::start(&[next, ("relay.toml", &topic(compatibility))]).await;
        for _ in 0..100 {
            assert_eq!(site.post("/publish/cats", "all", r#"{"name":"Tom"}"#).await.status, 200);
        }
        let url = format!("http://{}", site.admin);
        let (code, out, _) = said(&check(&site.place, "relay.toml", &url));
        assert!(code == Some(0) && out.contains(expected), "{out}");
        site.place.write("relay.toml", &topic(compatibility).replace("schema = \"any\"\nschema_next", "schema"));
        let result = site.reload().await.json()["result"].clone();
        assert_eq!(result, if compatibility == "none" { "committed" } else { "refused" });
    }
}

/// Regression: the check said that nothing would change, whatever happened to grants: a running relay discloses them,
/// but they were not compared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_callers_may_do_is_compared_with_a_running_relay() {
    let cats = "[topics.cats]\nschema = \"any\"\n";
    let config = |tokens: &[String], anonymous: &str| {
        format!("{HEAD}{}{cats}[anonymous]\nsubscribe = [{anonymous}]\n", tokens.concat())
    };
    let all = "publish = [\"**\"]\nsubscribe = [\"**\"]";
    let running = config(&[token("a", all), token("b", all), token("c", all), token("e", all)], "\"cats\"");
    let site = Site::start(&[("relay.toml", running.as_str())]).await;
    let url = format!("http://{}", site.admin);
    let change = || {
        let (code, out, err) = said(&check(&site.place, "relay.toml", &url));
        assert_eq!((code, err.as_str()), (Some(0), ""));
        out.split_once("generation 1:\n").expect("what would change").1.to_owned()
    };
    assert_eq!(change(), format!("{NOT_COMPARED}  nothing would change\n"));
    let user = format!("{all}\nuser = \"u\"");
    let tokens = [token("a", all), token("b", "publish = [\"cats\"]"), token("d", all), token("e", &user)];
    site.place.write("relay.toml", &config(&tokens, ""));
    let expected =
        "  tokens added: d\n  tokens removed: c\n  tokens replaced: e\n  tokens changed: b\n  anonymous changed\n";
    assert_eq!(change(), format!("{NOT_COMPARED}{expected}"));
}

/// Regression: where a program looks, another secret, which closes every connection of its token, looked like no change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_told_what_was_not_compared() {
    let text = config("[topics.cats]\nschema = \"any\"\n");
    let site = Site::start(&[("relay.toml", text.as_str()), ("old.toml", text.as_str())]).await;
    let told = |against: &str| said(&check_as(&site.place, "json", against)).1;
    assert_eq!(
        told(&format!("http://{}", site.admin)),
        "{\"diagnostics\":[],\"plan\":{},\"not_compared\":[\"token secrets\"]}\n"
    );
    assert_eq!(told("old.toml"), "{\"diagnostics\":[],\"plan\":{}}\n");
}

/// Regression: a running relay discloses its certificate as a digest only. The comparison took that for no certificate,
/// so every relay with TLS seemed to change `server.tls`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_of_a_running_relay_is_compared_by_its_digest() {
    let place = Place::new("against");
    let certify = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        place.write("tls/cert.pem", &made.cert.pem());
        place.write("tls/key.pem", &made.signing_key.serialize_pem());
    };
    certify();
    let tls = "tls = { cert = \"tls/cert.pem\", key = \"tls/key.pem\" }\n";
    let cats = "[topics.cats]\nschema = \"any\"\n";
    let config = |tls: &str| format!("{HEAD}{tls}{}{cats}", token("all", "publish = [\"**\"]\nsubscribe = [\"**\"]"));
    place.write("relay.toml", &config(tls));
    let running = Place::new("against");
    copy(&place.0, &running.0);
    let site = Site::open(running, "relay.toml").await;
    let url = format!("http://{}", site.admin);
    let change = || {
        let (code, out, err) = said(&check(&place, "relay.toml", &url));
        assert_eq!((code, err.as_str()), (Some(0), ""));
        let change = out.split_once("generation 1:\n").expect("what would change").1;
        change.strip_prefix(NOT_COMPARED).expect("it says so").to_owned()
    };
    assert_eq!(change(), "  nothing would change\n");
    certify();
    assert_eq!(change(), "  keys changed: server.tls\n");
    place.write("relay.toml", &config(""));
    assert_eq!(change(), "  keys changed: server.tls\n");
}

#[test]
fn another_file_is_compared_with() {
    let place = Place::new("against");
    place.write("old/relay.toml", "version = 1\n[topics.cats]\nschema = \"any\"\n[anonymous]\npublish = [\"**\"]\n");
    place.write("relay.toml", "version = 1\n[topics.dogs]\nschema = \"any\"\n[anonymous]\nsubscribe = [\"**\"]\n");
    let (code, out, err) = said(&check(&place, "relay.toml", "old/relay.toml"));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(
        out.ends_with("against old/relay.toml:\n  topics added: dogs\n  topics removed: cats\n  anonymous changed\n"),
        "{out}"
    );
    let formatted = |format: &str| said(&check_as(&place, format, "old/relay.toml"));
    let plan = r#"{"topics_added":["dogs"],"topics_removed":["cats"],"anonymous_changed":true}"#;
    let (code, out, err) = formatted("json");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, format!("{{\"diagnostics\":[],\"plan\":{plan}}}\n"));
    let (_, out, _) = formatted("github");
    let notice = "::notice title=plan::against old/relay.toml:%0A  topics added: dogs%0A  topics removed: cats%0A  anonymous changed\n";
    assert_eq!(out, notice);
    place.write("relay.toml", "version = 2\n");
    let (code, out, _) = formatted("json");
    assert!(code == Some(78) && out.ends_with(",\"plan\":null}\n"), "{out}");
    place.write("old/relay.toml", "version = 2\n");
    let (code, _, err) = said(&check(&place, "relay.toml", "old/relay.toml"));
    assert_eq!(code, Some(78));
    assert!(err.starts_with("error[unsupported-version]"), "its own, too: {err}");
    let other = "relay: the configuration to compare with is itself invalid\nerror[unsupported-version]";
    assert!(err.contains(other), "{err}");
    let (code, _, err) = said(&check(&place, "relay.toml", "http://127.0.0.1:1"));
    assert_eq!(code, Some(78));
    assert!(err.contains("\nrelay: cannot ask `http://127.0.0.1:1` for its configuration: "), "{err}");
}

/// Regression: what is wrong with a change stood after what is wrong with the file alone, wherever either is.
#[test]
fn what_speaks_against_a_change_stands_in_the_order_of_the_file() {
    let place = Place::new("against");
    let with = |port: u16| {
        format!(
            "version = 1\n[server]\nlisten = \"127.0.0.1:{port}\"\n[topics.dogs]\nschema = \"any\"\n[anonymous]\npublish = [\"x\"]\n"
        )
    };
    place.write("old/relay.toml", &with(1));
    place.write("relay.toml", &with(2));
    let (code, _, err) = said(&check(&place, "relay.toml", "old/relay.toml"));
    let lines: Vec<_> = err.lines().filter_map(|line| line.trim_start().strip_prefix("--> ")).collect();
    assert_eq!((code, lines), (Some(78), vec!["relay.toml:3:1", "relay.toml:4:9", "relay.toml:7:12"]), "{err}");
}

/// Regression: an address was taken for a file, and a path was sent as part of the host.
#[test]
fn what_is_no_name_of_a_running_relay_is_told_how_it_is_written() {
    let place = Place::new("against");
    place.write("relay.toml", "version = 1\n[topics.dogs]\nschema = \"any\"\n[anonymous]\npublish = [\"dogs\"]\n");
    let expected = "name the admin listener of a relay as `http://host:port` or `unix:/path`, or an older relay.toml";
    for (against, why) in [
        ("127.0.0.1:8001", format!("there is no file `127.0.0.1:8001`; if a relay runs there, {expected}")),
        (
            "localhost:8001/config",
            format!("there is no file `localhost:8001/config`; if a relay runs there, {expected}"),
        ),
        ("older.toml", "there is no file `older.toml` to compare with".to_owned()),
        ("https://relay:8001", format!("`https://relay:8001` is not the address of an admin listener: {expected}")),
        (
            "http://127.0.0.1:8001/config",
            "`http://127.0.0.1:8001/config` has a path: name the admin listener alone, `http://127.0.0.1:8001`"
                .to_owned(),
        ),
    ] {
        let (code, _, err) = said(&check(&place, "relay.toml", against));
        assert_eq!((code, err), (Some(1), format!("relay: {why}\n")));
    }
}

/// Regression: the check ended with 1, as if it had not judged the file, and a program that asked for JSON got none. Of
/// a good file nobody was told the warnings.
#[test]
fn the_files_at_hand_are_judged_though_there_is_nothing_to_compare_with() {
    let place = Place::new("against");
    let nothing = "there is no file `nowhere.toml` to compare with";
    let topic = "version = 1\n[topics.dogs]\nschema = \"any\"\n";
    for (text, code, status) in
        [(topic.replace("schema", "shema"), "missing-key", 78), (topic.to_owned(), "unreachable-topic", 1)]
    {
        place.write("relay.toml", &text);
        let (ended, out, err) = said(&check_as(&place, "json", "nowhere.toml"));
        let told: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!((ended, &told["diagnostics"][0]["code"], &told["plan"]), (Some(status), &code.into(), &().into()));
        let last = serde_json::json!({"code": "nothing-to-compare-with", "severity": "error", "message": nothing});
        assert_eq!(told["diagnostics"].as_array().and_then(|list| list.last()), Some(&last));
        assert_eq!(err, format!("relay: {nothing}\n"));
        let (ended, out, _) = said(&check_as(&place, "github", "nowhere.toml"));
        let last = format!("::error title=nothing-to-compare-with::{nothing}\n");
        assert!(ended == Some(status) && out.contains(&format!("title={code}::")) && out.ends_with(&last), "{out}");
        let (ended, _, err) = said(&check_as(&place, "human", "nowhere.toml"));
        assert!(ended == Some(status) && err.contains(&format!("[{code}]: ")), "{err}");
        assert!(err.ends_with(&format!("relay: {nothing}\n")), "{err}");
    }
}
