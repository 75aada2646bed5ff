//! Commands as a transcript: `>` is what a subscriber sends, `<` how it is understood, or the `error` notice it gets.

use secrecy::ExposeSecret;

use super::parse;
use crate::command::{Command, CommandKind};
use crate::name::Pattern;
use crate::notice::{After, Notice};
use crate::protocol::written;
use crate::schema::json::line_and_column;

const UNDERSTOOD: &str = r#"
> ping
< ping text
> {"type":"ping"}
< ping
> {"type":"ping","id":7}
< 7 ping
> {"id":"a\u0022b","type":"ping"}
< "a\"b" ping
> {"type":"ping","id":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}
< "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" ping
> {"type":"ping","id":-9223372036854775808}
< -9223372036854775808 ping
>  { "\u0074ype" : "ping" , "id" : 18446744073709551615 }
< 18446744073709551615 ping
> {"type":"auth","token":"s3cret"}
< auth s3cret
> {"type":"subscribe","id":1,"topics":["orders.eu","cats"]}
< 1 subscribe orders.eu live, cats live
> {"type":"subscribe","topics":["orders.*","a.**"],"after":"9f3c21aa-42"}
< subscribe orders.* 9f3c21aa-42, a.** 9f3c21aa-42
> {"type":"subscribe","topics":["cats"],"after":"earliest"}
< subscribe cats earliest
> {"type":"subscribe","topics":["cats"],"after":null}
< subscribe cats live
> {"type":"subscribe","topics":{"orders.eu":"9f3c21aa-42","cats":null,"dogs":"earliest"}}
< subscribe orders.eu 9f3c21aa-42, cats live, dogs earliest
> {"type":"unsubscribe","id":2,"topics":["cats","orders.*"]}
< 2 unsubscribe cats, orders.*
> {"topics":["cats","dogs"]}
< replace cats, dogs
> {"topics":[]}
< replace 
> {"type":"publish","id":3,"topic":"cats","data":{"n": 1.0,"n":2}}
< 3 publish cats 1:48 {"n": 1.0,"n":2}
> {"data":null,"topic":"orders.eu","type":"publish"}
< publish orders.eu 1:9 null
"#;

