use super::mask;
use crate::config::decode::decode;
use crate::config::files::Memory;
use crate::config::reading::Reading;
use crate::diagnostic::{any_error, render};
use crate::stopwatch::Stopwatch;
use crate::time::Time;

#[test]
fn no_secret_and_no_digest_survives_masking() {
    for (text, masked) in [
        ("secret = \"abc\" # x", "secret = \"***\" # *"),
        ("secret = 'a\"c'", "secret = '*\"*'"),
        ("secret: \"abc\"", "secret: \"***\""),
        ("sha256=\"é\\\"b\"\nversion = 1", "sha256=\"\u{b7}*\"*\"\nversion = 1"),
        ("a = { sha256 = \"ff\", user = \"u\" }", "a = { sha256 = \"**\", user = \"*\" }"),
        ("secret = abc def\nversion = 1", "secret = *******\nversion = 1"),
        ("secret = \"abc\nversion = 1", "secret = \"***\nversion = 1"),
        ("\"secret\" = \"\"\"\na\"b\n\"\"\"\nversion = 1", "\"secret\" = \"\"\"\n*\"*\n\"\"\"\nversion = 1"),
        ("secret = { env = \"X\" }", "secret = { env = \"*\" }"),
        ("secret = { plain = 1 }", "secret = *************"),
        ("[topics.secret]\nschema = \"a\"", "[topics.secret]\nschema = \"a\""),
        (
            "k = \"-----BEGIN A-----\nbc\n-----END A-----\"\nversion = 1",
            "k = \"*****************\n**\n***************\"\nversion = 1",
        ),
        ("k = '-----BEGIN A-----\nb'\nc = 1", "k = '*****************\n*'\n*****"),
    ] {
        assert_eq!(mask(text), masked, "{text}");
        assert_eq!(mask(text).len(), text.len());
    }
}

