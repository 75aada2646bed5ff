//! The command line: what it prints, where, and its exit status.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use sha2::{Digest, Sha256};

use crate::program::Place;

fn relay(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_relay")).args(arguments).output().expect("relay starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("relay prints UTF-8")
}

const GOOD: &str = "tests/config/ok/every_key.toml";
const BAD: &str = "tests/config/bad/unknown-key.toml";

#[test]
fn a_good_configuration_is_summed_up_on_standard_output() {
    let output = relay(&["check", "--config", GOOD]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
    assert_eq!(
        text(&output.stdout),
        "tests/config/ok/every_key.toml: no problems\n\
         2 topics, 2 families, 0 schemas, 2 tokens\n\
         worst-case memory: 1.9 GiB\n\
        \x20 history of topics       4.3 MiB\n\
        \x20 history of families     200 MiB (100 concrete topics each)\n\
        \x20 window                   20 MiB\n\
        \x20 connections             1.0 GiB (1000)\n\
        \x20 validation              544 MiB\n\
        \x20 unread answers           32 MiB\n\
        \x20 registrations           193 KiB (50)\n\
        \x20 idempotency keys       46.4 MiB (100000)\n"
    );
    // Without families there is no row for them.
    let output = relay(&["check", "--config", "tests/config/ok/smallest.toml"]);
    assert!(!text(&output.stdout).contains("history of families"), "{}", text(&output.stdout));
}

#[test]
fn a_bad_configuration_is_explained_on_standard_error_and_ends_with_78() {
    for arguments in [&["check", "--config", BAD][..], &["--config", BAD], &["run", "--config", BAD]] {
        let output = relay(arguments);
        assert_eq!(output.status.code(), Some(78), "{arguments:?}");
        assert_eq!(text(&output.stdout), "");
        let expected = std::fs::read_to_string(Path::new(BAD).with_extension("txt")).expect("the fixture is there");
        assert_eq!(text(&output.stderr), expected);
    }
}

/// Regression: a program that reads the log saw nothing of a server that is started again and again.
#[test]
fn a_refused_start_is_one_line_of_json_if_the_log_is_json() {
    let place = Place::new("cli");
    let bad = place
        .write("relay.toml", "version = 1\nnonsense\n[log]\nformat = \"json\"\n[topics.cats]\nschema = \"no.json\"\n");
    let output = relay(&["--config", bad.to_str().expect("text")]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(78), ""));
    let line: serde_json::Value = serde_json::from_str(text(&output.stderr)).expect("one JSON text");
    assert_eq!((&line["level"], &line["message"]), (&"ERROR".into(), &"relay cannot run".into()));
    assert_eq!(line["error"], format!("{}: 2 errors", bad.display()));
    let diagnostics = line["diagnostics"].as_str().expect("a text");
    assert!(
        diagnostics.starts_with("\nerror[toml-syntax]: ") && diagnostics.contains("error[schema-unreadable]: "),
        "{diagnostics}"
    );
}

/// Regression: if standard error was a full disk or a closed pipe, the exit status became 101, as after a panic.
#[test]
fn a_lost_standard_error_does_not_change_the_exit_status() {
    let nobody = ["check", "--config", GOOD, "--against", "http://127.0.0.1:1"];
    for (arguments, status) in [
        (&["check", "--config", BAD][..], 78),
        (&["run", "--config", BAD], 78),
        (&nobody, 1),
        (&["bench", "http://127.0.0.1:1", "--topic", "cats"], 1),
    ] {
        let (reader, unread) = std::io::pipe().expect("a pipe");
        drop(reader);
        let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has one");
        for lost in [Stdio::from(full), Stdio::from(unread)] {
            let ended = Command::new(env!("CARGO_BIN_EXE_relay")).args(arguments).stderr(lost).status();
            assert_eq!(ended.expect("relay starts").code(), Some(status), "{arguments:?}");
        }
    }
}

