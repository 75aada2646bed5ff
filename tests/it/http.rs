//! The calls of the public listener, and the words in which each refuses.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use relay::assemble::build;
use relay::config::model::Listen;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::peer::Peer;
use crate::rig::{Rig, behind_proxy, call, grants, snapshot, token};

const GET_TOPICS: &str = "GET /topics HTTP/1.1\r\nAuthorization: Bearer secret-all\r\n";

#[tokio::test]
async fn a_publish_is_answered_with_its_id() {
    let rig = Rig::start(|_| {}).await;
    let answer = rig.post("/publish/cats", "secret-all", r#"{"name" : "Tom"}"#).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"topic": "cats", "id": rig.id(1)})));
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!((answer.header("cache-control"), answer.header("x-content-type-options")), ("no-store", "nosniff"));
    assert_eq!(rig.payloads().await, [r#"{"name":"Tom"}"#]);
}

#[tokio::test]
async fn an_envelope_names_its_topic_and_user() {
    let rig = Rig::start(|_| {}).await;
    let answer = rig.post("/publish", "secret-all", r#"{"topic":"orders.eu","data":1,"user_id":7}"#).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"topic": "orders.eu", "id": rig.id(1)})));
    let records = rig.records().await;
    assert_eq!(records[0].user.as_ref().map(|user| user.as_str()), Some("7"));
}

#[tokio::test]
async fn many_are_answered_with_a_list() {
    let rig = Rig::start(|_| {}).await;
    let expected =
        |first: u64| json!([{"topic": "cats", "id": rig.id(first)}, {"topic": "orders.eu", "id": rig.id(first + 1)}]);
    let list = r#"[{"topic":"cats","data":1},{"topic":"orders.eu","message":2}]"#;
    let answer = rig.post("/publish", "secret-all", list).await;
    assert_eq!((answer.status, answer.json()), (200, expected(1)));
    let one = rig.post("/publish", "secret-all", r#"[{"topic":"cats","data":1}]"#).await;
    assert!(one.json().is_array(), "a list of one is a list");
    let lines = "{\"topic\":\"cats\",\"data\":1}\n{\"topic\":\"orders.eu\",\"data\":2}\n";
    let head = "POST /publish HTTP/1.1\r\nContent-Type: application/x-ndjson\r\nAuthorization: Bearer secret-all\r\n";
    let answer = rig.call(head, lines).await;
    assert_eq!((answer.status, answer.json()), (200, expected(4)));
}

#[tokio::test]
async fn one_bad_item_refuses_all_and_is_named_by_its_index() {
    let rig = Rig::start(|_| {}).await;
    let list = r#"[{"topic":"cats","data":1},
{"topic":"sightings","data":{"name":1,"age":-1}}, {"topic":"dogs","data":1}]"#;
    let answer = rig.post("/publish", "secret-all", list).await;
    assert_eq!(
        answer.problem(),
        (422, "validation-failed".into(), "nothing was published: 2 items were refused".into())
    );
    let problem = answer.json();
    let errors: Vec<(&Value, &Value)> = problem["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|error| (&error["index"], if error["pointer"].is_null() { &error["type"] } else { &error["pointer"] }))
        .collect();
    let unknown = json!("urn:relay:problem:unknown-topic");
    let one = json!(1);
    assert!(errors.contains(&(&one, &json!("/name"))) && errors.contains(&(&one, &json!("/age"))), "{problem}");
    assert!(errors.contains(&(&json!(2), &unknown)), "{problem}");
    assert!(rig.payloads().await.is_empty());
}

#[tokio::test]
async fn malformed_json_is_placed_in_the_whole_body() {
    let rig = Rig::start(|_| {}).await;
    for (path, body, line, column) in [
        ("/publish/cats", "{\n  \"a\": tru}", 2, 11),
        ("/publish", "{\"topic\":\"cats\",\n\"data\":{\"a\":\n\"\\ud800\"}}", 3, 8),
        ("/publish", "[{\"topic\":\"cats\",\"data\":1},\n {\"topic\":\"cats\",\"data\":}]", 2, 25),
    ] {
        let answer = rig.post(path, "secret-all", body).await;
        let problem = answer.json();
        assert_eq!((answer.status, &problem["type"]), (400, &json!("urn:relay:problem:malformed-json")), "{problem}");
        assert_eq!((&problem["line"], &problem["column"]), (&json!(line), &json!(column)), "{body}: {problem}");
    }
    let answer = rig.post("/publish", "secret-all", r#"{"topic":"cats","data":{"a":1,"a":2}}"#).await;
    assert_eq!(answer.problem().1, "duplicate-key");
    assert_eq!(answer.json()["pointer"], "/data/a");
    let answer = rig.post("/publish", "secret-all", r#"{"topic":"cats","data":1,"data":2}"#).await;
    assert_eq!(answer.json()["pointer"], "/data");
}

/// Regression: the place of a syntax error in an item stood only in its sentence.
#[tokio::test]
async fn what_is_wrong_with_the_syntax_of_an_item_has_its_members() {
    let rig = Rig::start(|_| {}).await;
    let refused = async |media: &str, body: &str| {
        let head = format!(
            "POST /publish HTTP/1.1\r\nContent-Type: application/{media}\r\nAuthorization: Bearer secret-all\r\n"
        );
        let answer = rig.call(&head, body).await;
        assert_eq!(answer.status, 400);
        answer.json()["errors"].clone()
    };
    let cut = refused("x-ndjson", "{\"topic\":\"cats\",\"data\":1}\n{\"topic\":\"cats\",\"data\":}").await;
    let kind = "urn:relay:problem:malformed-json";
    let detail = "line 2, column 24: a value is expected here";
    assert_eq!(cut, json!([{"type": kind, "detail": detail, "line": 2, "column": 24, "index": 1}]));
    let lone = refused("json", "[{\"topic\":\"cats\",\"data\":1},\n{\"topic\":\"cats\",\"data\":\"\\ud800\"}]").await;
    assert_eq!((&lone[0]["type"], &lone[0]["line"], &lone[0]["index"]), (&json!(kind), &json!(2), &json!(1)));
    assert!(lone[0]["column"].is_u64(), "{lone}");
    let twice = refused("json", r#"[{"topic":"cats","data":{"a":1,"a":2}}]"#).await;
    assert_eq!((&twice[0]["pointer"], &twice[0]["index"]), (&json!("/data/a"), &json!(0)));
}

/// The rule that docs/configuration.md states.
#[tokio::test]
async fn numbers_are_judged_as_doubles_and_forwarded_as_written() {
    let rig = Rig::start(|_| {}).await;
    let huge = rig.post("/publish/cats", "secret-all", "1e400").await;
    let sentence = "line 1, column 5: a number beyond the range of a double".to_owned();
    assert_eq!(huge.problem(), (400, "malformed-json".into(), sentence), "no schema at all takes it");
    let nearly = r#"{"name":"Tom","age":9007199254740993.5}"#;
    assert_eq!(rig.post("/publish/sightings", "secret-all", nearly).await.status, 200);
    assert_eq!(rig.payloads().await, [nearly]);
    let half = rig.post("/publish/sightings", "secret-all", r#"{"name":"Tom","age":0.5}"#).await;
    assert_eq!(half.status, 422);
}

#[tokio::test]
async fn validate_judges_and_appends_nothing() {
    let rig = Rig::start(|_| {}).await;
    let good = rig.post("/validate/sightings", "secret-all", r#"{"name":"Tom"}"#).await;
    assert_eq!((good.status, good.json()), (200, json!({"valid": true})));
    let body = r#"{"age":-1}"#;
    let bad = rig.post("/validate/sightings", "secret-all", body).await;
    let published = rig.post("/publish/sightings", "secret-all", body).await;
    assert_eq!(bad.problem().0, 422);
    assert_eq!(bad.json(), published.json(), "the same as a publish says");
    assert!(rig.payloads().await.is_empty());
}

#[tokio::test]
async fn a_publish_without_a_grant_is_401_403_or_404_with_its_sentence() {
    let rig = Rig::start(|config| {
        config.tokens.push(token("cats", &["cats", "dogs"], &[], &[]));
        let mut expired = token("old", &["**"], &["**"], &[]);
        expired.not_after = Some(relay::time::Time(1));
        config.tokens.push(expired);
    })
    .await;
    let bearer = "Bearer error=\"invalid_token\"";
    for (path, secret, status, slug, authenticate, detail) in [
        (
            "/publish/cats",
            "",
            401,
            "unauthenticated",
            "Bearer realm=\"relay\"",
            "anonymous callers have no grant for this: send `Authorization: Bearer <token>`",
        ),
        (
            "/publish/cats",
            "wrong",
            401,
            "unauthenticated",
            bearer,
            "unknown token: check that it is spelled correctly and still in relay.toml",
        ),
        (
            "/publish/cats",
            "secret-old",
            401,
            "token-expired",
            "Bearer error=\"invalid_token\", error_description=\"the token has expired\"",
            "the token has expired (`not_after`): use its successor",
        ),
        (
            "/publish/orders.eu",
            "secret-cats",
            403,
            "forbidden",
            "Bearer error=\"insufficient_scope\"",
            "this credential has no grant to publish to `orders.eu`: check the name, or grant it in relay.toml",
        ),
        (
            "/publish/no-such-topic",
            "secret-cats",
            403,
            "forbidden",
            "Bearer error=\"insufficient_scope\"",
            "this credential has no grant to publish to `no-such-topic`: check the name, or grant it in relay.toml",
        ),
        (
            "/publish/dogs",
            "secret-cats",
            404,
            "unknown-topic",
            "",
            "relay.toml declares no topic `dogs` and no family that covers it",
        ),
        (
            "/publish/c%20ts",
            "secret-all",
            400,
            "bad-request",
            "",
            "`c ts` is not a topic name: ` ` is not allowed in a name",
        ),
    ] {
        let answer = rig.post(path, secret, "1").await;
        assert_eq!(answer.problem(), (status, slug.into(), detail.into()), "{path} {secret}");
        assert_eq!(answer.header("www-authenticate"), authenticate, "{path} {secret}");
    }
}

#[tokio::test]
async fn an_idempotency_key_publishes_once() {
    let rig = Rig::start(|config| config.anonymous = grants(&["cats"], &[], &[])).await;
    let publish = async |headers: &str, path: &str, body: &str| {
        let head = format!("POST {path} HTTP/1.1\r\nContent-Type: application/json\r\n{headers}");
        rig.call(&head, body).await
    };
    let token = "Authorization: Bearer secret-all\r\n";
    let first = publish(&format!("{token}Idempotency-Key: \"a b\"\r\n"), "/publish/cats", "1").await;
    let again = publish(token, "/publish", r#"{"topic":"cats","data":1,"key":"a b"}"#).await;
    assert_eq!((first.status, first.json()), (200, again.json()), "the key is the same, wherever it stands");
    assert_eq!(rig.payloads().await.len(), 1);
    let reused = publish(&format!("{token}Idempotency-Key: \"a b\"\r\n"), "/publish/cats", "2").await;
    assert_eq!(reused.problem().1, "idempotency-key-reused");
    let list = r#"[{"topic":"cats","data":3},{"topic":"cats","data":2,"key":"a b"}]"#;
    let reused = publish(token, "/publish", list).await.json();
    assert_eq!((&reused["status"], &reused["errors"][0]["index"]), (&json!(422), &json!(1)), "{reused}");
    let longest = format!("{token}Idempotency-Key: {}\r\n", "k".repeat(255));
    assert_eq!(publish(&longest, "/publish/cats", "1").await.status, 200);
    let anonymous = publish("Idempotency-Key: k\r\n", "/publish/cats", "1").await;
    let detail = "anonymous callers cannot use idempotency keys: send a token, or omit the key";
    assert_eq!(anonymous.problem(), (400, "bad-request".into(), detail.into()));
}

#[tokio::test]
async fn an_unknown_path_is_404_and_a_wrong_method_405_with_allow() {
    let rig = Rig::start(|_| {}).await;
    for (method, path, allow) in [
        ("GET", "/publish/cats", "POST"),
        ("PUT", "/publish", "POST"),
        ("GET", "/validate/cats", "POST"),
        ("GET", "/register", "POST"),
        ("GET", "/register/x", "DELETE"),
        ("POST", "/topics", "GET, HEAD"),
        ("DELETE", "/topics/cats", "GET, HEAD"),
        ("POST", "/health", "GET, HEAD"),
        ("POST", "/ws", "GET, HEAD"),
    ] {
        let answer = rig.call(&format!("{method} {path} HTTP/1.1\r\n"), "").await;
        let detail = format!("allowed here: {allow}");
        assert_eq!(answer.problem(), (405, "method-not-allowed".into(), detail), "{method} {path}");
        assert_eq!(answer.header("allow"), allow);
    }
    for path in ["/", "/publish/cats/x", "//publish", "/metrics", "/config", "/topics/cats/x", "/HEALTH"] {
        let answer = rig.get(path, "secret-all").await;
        assert_eq!((answer.status, answer.problem().1), (404, "not-found".into()), "{path}");
    }
    let get = rig.get("/health", "").await;
    let head = rig.call("HEAD /health HTTP/1.1\r\n", "").await;
    assert_eq!((get.status, get.json()), (200, json!({"status": "ok"})));
    assert_eq!((head.status, head.header("content-length")), (200, get.header("content-length")));
    assert_eq!(rig.get("/ready", "").await.json(), json!({"status": "ready", "generation": 1}));
}

#[tokio::test]
async fn topics_are_listed_as_far_as_the_caller_may_know_them() {
    let rig = Rig::start(|config| {
        config.tokens.push(token("eu", &["orders.eu"], &[], &[]));
        config.anonymous = grants(&[], &["cats"], &[]);
    })
    .await;
    let names = async |secret: &str| -> Vec<String> {
        let list = rig.get("/topics", secret).await.json();
        list["topics"].as_array().expect("a list").iter().map(|t| t["topic"].as_str().expect("a name").into()).collect()
    };
    assert_eq!(names("secret-all").await, ["cats", "orders.{region}", "sightings"]);
    assert_eq!(names("secret-eu").await, ["orders.{region}"]);
    assert_eq!(names("").await, ["cats"]);

    let cats = rig.get("/topics/cats", "").await;
    let history = json!({"count": 1000, "bytes": 1_048_576, "age_seconds": 3600});
    let examples = json!([]);
    let expected = json!({"topic": "cats", "description": "Cat sightings", "schema": null, "examples": examples, "history": history});
    assert_eq!((cats.status, cats.json()), (200, expected));
    assert_eq!(rig.get("/topics/orders.eu", "secret-eu").await.json()["topic"], "orders.{region}");
    assert_eq!(rig.get("/topics/orders.%7Bregion%7D", "secret-all").await.json()["topic"], "orders.{region}");
    // Without a grant, a declared topic looks the same as an undeclared one.
    for path in ["/topics/sightings", "/topics/nothing", "/topics/sightings/schema", "/topics/orders.us"] {
        assert_eq!(rig.get(path, "").await.problem().0, 401, "{path}");
        assert_eq!(rig.get(path, "secret-eu").await.problem().0, 403, "{path}");
    }
    assert_eq!(rig.get("/topics/nothing", "secret-all").await.problem().1, "unknown-topic");

    assert_eq!(rig.get("/topics/sightings", "secret-all").await.json()["schema"], "/topics/sightings/schema");
    let schema = rig.get("/topics/sightings/schema", "secret-all").await;
    assert_eq!((schema.status, schema.header("content-type")), (200, "application/schema+json"));
    assert_eq!(schema.json()["required"], json!(["name"]));
}

#[tokio::test]
async fn failed_authentications_are_limited_for_each_address() {
    let rig = Rig::start(|config| {
        config.limits.auth_failures = 3;
        behind_proxy(config);
    })
    .await;
    let publish = async |from: &str, secret: &str| {
        let head = format!(
            "POST /publish/cats HTTP/1.1\r\nContent-Type: application/json\r\nX-Forwarded-For: {from}\r\n\
             Authorization: Bearer {secret}\r\n"
        );
        rig.call(&head, "1").await
    };
    // The window is one second, and four requests take less; otherwise the loop would see another 401.
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(publish("192.0.2.1", "wrong").await);
    }
    let limited = statuses.pop().expect("an answer");
    assert!(statuses.iter().all(|answer| answer.status == 401));
    let detail = "over `limits.auth_failures`: try again in 1 s";
    assert_eq!(limited.problem(), (429, "rate-limited".into(), detail.into()));
    assert_eq!(limited.header("retry-after"), "1");
    assert_eq!(limited.json()["retry_after"], 1, "a WebSocket has no header");
    assert_eq!(publish("192.0.2.1", "secret-all").await.status, 429, "a right guess is not told from a wrong one");
    assert_eq!(publish("192.0.2.2", "secret-all").await.status, 200, "another address");
    for _ in 0..4 {
        statuses.push(publish("127.0.0.1", "wrong").await);
    }
    assert_eq!(statuses.pop().expect("an answer").status, 429);
    assert_eq!(publish("127.0.0.1", "secret-all").await.status, 200, "other services of this machine are not kept out");
}

#[tokio::test]
async fn publishes_over_the_rate_are_refused_by_token_and_by_network() {
    let rig = Rig::start(|config| {
        config.anonymous = grants(&["cats"], &[], &[]);
        config.limits.publish_rate = Some(3);
    })
    .await;
    let batch = r#"[{"topic":"cats","data":{"name":"a"}},{"topic":"cats","data":{"name":"b"}}]"#;
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(rig.post("/publish", "secret-all", batch).await);
    }
    assert_eq!(statuses[0].status, 200);
    assert_eq!(statuses[1].status, 429, "two batches of two are four");
    assert_eq!(statuses[1].header("retry-after"), "1");
    assert_eq!(statuses[1].json()["type"], "urn:relay:problem:rate-limited");
    assert_eq!(statuses[1].json()["detail"], "over `limits.publish_rate`: try again in 1 s");
    let anonymous = [rig.post("/publish", "", batch).await, rig.post("/publish", "", batch).await];
    assert_eq!(anonymous.map(|answer| answer.status), [200, 429], "who has no token is told apart by its address");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let mut judged = Vec::new();
    for _ in 0..4 {
        judged.push(rig.post("/validate/cats", "secret-all", r#"{"name":"a"}"#).await.status);
    }
    assert_eq!(judged, [200, 200, 200, 429], "to judge a message costs what a publish costs");
}

#[tokio::test]
async fn connections_over_the_rate_are_answered_once_and_closed() {
    let rig = Rig::start(|config| config.limits.connect_rate = Some(2)).await;
    let mut refused = 0;
    for _ in 0..8 {
        let answer = rig.get("/topics", "secret-all").await;
        if answer.status == 429 {
            refused += 1;
            assert_eq!(answer.json()["detail"], "over `limits.connect_rate`: try again in 1 s");
            assert_eq!(answer.header("connection"), "close");
        }
    }
    assert!(refused >= 2, "{refused} of 8 in at most a few seconds");
}

/// Regression: where a listener serves both families, an IPv4 address arrives as an IPv6 one, `::ffff:192.0.2.1`. No
/// IPv4 proxy was trusted; and since IPv6 callers are rated by their /64, all IPv4 callers shared one rate.
#[tokio::test]
async fn ipv4_addresses_are_told_apart_where_both_families_are_served() {
    let both: SocketAddr = "[::]:0".parse().expect("an address");
    if std::net::TcpListener::bind(both).is_err() {
        return;
    }
    let rig = Rig::start(|config| {
        config.server.listen = Listen::Tcp(both);
        behind_proxy(config);
        config.limits.connect_rate = Some(1);
    })
    .await;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, rig.public.port()));
    for _ in 0..4 {
        assert_eq!(call(address, GET_TOPICS, "").await.status, 200, "a trusted proxy has no rate");
    }
    for last in [2, 3, 4] {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).expect("a loopback address");
        let mut peer = Peer::new(socket.connect(address).await.expect("the server listens"));
        peer.send(format!("{GET_TOPICS}Host: localhost\r\n\r\n")).await;
        assert_eq!(peer.answer().await.expect("an answer").status, 200, "each address has a rate of its own");
    }
}

/// A topic of a family goes only after it has been idle for as long as its history lasts; a retry after a second would
/// be refused again.
#[tokio::test]
async fn a_family_that_is_full_says_when_there_may_be_room() {
    let rig = Rig::serve(build::live(snapshot(|config| config.limits.family_topics = 1), 2)).await;
    assert_eq!(rig.post("/publish/orders.eu", "secret-all", "1").await.status, 200);
    let full = rig.post("/publish/orders.us", "secret-all", "1").await;
    assert_eq!((full.status, full.header("retry-after")), (503, "60"));
}

/// A caller with one IPv6 address has a whole /64, and so any number of addresses.
#[tokio::test]
async fn anonymous_publishes_are_counted_for_each_network() {
    let rig = Rig::start(|config| {
        config.anonymous = grants(&["cats"], &[], &[]);
        config.limits.publish_rate = Some(1);
        behind_proxy(config);
    })
    .await;
    let publish = async |n: u32| {
        let head = "POST /publish/cats HTTP/1.1\r\nContent-Type: application/json\r\n";
        rig.call(&format!("{head}X-Forwarded-For: 2001:db8::{n}\r\n"), "1").await.status
    };
    // However many seconds they span, there are more publishes than seconds.
    let began = Instant::now();
    let mut statuses = Vec::new();
    for n in 1..=20 {
        statuses.push(publish(n).await);
    }
    let passed = statuses.iter().filter(|status| **status == 200).count() as u64;
    assert!(passed <= began.elapsed().as_secs() + 2, "{statuses:?} in {:?}", began.elapsed());
}
