//! Checks the decoder against the table of keys, and what each part of a file becomes.

use std::time::Duration;

use serde_json::json;

use super::decode::{Decoded, decode};
use super::editor::json_schema;
use super::files::Memory;
use super::keys::{KEYS, Key, Type};
use super::model::{Compatibility, Config, Limits, Listen, OnLag, SchemaSource, Server};
use super::reading::Reading;
use super::view::{MASKED, view};
use crate::hex::hex;
use crate::time::Time;

fn decoded(files: &Memory) -> Decoded {
    decode(&Reading::new(files), Time(0))
}

/// The diagnostics of a text, as `code: sentence`.
fn said(text: &str) -> Vec<String> {
    let decoded = decoded(&Memory::new(text));
    decoded.diagnostics.iter().map(|d| format!("{}: {}", d.fact.about().code, d.fact)).collect()
}

fn good(files: &Memory) -> Config {
    let decoded = decoded(files);
    let said: Vec<_> = decoded.diagnostics.iter().map(|d| d.fact.to_string()).collect();
    assert_eq!(said, Vec::<String>::new());
    decoded.config
}

/// A file in which a key has this value.
fn with_value(key: &Key, value: &str) -> String {
    let table = key.table.replace("<name>", "x");
    let line = format!("{} = {value}\n", key.name);
    match key.table {
        "" if key.name == "version" => line,
        "" => format!("version = 1\n{line}"),
        "topics.<name>.examples" => format!("version = 1\n[[{table}]]\n{line}"),
        _ => format!("version = 1\n[{table}]\n{line}"),
    }
}

/// Regression: an unreadable `window` was reported as too small, with the size of the default.
#[test]
fn a_size_that_cannot_be_read_is_not_compared() {
    let codes = |limits: &str| -> Vec<String> {
        let said = said(&format!("version = 1\n[topics.a]\nschema = \"any\"\n[limits]\n{limits}\n"));
        said.iter().filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect()
    };
    assert_eq!(codes("body = \"32 MiB\"\nwindow = \"64 KB\""), ["bad-size"]);
    assert_eq!(codes("body = \"32 MB\"\nwindow = \"64 KiB\""), ["bad-size"]);
    assert_eq!(codes("body = \"32 MiB\"\nwindow = \"64 KiB\""), ["window-below-body"]);
    assert_eq!(codes("body = \"32 MiB\""), ["window-below-body"]);
    assert!(codes("body = \"16 MiB\"").iter().all(|code| code != "window-below-body"), "as much as the window");
}

#[test]
fn the_decoder_asks_for_every_key_of_the_table() {
    let mut seen = 0;
    for key in KEYS.iter().filter(|key| key.value != Type::Json) {
        // No key takes a boolean.
        let said = said(&with_value(key, "true"));
        let path = key.path().replace("<name>", "x");
        let wrong = format!("wrong-type: `{path}` is true or false");
        assert!(said.iter().any(|line| line.starts_with(&wrong)), "{path}: {said:?}");
        assert!(!said.iter().any(|line| line.starts_with("unknown-key")), "{path}: {said:?}");
        seen += 1;
    }
    assert!(seen > 60, "only {seen} keys");
    // A look-up of a key that is not in the table panics, so every test of the decoder shows that there is none.
}

#[test]
fn what_the_table_says_is_the_default_is_the_default() {
    let silent = "version = 1\n[topics.x]\nschema = \"any\"\n[anonymous]\npublish = [\"x\"]\n";
    let mut spoken = String::from("version = 1\n[anonymous]\npublish = [\"x\"]\n");
    let mut seen = 0;
    for table in ["server", "log", "limits", "store", "topics.<name>", "topics.<name>.history"] {
        spoken += &format!("[{}]\n", table.replace("<name>", "x"));
        if table == "topics.<name>" {
            spoken += "schema = \"any\"\n";
        }
        for (key, default) in KEYS.iter().filter(|key| key.table == table).filter_map(|k| Some((k, k.default_value()?)))
        {
            // JSON and TOML write texts, numbers and empty lists alike.
            spoken += &format!("{} = {default}\n", key.name);
            seen += 1;
        }
    }
    assert!(seen > 35, "only {seen} defaults");
    let silent = good(&Memory::new(silent));
    assert_eq!(view(&good(&Memory::new(&spoken))), view(&silent), "{spoken}");
    assert_eq!((silent.limits, silent.server), (Limits::default(), Server::default()));
}

