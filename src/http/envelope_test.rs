use std::time::Duration;

use bytes::Bytes;

use super::{Envelopes, Lines, Pairs, items, read};
use crate::config::model::Limits;
use crate::http::body::Media;
use crate::problem::Refusal;
use crate::stopwatch::Stopwatch;

fn envelopes(media: Media, body: &str) -> Result<Envelopes, Refusal> {
    read(&Bytes::copy_from_slice(body.as_bytes()), media, &Limits { batch: 3, ..Limits::default() })
}

fn refusal(media: Media, body: &str) -> Refusal {
    envelopes(media, body).err().unwrap_or_else(|| panic!("accepted: {body}"))
}

#[test]
fn an_envelope_names_its_topic_and_perhaps_a_user_and_a_key() {
    let body = r#" {"user_id": 7, "data": {"a" : 1e2}, "topic": "orders.eu", "key": "k-1"} "#;
    let one = envelopes(Media::Json, body).expect("an envelope");
    assert!(one.single);
    let publication = &one.publications[0];
    assert_eq!(publication.topic.as_str(), "orders.eu");
    assert_eq!(publication.user.as_ref().map(|user| user.as_str()), Some("7"));
    assert_eq!(&publication.body[..], br#"{"a" : 1e2}"#, "as it was written");
    assert_eq!(publication.key.as_deref(), Some("k-1"));

    for (body, user) in [
        (r#"{"topic":"a","message":null}"#, None),
        (r#"{"topic":"a","data":1,"user_id":"7"}"#, Some("7")),
        (r#"{"topic":"a","data":1,"user_id":-7}"#, Some("-7")),
        (r#"{"topic":"a","data":1,"user_id":18446744073709551615}"#, Some("18446744073709551615")),
        (r#"{"\u0074opic":"\u0061","data":1}"#, None),
    ] {
        let one = envelopes(Media::Json, body).unwrap_or_else(|refusal| panic!("{body}: {refusal}"));
        assert_eq!(one.publications[0].user.as_ref().map(|user| user.as_str()), user, "{body}");
    }
}

#[test]
fn lists_and_lines_keep_their_order() {
    let list = "[{\"topic\":\"a\",\"data\":1},\n {\"topic\":\"b\",\"data\":2}]";
    let lines = "{\"topic\":\"a\",\"data\":1}\r\n\n{\"topic\":\"b\",\"data\":2}";
    for (media, body) in [(Media::Json, list), (Media::Lines, lines)] {
        let many = envelopes(media, body).expect("envelopes");
        let topics: Vec<_> = many.publications.iter().map(|publication| publication.topic.as_str()).collect();
        assert_eq!((topics, many.single), (vec!["a", "b"], false));
    }
}

#[test]
fn what_is_wrong_with_a_payload_is_placed_in_the_body() {
    let wrong = |line, column| Refusal::MalformedJson { line, column, detail: "x".into() };
    let body = "[{\"topic\":\"a\",\"data\":1},\n  {\"topic\":\"a\",\"data\":  {\n}}]";
    let many = envelopes(Media::Json, body).expect("envelopes");
    assert_eq!(many.places.place(Refusal::Batch(vec![(1, wrong(1, 2))])), Refusal::Batch(vec![(1, wrong(2, 26))]));
    assert_eq!(many.places.place(Refusal::Batch(vec![(1, wrong(2, 1))])), Refusal::Batch(vec![(1, wrong(3, 1))]));
    assert_eq!(many.places.place(Refusal::TokenExpired), Refusal::TokenExpired);

    // A repeated member of the payload is told apart from one of the envelope.
    let twice = |pointer: &str| Refusal::DuplicateKey { pointer: pointer.into() };
    assert_eq!(
        many.places.place(Refusal::Batch(vec![(0, twice("/key"))])),
        Refusal::Batch(vec![(0, twice("/data/key"))])
    );
    for (body, pointer) in [
        ("{\"topic\":\"a\",\"data\" : {}}", "/data/a/0"),
        ("{\"message\"\n:\t{},\"topic\":\"a\"}", "/message/a/0"),
        ("{\"topic\":\"a\",\"mess\\u0061ge\":{}}", "/message/a/0"),
    ] {
        let one = envelopes(Media::Json, body).expect("an envelope");
        assert_eq!(one.places.place(twice("/a/0")), twice(pointer), "{body}");
    }
}

#[test]
fn each_thing_that_can_be_wrong_is_said() {
    let shape = "an envelope has `topic`, `data` (or `message`), and perhaps `user_id` and `key`";
    for (body, expected) in [
        ("", "line 1, column 1: the text ends where a value is expected"),
        ("nonsense", "line 1, column 2: only `true`, `false` and `null` are written without quotes"),
        ("{\"topic\":\n \"a\",}", "line 2, column 6: a comma with nothing after it"),
        (
            r#"{"topic":"a","data":tru}"#,
            "line 1, column 24: only `true`, `false` and `null` are written without quotes",
        ),
        (r#"{"topic":"a","data":1} x"#, "line 1, column 24: something follows the end of the value"),
        ("[1, ", "line 1, column 4: the text ends where a value is expected"),
        ("42", &format!("line 1, column 1: expected an object: {shape}")),
        ("{}", &format!("line 1, column 1: `data` is missing: {shape}")),
        (r#" {"data":1}"#, &format!("line 1, column 2: `topic` is missing: {shape}")),
        (
            r#"{"topic":"a","data":1,"message":2}"#,
            "line 1, column 33: `message` is another name for `data`: send one of them",
        ),
        ("{\"topic\":\"a\",\n \"dta\":1}", "line 2, column 2: unknown member `dta`: did you mean `data`?"),
        (r#"{"topic":"a","data":1,"retention":1}"#, &format!("line 1, column 23: unknown member `retention`: {shape}")),
        (r#"{"topic":"a","data":1,"data":2}"#, "the key at `/data` appears twice: keep one of them"),
        (r#"{"topic":1,"data":1}"#, "line 1, column 10: `topic` must be a string, the name of a topic"),
        (r#"{"topic":"a b","data":1}"#, "line 1, column 10: `topic` is not a topic name: ` ` is not allowed in a name"),
        (r#"{"topic":"a","data":1,"user_id":[]}"#, "line 1, column 33: `user_id` must be a string or an integer"),
        (
            r#"{"topic":"a","data":1,"user_id":null}"#,
            "line 1, column 33: `user_id` is null: leave it out to reach everybody",
        ),
        (
            r#"{"topic":"a","data":1,"user_id":1.5}"#,
            "line 1, column 33: `user_id` is not a user's id: only 64-bit integers may be written as numbers: send \
             any other id as a string",
        ),
        (
            r#"{"topic":"a","data":1,"user_id":100000000000000000000000000000}"#,
            "line 1, column 33: `user_id` is not a user's id: only 64-bit integers may be written as numbers: send \
             any other id as a string",
        ),
        (r#"{"topic":"a","data":1,"user_id":""}"#, "line 1, column 33: `user_id` is not a user's id: it is empty"),
        (r#"{"topic":"a","data":1,"key":7}"#, "line 1, column 29: `key` must be a string, the idempotency key"),
        (r#"{"topic":"a","data":1,"key":""}"#, "line 1, column 29: the idempotency key is not usable: it is empty"),
        ("[]", "nothing to publish: the list is empty"),
        ("[1,2,3,4]", "the list is longer than `limits.batch` allows (3)"),
    ] {
        assert_eq!(refusal(Media::Json, body).to_string(), expected, "{body}");
    }
}

/// All items used to be collected and then counted: 64 MiB of `[1,1,1,…]` took 512 MiB before it was refused.
#[test]
fn no_more_is_gathered_than_shows_that_there_is_too_much() {
    for (media, text) in [
        (Media::Json, format!("[{}1]", "1,".repeat(1_000))),
        (Media::Lines, "1\n\n".repeat(1_000)),
        // What follows it does not matter.
        (Media::Json, "[1,2,3,4,nonsense".to_owned()),
    ] {
        let body = Bytes::from(text.clone());
        let text = str::from_utf8(&body).expect("text");
        assert_eq!(items(&Lines::of(&body), media, text, 3).expect("a list").len(), 4, "{media:?}");
        assert_eq!(refusal(media, text).to_string(), "the list is longer than `limits.batch` allows (3)");
    }
    // As many as are allowed are read to the end.
    assert_eq!(
        refusal(Media::Json, "[1,2,3 nonsense").to_string(),
        "line 1, column 8: `,` or `]` is expected after an item"
    );
    assert_eq!(
        refusal(Media::Json, "[1,2,3] nonsense").to_string(),
        "line 1, column 9: something follows the end of the value"
    );
}

/// As with the items: 64 MiB of `{"":1,"":1,…}` used to take more than 400 MiB.
#[test]
fn no_more_members_are_gathered_than_show_what_is_wrong() {
    let text = format!("{{{}\"topic\":1}}", "\"topic\":\"a\",".repeat(1_000));
    let Pairs(members) = serde_json::from_str(&text).expect("members");
    assert_eq!(members.len(), 6);
    assert_eq!(refusal(Media::Json, &text).to_string(), "the key at `/topic` appears twice: keep one of them");
    let text = r#"{"topic":"a","data":1,"message":1,"user_id":1,"key":"k","dada":1,"x":1}"#;
    assert_eq!(
        refusal(Media::Json, text).to_string(),
        "line 1, column 57: unknown member `dada`: did you mean `data`?"
    );
}

#[test]
fn bad_items_are_told_by_their_index() {
    let body = "{\"topic\":\"a\",\"data\":1}\n{\"topic\":\"a\",\"data\":}\n{\"topic\":\"a\"}";
    let Refusal::Batch(items) = refusal(Media::Lines, body) else { panic!("not by index") };
    let said: Vec<_> = items.iter().map(|(index, refusal)| format!("{index}: {refusal}")).collect();
    assert_eq!(said[0], "1: line 2, column 21: a value is expected here");
    assert!(said[1].starts_with("2: line 3, column 1: `data` is missing"), "{said:?}");
    assert_eq!(said.len(), 2);
}

/// Places used to be counted from the beginning of the body for each bad item: 10,000 of them in 13 MB took 34 s.
#[test]
fn a_list_in_which_everything_is_wrong_is_counted_through_once() {
    let item = format!("{{\"topic\":\"a\",\"dota\":\"{}\"}}", "x".repeat(200));
    let limits = Limits { batch: 10_000, ..Limits::default() };
    for (media, body) in [
        (Media::Lines, vec![item.as_str(); 10_000].join("\n")),
        (Media::Json, format!("[{}]", vec![item.as_str(); 10_000].join(",\n"))),
    ] {
        let start = Stopwatch::start();
        let Err(Refusal::Batch(items)) = read(&body.into(), media, &limits) else { panic!("not by index") };
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        let said = items[9_999].1.to_string();
        assert_eq!(said, "line 10000, column 14: unknown member `dota`: did you mean `data`?", "{media:?}");
    }
    let item = format!("{{\"topic\":\"a\",\"data\":\"{}\"}}", "x".repeat(200));
    let many = read(&vec![item.as_str(); 10_000].join("\n").into(), Media::Lines, &limits).expect("envelopes");
    let wrong = Refusal::MalformedJson { line: 1, column: 1, detail: "x".into() };
    let start = Stopwatch::start();
    let Refusal::Batch(items) = many.places.place(Refusal::Batch((0..10_000).map(|n| (n, wrong.clone())).collect()))
    else {
        panic!("no batch")
    };
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(items[9_999].1, Refusal::MalformedJson { line: 10_000, column: 21, detail: "x".into() });
}

/// Asking for a place before the last one must work too.
#[test]
fn places_may_be_asked_for_out_of_order() {
    let lines = Lines::of(&Bytes::from_static(b"ab\n\ncd\ne"));
    for at in [8, 5, 5, 0, 3, 2, 4, 7, 1] {
        let before = &b"ab\n\ncd\ne"[..at];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
        assert_eq!(lines.place(at), (line, column), "{at}");
    }
}

/// White space of Unicode only used to be skipped as a blank line, although it is refused everywhere else.
#[test]
fn only_what_is_white_space_to_json_is_a_blank_line() {
    let good = "{\"topic\":\"a\",\"data\":1}";
    assert!(envelopes(Media::Lines, &format!(" \t\r\n{good}\n\r\n")).is_ok());
    for blank in ["\u{a0}", "\u{c}", "\u{b}", "\u{2028}"] {
        let refusal = refusal(Media::Lines, &format!("{good}\n{blank}\n"));
        let Refusal::Batch(items) = refusal else { panic!("{blank:?} is skipped") };
        assert_eq!(items[0].1.to_string(), "line 2, column 1: a value is expected here", "{blank:?}");
    }
}

/// The mark is invisible: "a value is expected here" had people look for something missing.
#[test]
fn a_byte_order_mark_is_named() {
    let good = "{\"topic\":\"a\",\"data\":1}";
    let said = "a byte order mark: send UTF-8 without one";
    for body in [format!("\u{feff}{good}"), format!("\u{feff}[{good}]")] {
        assert_eq!(refusal(Media::Json, &body).to_string(), format!("line 1, column 1: {said}"));
    }
    let Refusal::Batch(items) = refusal(Media::Lines, &format!("{good}\n\u{feff}{good}")) else {
        panic!("not by index")
    };
    assert_eq!((items[0].0, items[0].1.to_string()), (1, format!("line 2, column 1: {said}")));
}

#[test]
fn a_body_that_is_not_utf_8_is_placed() {
    let body = Bytes::from_static(b"{\"topic\":\n\"\xff\"}");
    let refusal = read(&body, Media::Json, &Limits::default()).err().expect("refused");
    assert_eq!(refusal.to_string(), "line 2, column 2: not UTF-8");
}

#[test]
fn a_header_key_belongs_to_one_envelope() {
    let mut one = envelopes(Media::Json, r#"{"topic":"a","data":1}"#).expect("an envelope");
    one.take_key("k".into()).expect("taken");
    assert_eq!(one.publications[0].key.as_deref(), Some("k"));
    let refusal = one.take_key("other".into()).expect_err("another one");
    assert_eq!(refusal.to_string(), "`Idempotency-Key` and the envelope's `key` are not the same: send one of them");
    let mut many = envelopes(Media::Json, r#"[{"topic":"a","data":1}]"#).expect("envelopes");
    let refusal = many.take_key("k".into()).expect_err("a list");
    assert_eq!(
        refusal.to_string(),
        "one `Idempotency-Key` cannot cover several messages: put a `key` in each envelope"
    );
}
