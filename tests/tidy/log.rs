//! What the server logs is exactly what docs/operating.md lists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::source::{Source, sources};

/// The fields of each line, by its level and message.
type Lines = BTreeMap<(String, String), BTreeSet<String>>;

/// Regression: some lines were not listed: that a task had panicked, that lines were lost, that a drain took too long.
#[test]
fn the_lines_of_the_server_log_are_those_that_are_listed() {
    let page = fs::read_to_string("docs/operating.md").expect("the page");
    let section =
        page.split("\n## The server log\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the section");
    let mut listed = Lines::new();
    for row in section.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let message = cells[1].strip_prefix("``").and_then(|cell| cell.strip_suffix("``")).map(str::trim);
        let message = message.unwrap_or_else(|| cells[1].trim_matches('`'));
        let fields = cells[2].split('`').skip(1).step_by(2).map(str::to_owned).collect();
        listed.insert((cells[0].trim_start_matches("| ").to_owned(), message.to_owned()), fields);
    }
    let mut written = Lines::new();
    for source in sources("src") {
        for level in ["info", "warn", "error"] {
            let call = format!("{level}!(");
            for (at, _) in source.code.match_indices(&call) {
                let mut fields = arguments(&source, at + call.len());
                // A text continues in the next line after a backslash.
                let message = fields.pop().expect("a message").split("\\\n").map(str::trim_start).collect::<String>();
                let names = fields.iter().map(|field| field.split(" = ").next().unwrap_or_default());
                let names = names.map(|name| name.trim_start_matches(['%', '?']).to_owned());
                written.entry((level.to_owned(), message.trim_matches('"').to_owned())).or_default().extend(names);
            }
        }
    }
    assert!(written.len() > 30, "only {} lines", written.len());
    assert_eq!(missing(&listed, &written), [], "listed with fields with which nothing logs it");
    assert_eq!(missing(&written, &listed), [], "logged with fields with which it is not listed");
}

/// The lines that are not in `others`, or there with other fields.
fn missing<'a>(lines: &'a Lines, others: &Lines) -> Vec<(&'a (String, String), &'a BTreeSet<String>)> {
    lines.iter().filter(|(line, fields)| others.get(line) != Some(fields)).collect()
}

/// The arguments of the call whose parenthesis opens before `start`.
fn arguments(source: &Source, start: usize) -> Vec<&str> {
    let (mut depth, mut from, mut arguments) = (1, start, Vec::new());
    for (at, c) in source.code[start..].char_indices().map(|(at, c)| (start + at, c)) {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            arguments.push(source.text[from..at].trim());
            from = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    arguments
}
