//! What is reported for a mistake: where it is, and what helps.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use relay::assemble::{Loaded, load};
use relay::config::files::{Files, Memory};
use relay::diagnostic::render;
use relay::disk::Disk;
use relay::schema::compile::SchemaCache;
use relay::time::Time;

use crate::program::Place;

const CATS: &str = "[topics.cats]\nschema = \"any\"\n[anonymous]\npublish = [\"**\"]\n";

fn check(files: &dyn Files) -> Loaded {
    load(files, &SchemaCache::default(), Time::now())
}

/// Each problem as `code at file:line:column: message; help`.
fn told(loaded: &Loaded) -> Vec<String> {
    let all = render::json(&loaded.diagnostics, &loaded.sources);
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let one = |d: &serde_json::Value| {
        let place = format!("{}:{}:{}", text(&d["file"]), d["line"], d["column"]);
        format!("{} at {place}: {}; {}", text(&d["code"]), text(&d["message"]), text(&d["help"]))
    };
    all.as_array().expect("a list").iter().map(one).collect()
}

fn said_of(relay_toml: &str) -> Vec<String> {
    told(&check(&Memory::new(relay_toml)))
}

#[test]
fn a_directory_is_not_taken_for_a_file_that_is_not_there() {
    for (path, shown) in [(".", "./"), ("..", "../"), ("/", "/")] {
        let expected = format!(
            "config-unreadable at null:null:null: cannot read `{shown}`: it is not a regular file; \
             name a file with `--config`, not a directory or a pipe: it is read again at each reload"
        );
        assert_eq!(told(&check(&Disk::new(Path::new(path)))), [expected]);
    }
}

#[test]
fn what_is_not_utf_8_in_a_schema_is_shown_in_the_schema() {
    let place = Place::new("mistakes");
    let relay_toml = place.write("relay.toml", &format!("version = 1\n{}", CATS.replace("any", "cat.json")));
    fs::write(place.0.join("cat.json"), b"{\n  \"title\": \"caf\xe9\"\n}").expect("a file");
    let loaded = check(&Disk::new(&relay_toml));
    let schema = place.0.join("cat.json").display().to_string();
    assert_eq!(told(&loaded), [format!("not-utf8 at {schema}:2:16: the file is not UTF-8; save the file as UTF-8")]);
    let text = render::human(&loaded.diagnostics, &loaded.sources, false);
    assert!(text.contains("schema = \"cat.json\"") && text.contains("used here"), "{text}");
}

#[test]
fn a_certificate_and_a_key_are_told_apart_by_what_is_wrong_with_them() {
    let place = Place::new("mistakes");
    let tls = "[server.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n";
    let relay_toml = place.write("relay.toml", &format!("version = 1\n{tls}{CATS}"));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let why = |cert: &str, key: &str| {
        place.write("cert.pem", cert);
        place.write("key.pem", key);
        let all = told(&check(&Disk::new(&relay_toml)));
        all.first().map_or("", |one| one.split_once("relay.toml:").expect("a place").1).to_owned()
    };
    let pem = "write PEM: in `cert` the server's certificate and then those that signed it, in `key` its private key";
    let bare = "give relay the key without a passphrase: `openssl pkey -in KEY -out NEW`";
    assert_eq!(why(&cert, &key), "");
    // An editor's byte order mark is no part of PEM, and does no harm.
    assert_eq!(why(&format!("\u{feff}{cert}"), &format!("\u{feff}{key}")), "");
    let broken = format!("3:8: `cert.pem` is cut off: a section has no `-----END CERTIFICATE-----`; {pem}");
    assert_eq!(why(&cert[..cert.len() / 2], &key), broken);
    let garbled = format!("3:8: `cert.pem` is not PEM: the text between `BEGIN` and `END` is not base64; {pem}");
    assert_eq!(why(&cert.replacen("MII", "M!I", 1), &key), garbled);
    assert_eq!(why(&key, &cert), format!("3:8: `cert.pem` has no certificate; {pem}"));
    assert_eq!(why(&cert, ""), format!("4:7: `key.pem` has no private key in PEM; {pem}"));
    let headed = key.replace("KEY-----\nMI", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMI");
    for key in [key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), headed.replace("PRIVATE KEY", "RSA PRIVATE KEY")] {
        assert_eq!(why(&cert, &key), format!("4:7: `key.pem` is encrypted; {bare}"), "{key}");
    }
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate").cert.pem();
    let both = "replace both files; a relay that runs keeps the pair it has until the new one is whole";
    assert_eq!(why(&other, &key), format!("4:7: `key.pem` does not belong to the certificate in `cert.pem`; {both}"));
    let first = "put that certificate first, and after it those that signed it";
    let later = format!("4:7: `key.pem` belongs to a later certificate of `cert.pem`; {first}");
    assert_eq!(why(&(other + &cert), &key), later);
}

