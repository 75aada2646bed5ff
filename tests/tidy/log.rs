//! What the server logs is exactly what docs/operating.md lists.

use std::collections::BTreeSet;
use std::fs;

use crate::source::sources;

/// Regression: some lines were not listed: that a task had panicked, that lines were lost, that a drain took too long.
#[test]
fn the_lines_of_the_server_log_are_those_that_are_listed() {
    let page = fs::read_to_string("docs/operating.md").expect("the page");
    let section =
        page.split("\n## The server log\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the section");
    let rows = section.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    let products = sources("src").into_iter().filter(|source| !source.is_test);
    let code: String = products
        .map(|source| source.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned())
        .collect();
    // A text continues in the next line after a backslash.
    let code: String = code.split("\\\n").map(str::trim_start).collect();
    let mut listed = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").collect();
        let message = cells[1].strip_prefix("``").and_then(|cell| cell.strip_suffix("``")).map(str::trim);
        listed.insert((cells[0].trim_start_matches("| "), message.unwrap_or_else(|| cells[1].trim_matches('`'))));
        for field in cells[2].split('`').skip(1).step_by(2) {
            assert!(code.contains(field), "{row}: `{field}`");
        }
    }
    let mut written = BTreeSet::new();
    for level in ["info", "warn", "error"] {
        let call = format!("{level}!(");
        written.extend(code.split(&*call).skip(1).map(|call| (level, last_text(call))));
    }
    assert!(written.len() > 30, "only {} lines", written.len());
    assert_eq!(listed.difference(&written).collect::<Vec<_>>(), Vec::<&(_, _)>::new(), "listed, and nothing logs it");
    assert_eq!(written.difference(&listed).collect::<Vec<_>>(), Vec::<&(_, _)>::new(), "logged, and not listed");
}

/// The last string literal before the parenthesis that closes a call.
fn last_text(call: &str) -> &str {
    let (mut depth, mut last) = (1, "");
    for (n, part) in call.split('"').enumerate() {
        if n % 2 == 1 {
            last = part;
            continue;
        }
        for c in part.chars() {
            depth += i32::from(c == '(') - i32::from(c == ')');
            if depth == 0 {
                return last;
            }
        }
    }
    last
}