#[test]
fn of_a_token_is_shown_what_is_known_to_be_no_secret() {
    for (text, masked) in [
        ("secert = \"abc\"", "secert = \"***\""),
        ("secert = \"abc\" # d e", "secert = \"***\" # ***"),
        ("secert: 'abc'", "secert: '***'"),
        ("secert \"abc\"", "*******\"***\""),
        ("abc", "***"),
        ("secert = [\"abc\", 'd']", "secert = [\"***\"**'*'*"),
        ("secert = { x = \"abc\" }", "secert = { x = \"***\" }"),
        ("secert = 7, user = \"u\"", "secert = **********\"*\""),
        ("a.env = \"X\"\n'file' = \"/y\" # z", "a.env = \"X\"\n'file' = \"/y\" # *"),
        ("a.env = \"s3cr3t-x\", file = 'abc'", "a.env = \"********\", file = '***'"),
        ("env = \u{e9}a\u{e9}\nfile = X", "env = \u{b7}*\u{b7}\nfile = *"),
        ("env = \"aBC0\"\nfile = \"a.b\"", "env = \"****\"\nfile = \"a.b\""),
        ("user = \"u\" secert = \"abc\"", "user = \"u\" *********\"***\""),
        ("not_after = 2027-01-01T00:00:00Z # y", "not_after = 2027-01-01T00:00:00Z # *"),
        ("not_after = 2027-01-01 00:00:00Z", "not_after = 2027-01-01 00:00:00Z"),
        ("x = \"a\u{e9}\u{20ac}\u{1f408}\"", "x = \"*\u{b7}\u{2022}\u{1f784}\""),
        ("publish = [\n  \"a\", # b\n  'c.*',\n]\n", "publish = [\n  \"a\", # *\n  'c.*',\n]\n"),
        ("publish = [\"a\"\nsecert = \"abc\"", "publish = [\"a\"\nsecert = \"***\""),
        ("publish = [\"a\nsecert = \"abc\"", "publish = [\"a\nsecert = \"***\""),
        ("x = \"\"\"\na = b\n\"\"\"\ny = 1", "x = \"\"\"\n*****\n\"\"\"\ny = *"),
        ("# abc\n[topics.x]\nschema = \"a\" # b", "# ***\n[topics.x]\nschema = \"a\" # b"),
        ("[\"a\"]\nx = \"abc\"", "[\"*\"*\nx = \"***\""),
        ("secret =\n[\"abc\"]", "secret =\n[\"***\"*"),
        ("secret =\n[[\"abc\"]]", "secret =\n[[\"***\"**"),
        ("secret =\n[abc]", "secret =\n[****"),
        ("secret = # d\n\n[ abc ]", "secret = ***\n\n[ *****"),
        ("secret:\n[a.bc]\nx = \"d\"", "secret:\n[*****\nx = \"*\""),
        ("secret =\n[\"a.b\".\"c\"]", "secret =\n[\"***\"*\"*\"*"),
        ("secret =\nYWJj==", "secret =\n******"),
        ("secret =\nYWJj-_=", "secret =\n*******"),
        ("secret\nYWJj==", "******\n******"),
        ("sha256 =\nYWJj==\r\npublish = [\"a\"]", "sha256 =\n******\r\npublish = [\"a\"]"),
        ("# the secret:\nYWJj== # mine", "# ***********\n*************"),
        ("secret =\n[YWJj==]", "secret =\n[*******"),
        ("secret = [\nYWJj==,\n]", "secret = *\n*******\n]"),
        ("secret =\nYWJj==\"", "secret =\n******\""),
        ("secret =\nYWJj==;", "secret =\n*******"),
        ("secret =\nYWJj=;", "secret =\n******"),
        ("secret =\nYWJj== // d", "secret =\n***********"),
        ("secret =\nYWJj == x", "secret =\n*********"),
        ("secret =\nYWJj==\\", "secret =\n*******"),
        ("secret =\nYWJj==YWJj", "secret =\n**********"),
        ("publish =\nsecert = \"\"\nuser=", "publish =\nsecert = \"\"\nuser="),
        ("secret =\n[limits]\nbatch = 1", "secret =\n[limits]\nbatch = 1"),
        ("[\"limits\"]\nbatch = 1", "[\"limits\"]\nbatch = 1"),
    ] {
        for header in ["[tokens.shop]\n", "[ \"tokens\" . 'a b' ]\r\n", "[[tokens]]\n", "[Token.shop]\n", "[shop]\n"] {
            assert_eq!(mask(&format!("{header}{text}")), format!("{header}{masked}"), "{text}");
        }
    }
}

#[test]
fn a_token_is_known_wherever_it_stands() {
    for (text, masked) in [
        ("tokens.a.x = \"abc\"", "tokens.a.x = \"***\""),
        ("tokens = { a = { x = \"abc\", user = \"u\" } }", "tokens = { a = { x = \"***\", user = \"u\" } }"),
        (
            "[limits]\nbatch = 1 # a\ntokens: { a: { x: \"abc\" } }",
            "[limits]\nbatch = 1 # a\ntokens: { a: { x: \"***\" } }",
        ),
        ("tokens.a.\nx = \"abc\"", "*********\nx = \"***\""),
        // TOML knows no such line ends, and the text that cannot be read is shown.
        ("[tokens.a]\rx = \"abc\"", "[tokens.a]\rx = \"***\""),
        ("version = 1\r[tokens.a]\rabc\r\n[limits]\rbatch = 1", "version = 1\r[tokens.a]\r***\r\n[limits]\rbatch = 1"),
        ("[tokens.a] # abc\nx = 1", "[tokens.a] # ***\nx = *"),
        ("[tokens.a] x = \"abc\"", "[tokens.a] ****\"***\""),
        ("[tokens.a\nx = \"abc\"", "[tokens.a\nx = \"***\""),
        (
            "[topics.a]\nexamples = [\n[1, 2],\n]\ndescription = \"abc\"",
            "[topics.a]\nexamples = [\n[1, 2],\n]\ndescription = \"abc\"",
        ),
        // The byte order mark that an editor writes is not part of the first line.
        ("\u{feff}[tokens.a]\nsecert = \"abc\"", "\u{feff}[tokens.a]\nsecert = \"***\""),
        ("\u{feff}tokens.a.x = \"abc\"", "\u{feff}tokens.a.x = \"***\""),
        ("version = 1\n[log]\nlevel = \"abc\" # d", "version = 1\n[log]\nlevel = \"abc\" # d"),
    ] {
        assert_eq!(mask(text), masked, "{text}");
    }
}