#[test]
fn a_topic_has_what_the_file_says() {
    let text = "version = 1\n[topics.\"a.{b}\"]\ndescription = \"d\"\nschema = \"./s/../x.json\"\n\
        history = { count = 1, bytes = 300000, age = \"5 min\" }\ncompatibility = \"full\"\non_lag = \"disconnect\"\n\
        examples = [{ invalid = { t = 2026-01-01T00:00:00Z, n = 18446744073709551615 } }]\n\
        [anonymous]\nsubscribe = [\"a.*\"]\n";
    let config = good(&Memory::new(text));
    let topic = &config.topics[0];
    assert_eq!((topic.name.as_str(), topic.description.as_str()), ("a.{b}", "d"));
    assert_eq!(topic.schema, SchemaSource::File("x.json".into()));
    assert_eq!((topic.history.count, topic.history.bytes), (1, 300_000));
    assert_eq!(topic.history.age, Duration::from_secs(300));
    assert_eq!((topic.compatibility, topic.on_lag), (Compatibility::Full, OnLag::Disconnect));
    assert_eq!(topic.examples[0].instance, json!({"t": "2026-01-01T00:00:00Z", "n": u64::MAX}));
    assert!(!topic.examples[0].valid);
    assert_eq!(&text[topic.schema_span.bytes.clone()], "\"./s/../x.json\"");
}

#[test]
fn history_holds_a_body_unless_the_file_says_otherwise() {
    let text =
        "version = 1\n[topics.x]\nschema = \"any\"\n[anonymous]\npublish = [\"x\"]\n[limits]\nbody = \"4 MiB\"\n";
    assert_eq!(good(&Memory::new(text)).topics[0].history.bytes, 4 << 20);
}

#[test]
fn a_secret_is_the_same_wherever_it_comes_from() {
    let secret = "correct-horse-battery-staple-0123456789";
    // As sha256sum prints it.
    let digest = "7771a0cec1279f8ca878a66c694f3344b16bee8128c78b8ef5fd0656b35b02ee";
    for source in
        [format!("sha256 = \"{digest}\""), "secret = { env = \"S\" }".into(), "secret = { file = \"/s\" }".into()]
    {
        let text = format!("version = 1\n[topics.x]\nschema = \"any\"\n[tokens.t]\n{source}\npublish = [\"x\"]\n");
        let mut files = Memory::new(&text).with("/s", &format!("{secret}\r\n"));
        files.env.insert("S".to_owned(), secret.to_owned());
        assert_eq!(hex(&good(&files).tokens[0].digest), digest, "{source}");
    }
}

#[test]
fn listeners_are_addresses_or_sockets_and_admin_can_be_off() {
    let text = "version = 1\n[server]\nlisten = \"unix:/run/relay.sock\"\nadmin = \"\"\n";
    let config = decoded(&Memory::new(text)).config;
    assert_eq!(config.server.listen, Listen::Unix("/run/relay.sock".into()));
    assert_eq!(config.server.admin, None);
}

#[test]
fn a_store_is_of_a_kind_that_is_there() {
    let store = |lines: &str| {
        format!("version = 1\n[topics.x]\nschema = \"any\"\n[anonymous]\npublish = [\"x\"]\n[store]\n{lines}\n")
    };
    assert_eq!(good(&Memory::new(&store(""))).store.kind, "memory");
    assert_eq!(
        said(&store("kind = \"memroy\"\npath = \"/var\"")),
        ["bad-choice: `memroy` is not a value of `store.kind`", "unknown-key: unknown key `path` in `[store]`"]
    );
}

#[test]
fn an_included_file_is_read_once_and_relay_toml_never_includes_itself() {
    let files = Memory::new(
        "version = 1\ninclude = [\"*.toml\", \"./a.toml\", \"./relay.toml\"]\n[anonymous]\npublish = [\"x\"]\n",
    )
    .with("a.toml", "[topics.x]\nschema = \"any\"\n")
    .with("b.txt", "no");
    let reading = Reading::new(&files);
    let decoded = decode(&reading, Time(0));
    assert_eq!((decoded.diagnostics.len(), decoded.config.topics.len()), (0, 1));
    assert_eq!(reading.inputs().paths(), ["", "a.toml", "relay.toml"]);
}