/// Regression: what old recipes and other curves make was told in the words of a library, with the advice to write PEM.
#[test]
fn of_a_certificate_or_key_that_is_too_old_or_too_rare_is_said_what_would_do() {
    let tls = "[server.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n";
    // Long enough for its length to take two bytes, with a version and without.
    let made = rcgen::generate_simple_self_signed(["relay.".repeat(20) + "org"]).expect("a certificate");
    let told = |cert: &[u8], key: &[u8]| {
        let pem = |label: &str, der: &[u8]| {
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(der))
        };
        let (cert, key) = (pem("CERTIFICATE", cert), pem("PRIVATE KEY", key));
        let files = Memory::new(&format!("version = 1\n{tls}{CATS}"));
        told(&check(&files.with("cert.pem", &cert).with("key.pem", &key)))
    };
    let (cert, key) = (made.cert.der().to_vec(), made.signing_key.serialize_der());
    assert_eq!(told(&cert, &key), [""; 0]);
    // Version 1 is that of a certificate that does not say its version.
    assert_eq!([0, 1, 4, 5, 8, 9, 10, 11, 12].map(|at: usize| cert[at]), [0x30, 0x82, 0x30, 0x82, 0xa0, 3, 2, 1, 2]);
    let shorter = |at: usize| (u16::from_be_bytes([cert[at], cert[at + 1]]) - 5).to_be_bytes();
    let old = [&cert[..2], &shorter(2), &cert[4..6], &shorter(6), &cert[13..]].concat();
    assert_eq!(
        told(&old, &key),
        ["bad-tls at relay.toml:3:8: `cert.pem` has a certificate of X.509 version 1 or 2; make one of version 3: \
          `openssl req -x509 -key KEY -subj /CN=HOST -addext subjectAltName=DNS:HOST`"]
    );
    // The identifier of P-256, and one of no curve that is known.
    let curve = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let at = key.windows(8).position(|bytes| bytes == curve).expect("a key of P-256");
    let mut rare = key.clone();
    rare[at + 7] = 0x7f;
    let unknown = "bad-tls at relay.toml:4:7: `key.pem` is damaged, or a private key of a kind or size that cannot be used; \
                   keys that work: RSA of 2048 to 4096 bits, ECDSA P-256 and P-384, Ed25519";
    assert_eq!(told(&cert, &rare), [unknown]);
    // Regression: what is PEM, but damaged, was told `BadEncoding` and to write PEM.
    assert_eq!(told(&cert, &key[..key.len() / 2]), [unknown]);
    assert_eq!(
        told(&cert[..cert.len() / 2], &key),
        [
            "bad-tls at relay.toml:3:8: `cert.pem` has a certificate that cannot be used: it is damaged; get the certificate \
          again from who issued it: it may have been cut or changed"
        ]
    );
}