#[test]
fn elsewhere_the_values_of_unknown_keys_are_hidden_and_nothing_else() {
    for (text, masked) in [
        ("[server]\npassword = \"abc\" # d", "[server]\npassword = \"***\" # *"),
        ("[server]\nlisten = \"a\" # b", "[server]\nlisten = \"a\" # b"),
        // A key is known only where it belongs.
        ("[server]\nkey = \"abc\"", "[server]\nkey = \"***\""),
        ("[server.tls]\nkey = \"abc\"", "[server.tls]\nkey = \"abc\""),
        ("server.tls.key = \"abc\"\nkey = \"abc\"", "server.tls.key = \"abc\"\nkey = \"***\""),
        ("[server]\ntls = { cert = \"c\", pass = \"abc\" }", "[server]\ntls = { cert = \"c\", pass = \"***\" }"),
        ("[server]\ntls.pass = \"abc\"\nadmin = \"\"", "[server]\ntls.pass = \"***\"\nadmin = \"\""),
        ("[server]\nlisten = { pass = \"abc\" }", "[server]\nlisten = { pass = \"***\" }"),
        ("[server.auth]\npass = \"abc\"", "[server.auth]\npass = \"***\""),
        // Without its quotes, the name of a topic looks like tables that do not exist.
        ("[topics.a.b]\nschema = \"any\"\npass = \"abc\"", "[topics.a.b]\nschema = \"any\"\npass = \"***\""),
        ("[topics]\na = { schema = \"any\", k = 5 }", "[topics]\na = { schema = \"any\", k = * }"),
        ("[topics]\na = { k = 5 }\nb.schema = \"any\"", "[topics]\na = { k = * }\nb.schema = \"any\""),
        ("[topics.a.history]\nage = \"x\"\nk = \"abc\"", "[topics.a.history]\nage = \"x\"\nk = \"***\""),
        // Payloads are shown, and so is what follows them.
        (
            "[topics.a]\nexamples = [{ valid = { k = \"v\" } }, { valid.a = 1, k = \"abc\" }]\nk = \"abc\"",
            "[topics.a]\nexamples = [{ valid = { k = \"v\" } }, { valid.a = 1, k = \"***\" }]\nk = \"***\"",
        ),
        ("[server]\nkeys = [\"abc\", 'd']\nadmin = \"\"", "[server]\nkeys = [\"***\", '*']\nadmin = \"\""),
        ("[server]\nkeys = [\n\"abc\",\n'd'\nadmin = \"\"", "[server]\nkeys = [\n\"***\",\n'*'\nadmin = \"\""),
        ("[server]\nkeys =\n[\"abc\"]\n[log]\nlevel = 1", "[server]\nkeys =\n[\"***\"]\n[log]\nlevel = 1"),
        ("[server]\nkey =\nYWJj==\nadmin = \"\"", "[server]\nkey =\n******\nadmin = \"\""),
        ("[server]\nk = { a = { b = \"abc\" } }\nadmin = \"\"", "[server]\nk = { a = { b = \"***\" } }\nadmin = \"\""),
        ("[server]\nk = \"\"\"\nabc\n\"\"\"\nadmin = 1", "[server]\nk = \"\"\"\n***\n\"\"\"\nadmin = 1"),
        ("[topics.a]\ndescription = \"\"\"\nk = v\n\"\"\"", "[topics.a]\ndescription = \"\"\"\nk = v\n\"\"\""),
        (
            "[topics.a]\nexamples = [{ valid = { token = 1 } }]\nk = 5",
            "[topics.a]\nexamples = [{ valid = { token = 1 } }]\nk = *",
        ),
        // What does not parse.
        ("[server]\nk = 1\n[topics.a.{b}]\nschema = \"any\"", "[server]\nk = *\n[topics.a.{b}]\nschema = \"any\""),
        ("[topics.a]\nk = 1\n[anonymous\npublish = [\"b\"]", "[topics.a]\nk = *\n[anonymous\npublish = [\"b\"]"),
        ("[server]\nk = a#b,c\nadmin = b#c", "[server]\nk = *****\nadmin = b#c"),
        ("[server]\n  listen \"a\"\n  pass \"abc\"", "[server]\n  listen \"a\"\n  pass \"***\""),
        ("[server]\nlisten = 127.0.0.1:80\npass: abc", "[server]\nlisten = 127.0.0.1:80\npass: ***"),
        ("[server]\nlisten = \"a\nk = \"abc\"", "[server]\nlisten = \"a\nk = \"***\""),
        ("[server]\nk = \"a\"b\"\nadmin = 1", "[server]\nk = \"*\"*\"\nadmin = 1"),
        (
            "{\"server\": {\"k\": \"abc\", \"tls\": {\"key\": \"k\"}}",
            "{\"server\": {\"k\": \"***\", \"tls\": {\"key\": \"k\"}}",
        ),
        ("{\"tokens\": {\"a\": {\"k\": \"abc\"}}}", "{\"tokens\": {\"a\": {\"k\": \"***\"}}}"),
        ("[server]\npublic_url = \"https://u:p@h/\"", "[server]\npublic_url = \"https://***@h/\""),
        (
            "[server]\nallowed_origins = [\"https://u@h\", \"a\"]",
            "[server]\nallowed_origins = [\"https://*@h\", \"a\"]",
        ),
    ] {
        assert_eq!(mask(text), masked, "{text}");
    }
}