#[test]
fn a_warning_is_told_and_does_not_end_the_check() {
    let output = relay(&["check", "--config", "tests/config/bad/no-topics.toml"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).starts_with("warning[no-topics]"), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("tests/config/bad/no-topics.toml: 1 warning\n"));
}

#[test]
fn programs_read_diagnostics_on_standard_output() {
    let output = relay(&["check", "--format", "json", "--config", BAD]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(78), ""));
    let diagnostics: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON text");
    assert_eq!(diagnostics[0]["code"], "unknown-key");
    assert_eq!((&diagnostics[0]["file"], &diagnostics[0]["line"]), (&BAD.into(), &5.into()));

    let output = relay(&["check", "--format", "github", "--config", BAD]);
    assert_eq!(output.status.code(), Some(78));
    assert!(
        text(&output.stdout)
            .starts_with("::error file=tests/config/bad/unknown-key.toml,line=5,col=1,title=unknown-key::")
    );

    let output = relay(&["check", "--format", "json", "--config", GOOD]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "[]\n"));
}

#[test]
fn without_a_file_the_way_to_one_is_told() {
    let place = Place::new("empty");
    let relay = Command::new(env!("CARGO_BIN_EXE_relay")).current_dir(&place.0).output().expect("relay starts");
    assert_eq!(relay.status.code(), Some(78));
    assert!(
        text(&relay.stderr).starts_with("error[config-unreadable]: cannot read `relay.toml`: there is no such file")
    );
}

#[test]
fn a_new_secret_is_printed_alone_beside_the_digest_that_lets_it_in() {
    let output = relay(&["token", "new", "shop"]);
    assert_eq!(output.status.code(), Some(0));
    let secret = text(&output.stdout).strip_suffix('\n').expect("a line");
    assert_eq!((secret.len(), secret.lines().count()), (43, 1));
    let digest: String = Sha256::digest(secret).iter().map(|b| format!("{b:02x}")).collect();
    let expected = format!(
        "The secret, for the caller; it goes to standard output this once and is kept nowhere:\n\n\n\
         The caller sends it as `Authorization: Bearer <secret>`.\n\n\
         For relay.toml, which needs only its digest; add what the token may do:\n\n\
         [tokens.shop]\nsha256    = \"{digest}\"\npublish   = []\nsubscribe = []\nregister  = []\n"
    );
    assert_eq!(text(&output.stderr), expected);
    assert_ne!(relay(&["token", "new", "shop"]).stdout, output.stdout);
    assert!(text(&relay(&["token", "new", "eu.shop"]).stderr).contains("[tokens.\"eu.shop\"]"));
}

/// A script had to pick the secret out of the prose around it.
#[test]
fn what_a_new_token_prints_is_a_secret_file() {
    let place = Place::new("secret");
    place.write("shop", text(&relay(&["token", "new", "shop"]).stdout));
    let config = "version = 1\n[topics.cats]\nschema = \"any\"\n[tokens.shop]\nsecret = { file = \"shop\" }\npublish = [\"cats\"]\n";
    let config = place.write("relay.toml", config);
    let output = relay(&["check", "--config", config.to_str().expect("UTF-8")]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

/// Regression: the digest of a secret that nobody had was printed all the same.
#[test]
fn a_new_secret_that_cannot_be_written_has_no_digest() {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has one");
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
    let output = command.args(["token", "new", "shop"]).stdout(full).output().expect("relay starts");
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    let why = "relay: cannot write to standard output: No space left on device (os error 28)\n";
    assert!(stderr.ends_with(why) && !stderr.contains("sha256"), "{stderr}");
}

/// Regression: the text printed for such a name was refused by `relay check`, or was not TOML.
#[test]
fn a_name_that_no_token_can_have_gets_no_secret() {
    for name in ["", "the shop", "\u{e9}", "it's", "x\u{1}", "anonymous", &"x".repeat(65)] {
        let output = relay(&["token", "new", name]);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""), "{name}");
        let shown = name.replace('\u{1}', "\\u{1}");
        let expected = format!(
            "error[bad-token-name]: `{shown}` is not a token name\n |\n \
             = help: use 1 to 64 characters of A-Z, a-z, 0-9, `_`, `-` and `.`; `anonymous` and `unauthenticated` are \
             reserved: the log uses them for callers without a token\n"
        );
        assert_eq!(text(&output.stderr).trim_end(), expected.trim_end());
    }
}

