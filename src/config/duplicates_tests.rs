use std::time::Duration;

use crate::config::syntax;
use crate::diagnostic::{Fact, FileFact};
use crate::stopwatch::Stopwatch;

/// The line of each duplicate, with the line of its first appearance; lines count from 1.
fn twice(text: &str) -> Vec<(usize, Option<usize>)> {
    let (_, diagnostics) = syntax::parse(text, 0);
    let line = |at: usize| 1 + text[..at].matches('\n').count();
    let lines = diagnostics.iter().map(|d| {
        let place = d.place.as_ref().expect("a place");
        (line(place.bytes.start), d.related.first().map(|first| line(first.span.bytes.start)))
    });
    lines.collect()
}

/// Regression: the first header was searched for as a line of text. A description could match, and a header with a
/// comment or an indent did not.
#[test]
fn a_header_is_found_where_it_is_one() {
    for (text, expected) in [
        ("[topics.d]\na = 1\n[topics.d]\n", (3, Some(1))),
        ("[topics.c]\nd = \"\"\"\n[topics.d]\n\"\"\"\n[topics.d]\n[topics.d]\n", (6, Some(5))),
        ("[topics.c]\nd = [\n[\"a\"]\n]\n[\"a\"]\n[\"a\"]\n", (6, Some(5))),
        ("[topics.c]   # one\n[topics.c]\n", (2, Some(1))),
        ("[topics.c]\n[topics.c] # two\n", (2, Some(1))),
        ("[topics.\"a # b\"]\n[topics.\"a # c\"]\n[topics.\"a # c\"]\n", (3, Some(2))),
        ("[topics.\"c\"]\r\n  [topics . \"c\" ]\r\n", (2, Some(1))),
        ("[topics.c]\n[topics.\"c\"]\n", (2, Some(1))),
        ("[topics.\"a\\\"b\"]\n['topics'.\"a\\\"b\"]\n", (2, Some(1))),
        ("a = 1\n[topics.c]\na = 1\nb = 2\na = 3\n", (5, Some(3))),
        ("a = { b = 1, b = 2 }\n", (1, Some(1))),
        ("[topics]\nc = 1\n[topics.c]\n", (3, Some(2))),
        ("[topics]\nc.d = 1\nc = 2\n", (3, Some(2))),
        ("[[a]]\nb = 1\n[[a]]\nb = 2\nb = 3\n", (5, Some(4))),
        ("a = [{ b = 1 }, {\nb = 2,\nb = 3 }]\n", (3, Some(2))),
    ] {
        assert_eq!(twice(text), [expected], "{text}");
    }
}

/// Regression: a name that appears once was reported as appearing twice; its table exists, but in another form.
#[test]
fn a_table_in_another_form_is_no_key_that_stands_twice() {
    for (text, line) in [("[[a.b]]\n[a]\nb.c = 1\n", 3), ("[topics.a.b]\n[[topics.a]]\n", 2)] {
        assert_eq!(twice(text), [(line, None)], "{text}");
        let (_, diagnostics) = syntax::parse(text, 0);
        assert!(matches!(&diagnostics[0].fact, Fact::File(FileFact::Syntax { .. })), "{text}");
    }
}

/// Regression: a comment was read as a value without an end, so everything after it was skipped.
#[test]
fn a_comment_on_a_header_hides_nothing() {
    for comment in ["# limit = the user's", "# see x = [ 1", "# = \"\"\""] {
        let text = format!("[topics.a]\n[topics.a] {comment}\n[topics.c]\n[topics.c]\nd = 1\n[e]\nf = 1\nf = 2\n");
        assert_eq!(twice(&text), [(2, Some(1)), (4, Some(3)), (8, Some(7))], "{comment}");
    }
}

/// The second value of a key is in no tree. Regression: what looked like a header in it was counted as one.
#[test]
fn a_header_in_a_value_that_does_not_count_is_none() {
    for value in [
        "\"\"\"\n[\"b\"]\n\"\"\"",
        "'''\n[\"b\"]\n'''",
        "\"\"\"\n\\\"\"\"\n[\"b\"]\n\"\"\"",
        "[ # ]\n[\"b\"]\n]",
        "[\n\"]\",\n[\"b\"]\n]",
        "{ x = '''\n[\"b\"]\n''' }",
    ] {
        let text = format!("[topics.c]\nd = 1\nd = {value}\n[\"b\"]\n[\"b\"]\n");
        let last = text.lines().count();
        assert_eq!(twice(&text), [(3, Some(2)), (last, Some(last - 1))], "{text}");
    }
}

/// Regression: each key searched the text for the next header, so 20,000 keys took more than a minute.
#[test]
fn thousands_that_stand_twice_are_told_in_one_walk() {
    let took = |keys: usize| {
        let text: String = (0..keys).map(|n| format!("k{n} = 1\nk{n} = 2\n")).collect();
        let best = (0..3).map(|_| {
            let began = Stopwatch::start();
            assert_eq!(twice_count(&text), keys);
            began.elapsed()
        });
        best.min().unwrap_or(Duration::MAX)
    };
    let (few, many) = (took(500), took(8_000));
    assert!(many < few * 64, "{few:?} for 500, {many:?} for 8,000");
}

fn twice_count(text: &str) -> usize {
    syntax::parse(text, 0).1.len()
}