/// Regression: a passphrase for the key, where Relay takes none, was shown in the log and by `relay check`.
#[test]
fn no_diagnostic_shows_what_an_invented_key_or_the_user_of_a_url_is_for() {
    let headers =
        ["[server]", "[server.tls]", "[log]", "[topics.a]", "[topics.a.history]", "[anonymous]", "[limits]", "[store]"];
    let words = ["passphrase", "password", "key_password", "api_key", "bearer", "token", "key", "env"];
    let values = [
        "\"hunter2\"",
        "'hunter2'",
        "[\"hunter2\"]",
        "{ x = \"hunter2\" }",
        "hunter2",
        "\"\"\"hunter2\"\"\"",
        "\n[\"hunter2\"]",
        "\n[hunter2]",
        "\nhunter2==",
    ];
    let pairs = headers.iter().flat_map(|header| words.iter().map(move |word| (header, word)));
    let mut texts: Vec<String> = pairs
        .filter(|pair| *pair != (&"[server.tls]", &"key"))
        .flat_map(|(header, word)| values.map(|value| format!("{header}\n{word} = {value}\n")))
        .collect();
    texts.extend(values.map(|value| format!("[server]\ntls = {{ passphrase = {value} }}\n")));
    // The line does not parse, or its quotes are not those that were meant.
    let unread = [
        "//password = \"hunter2\"",
        ";password=\"hunter2\"",
        "$PASSWORD = \"hunter2\"",
        "(password) = \"hunter2\"",
        "`password` = \"hunter2\"",
        "\u{201c}password\u{201d} = \u{201c}hunter2\u{201d}",
        "\u{a0}password = \"hunter2\"",
        "listen = \"a\";password = \"hunter2\"",
        "tls = { cert = \"c, passphrase = \"hunter2\" }",
        "tls = { cert = c\", passphrase = \"hunter2\" }",
        "\"password = \"hunter2\"",
    ];
    texts.extend(unread.map(|line| format!("[server]\n{line}\n")));
    // A string that seems to go on hides no table of a token from the masking.
    for string in
        ["\"\"Cats\"\"\"", "Cats\"\"\"", "\"\"\"\nSend {\\\"\"\"} to quote\n\"\"\"", "\"\"\"x\"\"\"\"", "\"Cats"]
    {
        for end in ["\n", "\r"] {
            texts.push(format!(
                "[topics.a]{end}description = {string}{end}[tokens.x]{end}secert = \"hunter2\"{end}\
                 [topics.b]{end}description = \"\"\"Dogs\"\"\"{end}"
            ));
        }
    }
    texts.push("[topics]\na = { description = \"\"\"x\"\"\"\", pass = \"hunter2\" }\n".to_owned());
    for (key, list) in [("public_url", false), ("listen", false), ("allowed_origins", true), ("allowed_hosts", true)] {
        let url = "\"https://user:hunter2@relay.example\"";
        texts.push(format!("[server]\n{key} = {}\n", if list { format!("[{url}]") } else { url.to_owned() }));
    }
    for text in texts {
        let decoded = decode(&Reading::new(&Memory::new(&format!("version = 1\n{text}"))), Time(0));
        assert!(any_error(&decoded.diagnostics), "{text}");
        let told = render::human(&decoded.diagnostics, &decoded.sources, false)
            + &render::json(&decoded.diagnostics, &decoded.sources).to_string();
        assert!(!told.contains("hunter2"), "{text}\n{told}");
    }
}

