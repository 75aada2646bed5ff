//! Three lists have the same paths: the calls in docs/http.md, the filters that take them, and the table from paths to
//! routes.

use std::collections::{BTreeMap, BTreeSet};

use crate::reload::site::{Site, with_topics};
use crate::rig::call;

const METHODS: [&str; 6] = ["OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE"];

/// What each listener takes according to the document: paths, with `x` for a variable segment, and the methods that
/// they allow.
fn documented() -> [BTreeMap<String, &'static str>; 2] {
    let text = include_str!("../../docs/http.md");
    let tables: Vec<_> = text.split("| call | answer |\n|---|---|\n").skip(1).collect();
    assert_eq!(tables.len(), 2);
    [tables[0], tables[1]].map(|table| {
        let rows = table.lines().map_while(|row| row.strip_prefix("| ")?.split(" | ").next());
        let calls = rows.flat_map(|cell| cell.split('`')).filter_map(|call| call.split_once(" /"));
        let calls = calls.map(|(method, target)| {
            let path = target.split([' ', '?']).next().unwrap_or_default();
            let allow = match method {
                "GET" if path.starts_with("events") => "GET",
                "GET" => "GET, HEAD",
                "POST" => "POST",
                "DELETE" => "DELETE",
                other => panic!("{other}"),
            };
            (shape(path.split('/')), allow)
        });
        calls.collect()
    })
}

/// The path of these segments, as they are written in a document or in the code.
fn shape<'a>(segments: impl Iterator<Item = &'a str>) -> String {
    let varies = |segment: &str| segment == "String" || segment == "_" || segment.starts_with('{');
    segments
        .map(|segment| if varies(segment) { "/x".into() } else { format!("/{}", segment.trim_matches('"')) })
        .collect()
}

#[tokio::test]
async fn every_documented_call_is_taken_by_its_listener_and_the_other_one_says_where_that_is() {
    let site = Site::start(&[("relay.toml", &with_topics(&["cats"]))]).await;
    let documented = documented();
    let listeners = [(site.public, "`server.admin` says where"), (site.admin, "`server.listen` says where")];
    for path in documented.iter().flat_map(BTreeMap::keys) {
        for ((address, elsewhere), here) in listeners.iter().zip(&documented) {
            for method in METHODS {
                let answer = call(*address, &format!("{method} {path} HTTP/1.1\r\n"), "").await;
                let said = (answer.status, answer.header("allow"));
                match here.get(path) {
                    None => {
                        let body = String::from_utf8_lossy(&answer.body);
                        assert!(
                            said.0 == 404 && (method == "HEAD" || body.contains(elsewhere)),
                            "{method} {path} {body}"
                        );
                    }
                    Some(allow) if method == "OPTIONS" => assert_eq!(said, (204, *allow), "{path}"),
                    Some(allow) if allow.split(", ").any(|allowed| allowed == method) => {
                        assert_ne!(said.0, 405, "{method} {path}")
                    }
                    Some(allow) => assert_eq!(said, (405, *allow), "{method} {path}"),
                }
            }
        }
    }
}

/// The test above cannot find a path that the code knows and the document does not list.
#[test]
fn the_filters_and_the_list_of_where_paths_lead_have_the_documented_paths() {
    let (routes, admin) = (include_str!("../../src/http/routes.rs"), include_str!("../../src/http/admin.rs"));
    let paths = include_str!("../../src/http/paths.rs");
    let between = |text: &'static str, from: &str, to: &str, separator: &'static str| -> BTreeSet<String> {
        let inside = text.split(from).skip(1).filter_map(|rest| Some(rest.split_once(to)?.0));
        inside.map(|segments| shape(segments.split(separator))).collect()
    };
    let documented: BTreeSet<String> = documented().into_iter().flat_map(BTreeMap::into_keys).collect();
    let filters = [routes, admin].map(|source| between(source, "path!(", ")", " / "));
    assert_eq!(&filters[0] | &filters[1], documented);
    let (_, list) = paths.split_once("(_, [.., \"\"]) => Route::None").expect("it begins so");
    let (list, _) = list.split_once("_ => Route::None").expect("it ends so");
    assert_eq!(between(list, "[", "]", ", "), documented);
}