#[test]
fn the_hash_changes_with_every_file_that_is_read_and_with_no_other() {
    let hash = |files: &Memory| {
        let reading = Reading::new(files);
        decode(&reading, Time(0));
        reading.hash()
    };
    let files =
        Memory::new("version = 1\ninclude = [\"t/*.toml\", \"gone.toml\"]\n").with("t/a.toml", "").with("b", "");
    let before = hash(&files);
    assert_eq!(before.len(), 64);
    assert_eq!(hash(&files.clone().with("b", "other")), before);
    for changed in [("relay.toml", "version = 1\n"), ("t/a.toml", "#"), ("t/b.toml", ""), ("gone.toml", "")] {
        assert_ne!(hash(&files.clone().with(changed.0, changed.1)), before, "{changed:?}");
    }
    let none = Memory::new("version = 1\ninclude = [\"t/*.toml\"]\n");
    assert_ne!(hash(&none), hash(&none.clone().with("t/.gitkeep", "")), "an empty directory is not a missing one");
}

#[test]
fn a_syntax_error_hides_nothing_but_its_consequences() {
    let said = said("version = 1\nnonsense\n[topics.cats\nschema = \"any\"\ncolour = 1\n[log]\nlevle = \"info\"\n");
    assert_eq!(
        said,
        [
            "toml-syntax: key with no value, expected `=`",
            "toml-syntax: unclosed table, expected `]`",
            "unknown-key: unknown key `levle` in `[log]`",
        ]
    );
}

#[test]
fn usual_slips_are_told_with_what_to_write() {
    let text = "a value that is not a number, date, list, true or false must be quoted: `\"…\"`";
    for (line, expected) in [
        ("level = info", text),
        ("level = “info”", text),
        ("level = 10s", text),
        ("level = 127.0.0.1:80", text),
        ("level = [info]", text),
        ("level =", "a value is missing after `=`"),
        ("level = \"info", "a string has no closing `\"`"),
        ("level = 'info", "a string has no closing `'`"),
        ("level = any\"", "a string has no opening quote"),
        ("level = \"a\\c\"", "`\\` begins an escape: write `/`, or `'…'` for a string without escapes"),
        ("level: \"info\"", "write `=`, not `:`, between a key and its value"),
        ("// level", "a comment begins with `#`"),
        ("level \"info\"", "key with no value, expected `=`"),
        ("level = \"a\u{1b}b\"", "a control character: remove it, or write `\\u001B` in a string in `\"…\"`"),
        ("level = 'a\u{7f}b'", "a control character: remove it, or write `\\u007F` in a string in `\"…\"`"),
        ("# level\0", "a control character: remove it, or write `\\u0000` in a string in `\"…\"`"),
        ("level = \"\"\"\ninfo\"\n", "a multi-line string has no closing `\"\"\"`"),
        ("level = '''\ninfo'", "a multi-line string has no closing `'''`"),
    ] {
        assert_eq!(said(&format!("version = 1\n[log]\n{line}\n")), [format!("toml-syntax: {expected}")], "{line}");
    }
}

/// Regression: the keys below it were reported as unknown at the top level.
#[test]
fn a_broken_header_may_be_indented() {
    let said = said(
        "version = 1\n  [topics.cats\n  schema = \"any\"\n  history = { count = 1 }\n\t[topics.dogs]\n\tshema = \"any\"\n",
    );
    assert_eq!(
        said,
        ["toml-syntax: unclosed table, expected `]`", "unknown-key: unknown key `shema` in `[topics.dogs]`",]
    );
}

/// Regression: the first report was that the outer table has no schema, though nobody wrote that table.
#[test]
fn a_topic_without_quotes_is_told_once() {
    let said = said("version = 1\n[topics.orders.eu]\nschema = \"any\"\n");
    assert_eq!(said, ["unknown-key: unknown key `eu` in `[topics.orders]`"]);
}

/// Regression: keys missing in other files were reported only once the syntax error was mended.
#[test]
fn a_syntax_error_hides_what_is_missing_in_its_own_file_only() {
    let files = Memory::new("version = 1\ninclude = [\"a.toml\"]\n[topics.cats\n[tokens.shop]\n")
        .with("a.toml", "[topics.dogs]\n[tokens.till]\npublish = [\"dogs\"]\n");
    let said: Vec<_> = decoded(&files).diagnostics.iter().map(|d| d.fact.to_string()).collect();
    let expected =
        ["unclosed table, expected `]`", "`schema` is missing in `[topics.dogs]`", "token `till` has no secret"];
    assert_eq!(said, expected);
}