/// Regression: what the line masked, the sentence above it showed, because a value on a line of its own had become a
/// key.
#[test]
fn no_sentence_tells_what_its_line_does_not_show() {
    let lists = ["[\"hunter2\"]", "[[\"hunter2\"]]", "[hunter2]", "[ hunter2 ]", "[x.hunter2]", "[\"hunter2\".\"x\"]"];
    let mut texts = Vec::new();
    for key in ["secret", "secert", "sha256"] {
        texts.extend(lists.iter().map(|list| format!("{key} =\n{list}\npublish = 3\n")));
    }
    texts.extend(lists[..2].iter().map(|list| format!("{list}\n{list}\n")));
    // Base64, with its padding.
    for padded in ["hunter2=", "hunter2==", "[hunter2==]", "hunter2==,", "hunter2==\"", "hunter2== # x"] {
        texts.extend(["secret =", "secret", "sha256 =", "secert =", "# it:"].map(|key| format!("{key}\n{padded}\n")));
    }
    texts.extend(lists.iter().map(|list| format!("secret =\n{list}\nsecret =\n{list}\n")));
    texts.extend(["secret = [\nhunter2==\n]\n", "publish = [\nhunter2==\n"].map(str::to_owned));
    for text in
        ["secret = hunter2", "secret : \"hunter2\"", "secert \"hunter2\"", "hunter2", "secert = [\"hunter2\", 'd']"]
    {
        texts.push(text.to_owned());
    }
    for header in ["[tokens.s]\n", "[tokens]\ns.", "[Token.s]\n", "[s]\n"] {
        for text in &texts {
            let text = format!("version = 1\n[topics.a]\nschema = \"any\"\n{header}{text}");
            let decoded = decode(&Reading::new(&Memory::new(&text)), Time(0));
            assert!(any_error(&decoded.diagnostics), "{text}");
            let told = [
                render::human(&decoded.diagnostics, &decoded.sources, false),
                render::json(&decoded.diagnostics, &decoded.sources).to_string(),
                render::github(&decoded.diagnostics, &decoded.sources),
            ];
            for told in told {
                assert!(!told.contains("hunter2"), "{text}\n{told}");
            }
        }
    }
}

/// Regression: each hid, or looked at, everything after it once more.
#[test]
fn the_time_grows_with_the_text() {
    for part in ["-----BEGIN ", "a. ", "\"a\". ", "{ a = ", "''' "] {
        let took = |parts: usize| {
            let text = format!("version = 1 {}", part.repeat(parts));
            let best = (0..3).map(|_| {
                let began = Stopwatch::start();
                assert!(!mask(&text).contains("BEGIN"));
                began.elapsed()
            });
            best.min().unwrap_or_default()
        };
        let (few, many) = (took(1_000), took(16_000));
        assert!(many < few * 64, "{part}: {few:?} for 1,000, {many:?} for 16,000");
    }
}