/// Regression: only the addresses of `[server]` were told without the password of their URL.
#[test]
fn no_sentence_and_no_line_shows_the_credentials_of_a_url() {
    let toml = "version = 1\n[server]\npublic_url = \"ftp://u:hunter2@h\"\nallowed_hosts = [\"x://u:hunter2@h\"]\n\
                [topics.a]\nschema = \"https://u:hunter2@h/a.json\"\n[topics.b]\nschema = \"b.json\"\n";
    let loaded = check(&Memory::new(toml).with("b.json", r#"{"$ref": "https://u:hunter2@h/c.json"}"#));
    let text = render::human(&loaded.diagnostics, &loaded.sources, false);
    for code in ["bad-public-url", "bad-host", "bad-schema-path", "schema-ref-remote"] {
        assert!(text.contains(&format!("error[{code}]")), "{code}: {text}");
    }
    let shown = text + &render::json(&loaded.diagnostics, &loaded.sources).to_string();
    assert!(shown.contains("https://*********@h/c.json") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_value_of_the_wrong_type_is_one_mistake() {
    let told = said_of(&format!("version = 1\n[server]\ntls = true\n{CATS}"));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("wrong-type at relay.toml:3:7: `server.tls` is true or false"), "{told:?}");
}

#[test]
fn of_versions_the_one_that_can_be_read_is_named() {
    for version in ["-1", "7", "99999999999999999999999"] {
        let told = said_of(&format!("version = {version}\n{CATS}"));
        assert!(told.len() == 1 && told[0].ends_with("; this relay reads `version = 1`"), "{told:?}");
    }
}

#[test]
fn the_word_for_any_json_is_known_in_capitals_too() {
    for written in ["Any", "ANY"] {
        let told = said_of(&format!("version = 1\n{}", CATS.replace("any", written)));
        let expected = format!(
            "bad-schema-path at relay.toml:3:10: `{written}` is not a path of a schema file; write a path relative to \
             relay.toml, such as `schemas/cat.json`, or `any` to accept all JSON"
        );
        assert_eq!(told, [expected]);
    }
    let file = Memory::new(&format!("version = 1\n{}", CATS.replace("any", "Any"))).with("Any", "true");
    assert_eq!(told(&check(&file)), [""; 0], "it may be a file's name");
}

#[test]
fn a_refused_character_is_shown_the_same_in_name_and_reason() {
    let told = said_of(&format!("version = 1\n[topics.\"\u{e4}\"]\nschema = \"any\"\n{CATS}"));
    let message = "`\u{e4}` is not a topic name: `\u{e4}` is not allowed in a name; ";
    assert!(told.len() == 1 && told[0].contains(message), "{told:?}");
    let told = said_of(&format!("version = 1\n[topics.\"a\\u0007\"]\nschema = \"any\"\n{CATS}"));
    let message = "`a\\u{7}` is not a topic name: `\\u{7}` is not allowed in a name; ";
    assert!(told.len() == 1 && told[0].contains(message), "{told:?}");
}

#[test]
fn two_listeners_on_one_socket_need_another_path() {
    let listeners = "[server]\nlisten = \"unix:/run/relay/relay.sock\"\nadmin = \"unix:/run/relay/relay.sock\"\n";
    let told = said_of(&format!("version = 1\n{listeners}{CATS}"));
    assert!(told.len() == 1 && told[0].contains("; give `server.admin` a port or path of its own; "), "{told:?}");
}

/// Regression: such a file was listed under another name, and then reported as missing.
#[test]
fn a_file_whose_name_is_not_text_is_not_told_to_be_missing() {
    let place = Place::new("mistakes");
    let relay_toml = place.write("relay.toml", &format!("version = 1\ninclude = [\"t.d/*.toml\"]\n{CATS}"));
    place.write("t.d/a\nb.toml", "[topics.dogs]\nschema = \"any\"\n");
    let loaded = check(&Disk::new(&relay_toml));
    let names: Vec<_> = loaded.config.iter().flat_map(|config| &config.topics).map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["cats", "dogs"], "a line break is part of a name: {:?}", told(&loaded));

    let raw = |name: &[u8]| place.0.join(OsStr::from_bytes(name));
    fs::write(raw(b"t.d/\xff.toml"), "").expect("a file");
    fs::write(raw(b"t.d/\xff.bak"), "").expect("a file");
    let shown = relay_toml.display();
    let expected = format!(
        "include-unreadable at {shown}:2:12: cannot read the included `t.d/\u{fffd}.toml`: its name is not UTF-8; \
         rename the file"
    );
    assert_eq!(told(&check(&Disk::new(&relay_toml))), [expected]);

    fs::write(raw(b"\xff.toml"), "version = 1\n").expect("a file");
    let path = raw(b"\xff.toml");
    let expected = format!(
        "config-unreadable at null:null:null: cannot read `{}`: its name is not UTF-8; rename the file",
        path.display()
    );
    assert_eq!(told(&check(&Disk::new(&path))), [expected]);
}