#[test]
fn the_printed_schema_judges_the_fixtures_as_the_check_does() {
    let output = relay(&["schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON text");
    let validator = jsonschema::options().build(&schema).expect("a schema");
    // Editors pass dates as text.
    let accepts = |path: &str| {
        let text = std::fs::read_to_string(path).expect("the fixture is there");
        let table: toml::Table = text.parse().expect("TOML");
        let json = to_json(toml::Value::Table(table));
        validator.iter_errors(&json).map(|e| e.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(accepts(GOOD), Vec::<String>::new());
    assert_eq!(accepts("tests/config/ok/smallest.toml"), Vec::<String>::new());
    for bad in ["unknown-key", "missing-key", "bad-choice", "bad-size", "bad-duration", "two-secrets"] {
        assert!(!accepts(&format!("tests/config/bad/{bad}.toml")).is_empty(), "{bad}");
    }
}

fn to_json(value: toml::Value) -> serde_json::Value {
    match value {
        toml::Value::Datetime(moment) => moment.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(to_json).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, to_json(value))).collect(),
        other => serde_json::to_value(other).expect("JSON"),
    }
}

#[test]
fn every_shell_is_given_a_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = relay(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(text(&output.stdout).contains("check"), "{shell}");
    }
}

/// `promtool` and `nats-server` accept the first three; if they were only called unexpected, the user would have to
/// search.
#[test]
fn what_other_programs_take_gets_a_tip() {
    let file = "tip: name it with `--config foo.toml`";
    let reload =
        "tip: a running relay reloads when its files change, at SIGHUP, and by `POST /reload` on its admin listener";
    for (arguments, tip) in
        [(&["check", "foo.toml"][..], file), (&["run", "foo.toml"], file), (&["foo.toml"], file), (&["reload"], reload)]
    {
        let output = relay(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(tip), "{}", text(&output.stderr));
    }
}

/// Regression: a missing name was replaced by a default that relay.toml accepted.
#[test]
fn a_token_has_a_name() {
    let output = relay(&["token", "new"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""));
    assert!(text(&output.stderr).contains("<NAME>"), "{}", text(&output.stderr));
}

/// A command that reads no configuration does not list the option.
#[test]
fn only_who_reads_a_configuration_can_be_given_one() {
    for (arguments, lists) in [
        (["check", "--help"], true),
        (["run", "--help"], true),
        (["bench", "--help"], false),
        (["schema", "--help"], false),
    ] {
        assert_eq!(text(&relay(&arguments).stdout).contains("--config"), lists, "{arguments:?}");
    }
    for order in [["--config", BAD, "check"], ["check", "--config", BAD]] {
        assert_eq!(relay(&order).status.code(), Some(78), "{order:?}");
    }
}

#[test]
fn help_says_what_an_argument_is_and_what_it_excludes() {
    for (arguments, sentences) in [
        (
            ["check", "--help"],
            vec![
                "Configuration file [default: relay.toml]",
                "Output format; diagnostics of `human` go to standard error, everything else to standard output",
            ],
        ),
        (
            ["bench", "--help"],
            vec![
                "publishes real messages to it (its other subscribers get them too)",
                "Publish N messages, instead of --duration",
                "How long to publish, instead of --messages [default: 10s]",
                "Maximum number of messages in flight: published, but not received by all subscribers yet [default: --publishers]",
            ],
        ),
    ] {
        let help = text(&relay(&arguments).stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        for sentence in sentences {
            assert!(help.contains(sentence), "{sentence}\n{help}");
        }
    }
}