/// The detail of a `bad-request`, or any other problem as a whole.
const REFUSED: &str = r#"
> 
< malformed-json: line 1, column 1: the text ends where a value is expected
> pong
< malformed-json: line 1, column 1: a value is expected here
> ﻿{"type":"ping"}
< malformed-json: line 1, column 1: a byte order mark: send UTF-8 without one
> {"type":"ping"
< malformed-json: line 1, column 14: the text ends inside an object
> {"type":"ping",}
< malformed-json: line 1, column 16: a comma with nothing after it
> {"type":"ping"}{"type":"ping"}
< malformed-json: line 1, column 16: something follows the end of the value
> {"type":"publish","topic":"cats","data":{"a":01}}
< malformed-json: line 1, column 47: not a number as JSON writes them
> {"\ud800":1}
< malformed-json: line 1, column 9: a lone surrogate: `\ud800` to `\udfff` come in pairs
> ["ping"]
< bad-request: a command is a JSON object, for example `{"type":"ping"}`
> "ping"
< bad-request: a command is a JSON object, for example `{"type":"ping"}`
> null
< bad-request: a command is a JSON object, for example `{"type":"ping"}`
> {}
< bad-request: `type` is missing: use `auth`, `subscribe`, `unsubscribe`, `publish` or `ping`
> {"topics":["cats"],"id":1}
< 1 bad-request: without `type`, `topics` must be the only member: add `"type":"subscribe"`
> {"topcs":["cats"]}
< bad-request: `type` is missing: use `auth`, `subscribe`, `unsubscribe`, `publish` or `ping`
> {"topics":"cats"}
< bad-request: `topics` must be a list of topics or patterns
> {"type":1}
< bad-request: `type` must be `auth`, `subscribe`, `unsubscribe`, `publish` or `ping`
> {"type":"subscrib","id":1}
< 1 bad-request: unknown type `subscrib`, did you mean `subscribe`?
> {"type":"hello\n","id":1}
< 1 bad-request: unknown type `hello\n`: use `auth`, `subscribe`, `unsubscribe`, `publish` or `ping`
> {"type":"subscribe","topcs":["cats"],"id":"x"}
< "x" bad-request: unknown member `topcs` of `subscribe`, did you mean `topics`?
> {"type":"subscribe","topic":"cats"}
< bad-request: unknown member `topic` of `subscribe`, did you mean `topics`?
> {"type":"publish","topic":"cats","data":1,"user_id":2}
< bad-request: unknown member `user_id` of `publish`: it takes `id`, `topic` and `data`
> {"type":"ping","after":"earliest"}
< bad-request: unknown member `after` of `ping`: it takes `id`
> {"type":"ping","type":"ping","id":1}
< 1 duplicate-key: the key at `/type` appears twice: keep one of them
> {"type":"subscribe","topics":{"cats":null,"cats":null}}
< duplicate-key: the key at `/topics/cats` appears twice: keep one of them
> {"type":"subscribe","topics":{"a.*":"earliest","a.{y}":null}}
< bad-request: `a.*` and `a.{y}` in `topics` match the same topics: keep one of them
> {"type":"ping","id":1.5}
< bad-request: `id` must be an integer or a string of at most 64 bytes
> {"type":"ping","id":18446744073709551616}
< bad-request: `id` must be an integer or a string of at most 64 bytes
> {"type":"ping","id":[1]}
< bad-request: `id` must be an integer or a string of at most 64 bytes
> {"type":"ping","id":null}
< bad-request: `id` must be an integer or a string of at most 64 bytes
> {"type":"ping","id":"01234567890123456789012345678901234567890123456789012345678901234"}
< bad-request: `id` must be an integer or a string of at most 64 bytes
> {"type":"auth"}
< bad-request: `auth` needs `token`
> {"type":"auth","token":["s3cret"]}
< bad-request: `token` must be a string
> {"type":"subscribe","id":1}
< 1 bad-request: `subscribe` needs `topics`
> {"type":"subscribe","topics":"cats"}
< bad-request: `topics` must be a list of topics or patterns, or an object from each to its position
> {"type":"subscribe","topics":["cats",1]}
< bad-request: `topics` must be a list of topics or patterns, or an object from each to its position
> {"type":"subscribe","topics":{"cats":42}}
< bad-request: `topics` must be a list of topics or patterns, or an object from each to its position
> {"type":"subscribe","topics":["\ud800"]}
< bad-request: `topics`: a lone surrogate: `\ud800` to `\udfff` come in pairs
> {"type":"subscribe","topics":[]}
< bad-request: `topics` is empty: name at least one
> {"type":"subscribe","topics":{}}
< bad-request: `topics` is empty: name at least one
> {"type":"subscribe","topics":["a..b"]}
< bad-request: `a..b` in `topics`: a name or a segment of it is empty
> {"type":"subscribe","topics":["**.a"]}
< bad-request: `**.a` in `topics`: `**` is only allowed as the last segment
> {"type":"subscribe","topics":["a b"]}
< bad-request: `a b` in `topics`: ` ` is not allowed in a name
> {"type":"subscribe","topics":["cats"],"after":"yesterday"}
< bad-request: `yesterday` in `after`: not a position: write `<epoch>-<seq>` as in the `id` of a message, for example `9f3c21aa-42`, or `earliest`
> {"type":"subscribe","topics":["cats"],"after":42}
< bad-request: `after` must be a position, `earliest`, or null
> {"type":"subscribe","topics":{"cats":"now"}}
< bad-request: `now` in `topics`: not a position: write `<epoch>-<seq>` as in the `id` of a message, for example `9f3c21aa-42`, or `earliest`
> {"type":"subscribe","topics":{"cats":null},"after":"earliest"}
< bad-request: `after` is for a list of topics: in an object, give each topic its position
> {"type":"unsubscribe"}
< bad-request: `unsubscribe` needs `topics`
> {"type":"unsubscribe","topics":[]}
< bad-request: `topics` is empty: name at least one
> {"type":"unsubscribe","topics":{"cats":null}}
< bad-request: `topics` must be a list of topics or patterns
> {"type":"publish","data":1}
< bad-request: `publish` needs `topic`
> {"type":"publish","topic":"cats"}
< bad-request: `publish` needs `data`
> {"type":"publish","topic":1,"data":1}
< bad-request: `topic` must be the name of a topic
> {"type":"publish","topic":"orders.*","data":1}
< bad-request: `orders.*` in `topic`: `*` is not allowed in a name
"#;

/// Compares a whole transcript, so that a difference is shown in its context.
fn check(transcript: &str) {
    let mut lines = 0;
    let mut said = String::from("\n");
    for line in transcript.lines().filter_map(|line| line.strip_prefix("> ")) {
        said += &format!("> {line}\n< {}\n", answer(line));
        lines += 1;
    }
    assert!(lines > 10, "a transcript of {lines} commands");
    assert_eq!(said, transcript);
}

fn answer(text: &str) -> String {
    let with_id = |id: Option<serde_json::Value>| id.map(|id| format!("{id} ")).unwrap_or_default();
    match parse(text) {
        Ok(Command { id, kind }) => with_id(id) + &describe(text, &kind),
        Err(bad) => format!("{}{}: {}", with_id(bad.id), bad.refusal.slug(), bad.refusal),
    }
}

fn describe(text: &str, kind: &CommandKind) -> String {
    let all = |topics: &[Pattern]| topics.iter().map(Pattern::as_str).collect::<Vec<_>>().join(", ");
    match kind {
        CommandKind::Auth(token) => format!("auth {}", token.expose_secret()),
        CommandKind::Subscribe(topics) => {
            let places = topics.iter().map(|(topic, after)| match after {
                After::Live => format!("{topic} live"),
                After::Earliest => format!("{topic} earliest"),
                After::Position(position) => format!("{topic} {position}"),
                After::Foreign => format!("{topic} foreign"),
            });
            format!("subscribe {}", places.collect::<Vec<_>>().join(", "))
        }
        CommandKind::Unsubscribe(topics) => format!("unsubscribe {}", all(topics)),
        CommandKind::Replace(topics) => format!("replace {}", all(topics)),
        CommandKind::Publish { topic, body, at, .. } => {
            let (line, column) = line_and_column(text.as_bytes(), *at);
            format!("publish {topic} {line}:{column} {body}")
        }
        CommandKind::Ping => "ping".to_owned(),
        CommandKind::PingText => "ping text".to_owned(),
    }
}

#[test]
fn commands_that_are_understood() {
    check(UNDERSTOOD);
}

#[test]
fn commands_that_are_refused_word_for_word() {
    check(REFUSED);
}

/// A page where a user mistyped names of topics used to be closed at the tenth slip.
#[test]
fn what_is_no_command_counts_and_what_a_command_says_does_not() {
    for (text, malformed) in [
        ("subscribe", true),
        (r#"{"type":"subscrbe"}"#, true),
        (r#"{"type":"ping","topics":["cats"]}"#, true),
        (r#"{"type":"ping","id":1.5}"#, true),
        (r#"{"topics":["cats"],"id":1}"#, true),
        (r#"{"type":"ping","type":"ping"}"#, true),
        (r#"{"topics":{"cats":null,"cats":null}}"#, false),
        (r#"{"type":"subscribe","topics":["c*ts"]}"#, false),
        (r#"{"type":"subscribe","topics":["cats"],"after":"yesterday"}"#, false),
        (r#"{"type":"subscribe","topics":[]}"#, false),
        (r#"{"topics":["c*ts"]}"#, false),
        (r#"{"type":"publish","topic":"c*ts","data":1}"#, false),
    ] {
        assert_eq!(parse(text).expect_err(text).malformed, malformed, "{text}");
    }
}

#[test]
fn a_refusal_on_the_wire() {
    let bad = parse(r#"{"type":"subscrib","id":1}"#).expect_err("there is no such type");
    let notice = Notice::Error { id: bad.id, refusal: *bad.refusal };
    assert_eq!(
        str::from_utf8(&written::notice(&notice)).expect("it is UTF-8"),
        concat!(
            r#"{"type":"error","id":1,"problem":{"type":"urn:relay:problem:bad-request","#,
            r#""title":"The request is invalid","status":400,"#,
            r#""detail":"unknown type `subscrib`, did you mean `subscribe`?"}}"#
        )
    );
}

#[test]
fn what_somebody_sent_is_repeated_only_in_part() {
    let long = "x".repeat(60_000);
    for text in [
        format!(r#"{{"type":"{long}"}}"#),
        format!(r#"{{"type":"ping","{long}":1}}"#),
        format!(r#"{{"type":"subscribe","topics":["{long}"]}}"#),
        format!(r#"{{"type":"subscribe","topics":["a"],"after":"{long}"}}"#),
    ] {
        assert!(answer(&text).len() < 300, "{}", answer(&text));
    }
}

#[test]
fn neither_a_token_nor_a_payload_is_ever_formatted() {
    for text in [
        r#"{"type":"auth","token":"s3cret"}"#,
        r#"{"type":"auth","token":"s3cret","x":1}"#,
        r#"{"type":"auth","token":["s3cret"]}"#,
        r#"{"type":"publish","topic":"cats","data":"s3cret"}"#,
    ] {
        let formatted = format!("{:?}", parse(text));
        assert!(!formatted.contains("s3cret"), "{formatted}");
    }
}

#[test]
fn depth_costs_no_stack_and_no_tree() {
    let deep = "[".repeat(100_000);
    assert_eq!(answer(&deep), r#"bad-request: a command is a JSON object, for example `{"type":"ping"}`"#);
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    let id = format!(r#"{{"type":"ping","id":{open}{close}}}"#);
    assert_eq!(answer(&id), "bad-request: `id` must be an integer or a string of at most 64 bytes");
    let data = format!(r#"{{"type":"publish","topic":"cats","data":{open}{close}}}"#);
    assert_eq!(answer(&data).len(), "publish cats 1:41 ".len() + 200_000);
}