/// Regression: the message was "unquoted keys cannot be empty", without a word of how to quote them.
#[test]
fn a_family_without_quotes_is_told_how_it_is_written() {
    let said = said("version = 1\n[topics.orders.{region}]\nschema = \"any\"\n");
    let expected = "toml-syntax: a name with dots and braces must be quoted: write `[topics.\"orders.{region}\"]`";
    assert_eq!(said.iter().filter(|text| *text == expected).count(), 1, "{said:?}");
}

#[test]
fn the_view_shows_no_digest() {
    let text = "version = 1\n[topics.x]\nschema = \"any\"\n[tokens.t]\nsha256 = \"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f\"\n\
        publish = [\"x\"]\nregister = [\"a*\"]\nuser = \"u\"\nnot_after = 2999-01-01T00:00:00Z\n";
    let config = good(&Memory::new(text));
    let shown = view(&config);
    assert_eq!(
        shown["tokens"]["t"],
        json!({"sha256": MASKED, "user": "u", "not_after": "2999-01-01T00:00:00.000Z",
            "publish": ["x"], "subscribe": [], "register": ["a*"]})
    );
    assert!(!shown.to_string().contains("0f0f"));
    // The view shows every limit, so a new one must be added there.
    let limits = shown["limits"].as_object().expect("an object");
    let keys: Vec<_> = KEYS.iter().filter(|key| key.table == "limits").map(|key| key.name).collect();
    assert_eq!(limits.keys().collect::<Vec<_>>(), keys);
}

#[test]
fn the_editors_schema_describes_every_key() {
    let schema = json_schema();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert_eq!(schema["required"], json!(["version"]));
    let text = schema.to_string();
    for key in KEYS {
        assert!(text.contains(&json!(key.doc).to_string()), "{}", key.path());
    }
    assert_eq!(schema["properties"]["limits"]["properties"]["body"]["default"], "256 KiB");
}

/// Regression: it was reported as "not a date with time and offset".
#[test]
fn a_date_before_1970_is_a_date() {
    let said = said(
        "version = 1\n[topics.x]\nschema = \"any\"\n[tokens.t]\nsecret = { env = \"S\" }\npublish = [\"x\"]\n\
         not_after = 1960-01-01T00:00:00Z\n",
    );
    assert!(said[1].starts_with("expired-token: ") && said[1].contains("1960-01-01T00:00:00.000Z"), "{said:?}");
}

/// Most people write 0 for no limit.
#[test]
fn a_rate_that_is_none_is_told_the_word_for_that() {
    let help = |line: &str| {
        let decoded = decoded(&Memory::new(&format!("version = 1\n[limits]\n{line}\n")));
        decoded.diagnostics[0].fact.about().help
    };
    assert_eq!(help("publish_rate = 0"), "write a value from 1 to 10000000, or `\"off\"`");
    assert_eq!(help("batch = 0"), "write a value from 1 to 100000");
}

/// Regression: the file was taken for the word, and a comparison with the running server reported a break.
#[test]
fn a_file_named_any_is_not_the_word() {
    let text = "version = 1\n[topics.x]\nschema = \"./any\"\n[anonymous]\npublish = [\"x\"]\n";
    let config = good(&Memory::new(text));
    assert_eq!(view(&config)["topics"]["x"]["schema"], "./any");
}

/// An empty list would let in nobody.
#[test]
fn an_empty_list_of_hosts_is_none() {
    let listed = |hosts: &str| {
        let text = format!("version = 1\n[server]\nallowed_hosts = {hosts}\n[topics.cats]\nschema = \"any\"\n");
        decoded(&Memory::new(&text)).config.server.allowed_hosts
    };
    assert_eq!(listed("[]"), None);
    assert_eq!(listed("[\"a.example\"]"), Some(vec!["a.example".to_owned()]));
}

#[test]
fn what_is_wrong_with_a_value_is_not_told_as_missing_too() {
    let topic = "version = 1\n[topics.cats]\nschema = \"any\"\n";
    let file = said(&format!("{topic}[tokens.a]\nsecret = {{ file = 3 }}\npublish = [\"cats\"]\n"));
    assert!(file.len() == 1 && file[0].starts_with("wrong-type: "), "{file:?}");
    let example = said(&format!("{topic}[[topics.cats.examples]]\nvalid =\n[anonymous]\npublish = [\"cats\"]\n"));
    assert_eq!(example, ["toml-syntax: a value is missing after `=`"]);
}

