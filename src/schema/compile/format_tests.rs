//! Formats: which are checked, and what is reported about the others.

use serde_json::json;

use crate::schema::tests::{Files, schema};

/// Regression: `uuid` was an error in draft 7. Most libraries would not check it there at all.
#[test]
fn formats_are_judged_in_every_dialect() {
    for dialect in ["draft-04", "draft-06", "draft-07"].map(|name| format!("http://json-schema.org/{name}/schema#")) {
        for (format, good, bad) in [
            ("uuid", "6b3a3d5e-2f55-4d34-8f6d-2c1d7a8c1d11", "6b3a"),
            ("duration", "P1D", "1 day"),
            ("uri-reference", "../a", "a b"),
            ("uri-template", "/{a}", "/{a"),
            ("iri", "https://é.example/", "é"),
            ("idn-hostname", "é.example", "-a"),
            ("json-pointer", "/a", "a"),
            ("relative-json-pointer", "1/a", "/a"),
            ("date", "2026-11-24", "24.11.2026"),
        ] {
            let schema = schema(&json!({"$schema": dialect, "format": format}));
            assert!(schema.check_value(&json!(good)).is_ok(), "{dialect} {format}");
            let refused = schema.check_value(&json!(bad)).expect_err(format);
            assert_eq!(refused.violations[0].keyword, "format", "{dialect} {format}");
        }
    }
}

/// Regression: formats that generators write were errors without a way out, which refused a third of the published
/// schemas.
#[test]
fn a_format_that_nobody_knows_is_told_once_and_not_judged() {
    let number = |format: &str| json!({"type": "number", "format": format});
    let members: serde_json::Map<_, _> = (0..50).map(|n| (format!("p{n}"), number("int64"))).collect();
    let root = json!({"properties": members, "items": {"$ref": "b.json"}, "$defs": {"u": number("url")}});
    let files = Files::of(&[("a.json", root), ("b.json", number("int64"))]);
    let compiled = files.compile(&["a.json"]);
    let told = compiled.faults.iter().map(|f| format!("{} {}: {}; {}", f.file, f.pointer, f.kind, f.kind.help()));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            "a.json /properties/p0/format: the format `int64` is unknown and is not checked; say it with `pattern`, \
             `minimum` or `maximum`, or leave it as a description",
            "a.json /$defs/u/format: the format `url` is unknown and is not checked; did you mean `uri`?",
            "b.json /format: the format `int64` is unknown and is not checked; say it with `pattern`, `minimum` or \
             `maximum`, or leave it as a description",
        ]
    );
    assert!(compiled.faults.iter().all(|fault| fault.kind.is_warning()));
    let schema = &compiled.schemas["a.json"];
    assert!(schema.check_value(&json!({"p0": 1e300})).is_ok());
}

#[test]
fn a_misspelt_format_is_an_error() {
    for (format, meant) in [
        ("datetime", "date-time"),
        ("data-time", "date-time"),
        ("DateTime", "date-time"),
        ("e-mail", "email"),
        ("UUID", "uuid"),
        ("ip_v4", "ipv4"),
        ("hostnam", "hostname"),
        ("uri_reference", "uri-reference"),
    ] {
        let fault = &Files::of(&[("a.json", json!({"format": format}))]).compile(&["a.json"]).faults[0];
        assert_eq!(fault.kind.help(), format!("did you mean `{meant}`?"));
        assert!(!fault.kind.is_warning(), "{format}");
    }
    #[rustfmt::skip]
    let others = [
        "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float", "double", "byte", "binary", "password", "path",
        "url", "urn", "guid", "uuid4", "ulid", "file-path", "directory-path", "color", "phone", "decimal", "iso-time",
        "iso-date-time", "template", "full-date", "timestamp", "ip-address", "int-or-string", "base64", "json-string", "timezone",
        "mutation", "path-template", "alias-hostname", "mail", "regexp", "hostnames", "emails", "durations",
    ];
    for format in others {
        let compiled = Files::of(&[("a.json", json!({"format": format}))]).compile(&["a.json"]);
        assert!(compiled.faults[0].kind.is_warning() && compiled.schemas.len() == 1, "{format}");
    }
}

/// A format that is not checked cannot break anybody.
#[test]
fn a_change_of_what_is_not_judged_is_none_for_publishers() {
    use crate::schema::compat::{Side, publishers, subscribers};
    let with = |format: &str| {
        let document = json!({"properties": {"n": {"type": "integer", "format": format}}});
        Files::of(&[("a.json", document)]).compile(&["a.json"]).schemas.remove("a.json").expect("a schema")
    };
    let (one, other) = (with("int32"), with("int64"));
    assert_eq!((publishers(&one, &other), subscribers(&one, &other)), (Side::Yes, Side::Yes));
}