#[test]
fn what_is_written_unusually_is_judged_as_what_it_is() {
    let topic = "version = 1\n[anonymous]\npublish = [\"cats\"]\n[topics.cats]\nschema = \"any\"\n";
    assert_eq!(said(&format!("{topic}[server]\nadmin = \"[::ffff:127.0.0.1]:8001\"\n")), [""; 0]);
    let equal = "[limits]\nbody = \"64 KiB\"\nwindow = \"64 KiB\"\n\
                 [topics.dogs]\nschema = \"any\"\nhistory.bytes = \"64 KiB\"\n";
    assert_eq!(said(&format!("{topic}{equal}").replace("[\"cats\"]", "[\"*\"]")), [""; 0]);
    let backslash = said(&topic.replace("\"any\"", "'schemas\\cat.json'"));
    assert_eq!(backslash, [r"bad-schema-path: `schemas\cat.json` is not a path of a schema file"]);
    // 31 hex digits are 124 bits, in whatever letters, and however they are divided.
    for (secret, is_weak) in [
        ("0F1E2D3C4B5A69788796A5B4C3D2E1F", true),
        ("0F1E2D3C4B5A69788796A5B4C3D2E1F0", false),
        ("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f", true),
        ("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", false),
    ] {
        let token = "[tokens.a]\nsecret = { env = \"A\" }\npublish = [\"cats\"]\n";
        let mut files = Memory::new(&format!("{topic}{token}"));
        files.env.insert("A".into(), secret.into());
        let diagnostics = decoded(&files).diagnostics;
        let codes: Vec<_> = diagnostics.iter().map(|d| d.fact.about().code).collect();
        assert_eq!(codes, if is_weak { &["weak-secret"][..] } else { &[] }, "{secret}");
    }
}

/// A reload waits for the rest of a line, in whichever file it is missing.
#[test]
fn a_file_that_ends_within_a_line_is_unfinished() {
    let files = Memory::new("version = 1\ninclude = [\"t/*.toml\"]\n")
        .with("t/a.toml", "[topics.cats]\nschema = \"any\"")
        .with("t/b.toml", "[topics.dogs]\nschema = \"any\"\n")
        .with("t/c.toml", "");
    let unfinished = decoded(&files).unfinished;
    assert_eq!(unfinished.iter().map(|path| &**path).collect::<Vec<_>>(), ["t/a.toml"]);
}

/// Regression: a grant was compared with `orders.{region}` itself, so that one for the family had no hint, or one that
/// no grant may write.
#[test]
fn a_grant_that_is_mistyped_is_told_what_a_grant_may_write() {
    let topic = |name: &str| format!("[topics.{name:?}]\nschema = \"any\"\n");
    let topics = topic("orders.{region}") + &topic("shop.orders.{id}.state");
    for (grant, meant) in [
        ("oders.*", "did you mean `orders.*`?"),
        ("ORDERS.*", "did you mean `orders.*`?"),
        ("shop.order.*.state", "did you mean `shop.orders.*.state`?"),
        ("other.*", "declare such a topic, or remove the grant"),
    ] {
        let text = format!("version = 1\n{topics}[anonymous]\npublish = [\"orders.*\", \"shop.**\", {grant:?}]\n");
        let diagnostics = decoded(&Memory::new(&text)).diagnostics;
        let help: Vec<_> = diagnostics.iter().map(|d| d.fact.about().help).collect();
        assert_eq!(help, [meant], "{grant}");
    }
}

/// Regression: a file of 20,000 bytes was taken for a secret, and every call with it was then refused for its header.
#[test]
fn a_secret_that_no_header_can_hold_is_refused() {
    for (bytes, expected) in
        [(4_096, None), (4_097, Some("unusable-secret: the secret in `s` has 4097 bytes; at most 4096 are allowed"))]
    {
        let text =
            "version = 1\n[topics.a]\nschema = \"any\"\n[tokens.t]\nsecret = { file = \"s\" }\npublish = [\"a\"]\n";
        let decoded = decoded(&Memory::new(text).with("s", &"0123456789abcdef".repeat(300)[..bytes]));
        let said: Vec<_> = decoded.diagnostics.iter().map(|d| format!("{}: {}", d.fact.about().code, d.fact)).collect();
        assert_eq!(said, Vec::from_iter(expected), "{bytes}");
    }
}
