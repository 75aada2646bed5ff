//! Conversations over a real WebSocket, written down line by line in `transcripts/*.txt`.
//!
//! A line is something to do, or what must come next:
//!
//! ```text
//! server open                    how the server is configured: see `configure`; the first line
//! connect [as SECRET] [by Basic] [speaking PROTOCOL] [registered] [refused STATUS]
//! use N                          goes on with the Nth connection, from 1
//! publish TOPIC [for USER] JSON  over HTTP
//! register JSON, unregister      over HTTP; the last one
//! drain                          as a signal does
//! > TEXT                         a text message
//! >fragments A|B|C               one message in frames
//! >binary, >large BYTES, >bad-utf8, >bad-frame, >half-close, >close
//! 10 > TEXT                      so many times
//! < TEXT                         the next text message, `…` for anything; ids and times are not compared
//! <close CODE REASON             the connection is closed
//! <gone                          it ends without a close
//! ```

use std::fs;
use std::time::Duration;

use relay::config::model::Config;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::pattern::matches;
use crate::rig::{Rig, grants, token};
use crate::subscriber::Subscriber;

/// The servers that a transcript can name.
fn configure(name: &str, config: &mut Config) {
    let topics = &["cats", "sightings", "orders.*"];
    match name {
        // Nobody gets in without a token.
        "closed" => {}
        "open" => config.anonymous = grants(topics, topics, &["*"]),
        "hasty" => config.limits.auth_timeout = Duration::from_millis(50),
        "narrow" => {
            config.limits.unauthenticated = 1;
            config.anonymous = grants(&[], &[], &[]);
        }
        "strict" => {
            config.anonymous = grants(topics, topics, &["*"]);
            config.limits.commands = 3;
            config.limits.subscriptions = 2;
        }
        "small" => {
            config.anonymous = grants(topics, topics, &["*"]);
            config.limits.body = 16;
        }
        "rated" => {
            config.anonymous = grants(topics, topics, &["*"]);
            config.limits.auth_failures = 0;
            config.limits.publish_rate = Some(0);
        }
        other => panic!("there is no server `{other}`"),
    }
    let mut old = token("old", &[], &["cats"], &[]);
    old.not_after = Some(relay::time::Time(0));
    config.tokens.push(old);
    config.tokens.push(token("cats", &["cats"], &["cats"], &["*"]));
}

struct Stage {
    rig: Rig,
    connections: Vec<Subscriber>,
    current: usize,
    registered: String,
}

impl Stage {
    fn socket(&mut self) -> &mut Subscriber {
        &mut self.connections[self.current]
    }

    async fn step(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "connect" => self.connect(rest).await,
            "use" => self.current = rest.parse::<usize>().expect("a number") - 1,
            "publish" => self.publish(rest).await,
            "register" => {
                let answer = self.rig.post("/register", "secret-all", rest).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                self.registered = answer.json()["url"].as_str().expect("a URL").to_owned();
            }
            "unregister" => {
                let id = self.registered.rsplit('/').next().expect("an id");
                let deleted = self.rig.call(&format!("DELETE /register/{id} HTTP/1.1\r\n"), "").await;
                assert_eq!(deleted.status, 204);
            }
            "drain" => self.rig.live.drain.begin(),
            ">" => self.socket().send(rest).await,
            "<" => {
                let came = self.socket().text().await;
                assert!(matches(rest, &came), "expected {rest}\n     got {came}");
            }
            "<close" => {
                let (code, reason) = self.socket().closed().await;
                assert_eq!(format!("{code} {reason}").trim_end(), rest);
            }
            "<gone" => self.socket().gone().await,
            ">half-close" => self.socket().half_close().await,
            _ if word.starts_with('>') => {
                for message in frames(&word[1..], rest) {
                    self.socket().send_message(message).await;
                }
            }
            _ => {
                let (times, (_, text)) = (word.parse().expect("a step or a number"), rest.split_at(2));
                for _ in 0..times {
                    self.socket().send(text).await;
                }
            }
        }
    }

    async fn connect(&mut self, how: &str) {
        let mut headers = Vec::new();
        let mut url = format!("ws://{}/ws", self.rig.public);
        let words: Vec<&str> = how.split_whitespace().collect();
        let bearer;
        if let Some(at) = words.iter().position(|word| *word == "as") {
            bearer = format!("Bearer {}", words[at + 1]);
            headers.push(("authorization", bearer.as_str()));
        }
        if words.contains(&"by") {
            headers.push(("authorization", "Basic dTpw"));
        }
        if let Some(at) = words.iter().position(|word| *word == "speaking") {
            headers.push(("sec-websocket-protocol", words[at + 1]));
        }
        if words.contains(&"registered") {
            url.clone_from(&self.registered);
        }
        let connected = Subscriber::try_connect(&url, &headers).await;
        if let Some(at) = words.iter().position(|word| *word == "refused") {
            let status = connected.err().expect("it is refused").to_string();
            return assert_eq!(status, words[at + 1], "{how}");
        }
        self.connections.push(connected.expect("an upgrade"));
        self.current = self.connections.len() - 1;
    }

    async fn publish(&self, what: &str) {
        let (topic, rest) = what.split_once(' ').expect("a topic");
        let (user, data) = match rest.strip_prefix("for ") {
            Some(rest) => rest.split_once(' ').map(|(user, data)| (user.to_owned().into(), data)).expect("a user"),
            None => (Value::Null, rest),
        };
        let user = if user.is_null() { String::new() } else { format!("\"user_id\":{user},") };
        let envelope = format!(r#"{{"topic":"{topic}",{user}"data":{data}}}"#);
        let answer = self.rig.post("/publish", "secret-all", &envelope).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// Messages and frames that are not a plain text message.
fn frames(kind: &str, rest: &str) -> Vec<Message> {
    let frame = |text: &[u8], data, last| Message::Frame(Frame::message(text.to_vec(), OpCode::Data(data), last));
    match kind {
        "binary" => vec![Message::binary(vec![0, 1, 2])],
        "large" => vec![Message::text("x".repeat(rest.parse().expect("a number")))],
        "bad-utf8" => vec![frame(b"\xff\xfe", Data::Text, true)],
        "bad-frame" => vec![frame(b"", Data::Continue, true)],
        "close" => vec![Message::Close(None)],
        "fragments" => {
            let parts: Vec<&str> = rest.split('|').collect();
            let part = |(at, text): (usize, &&str)| {
                let data = if at == 0 { Data::Text } else { Data::Continue };
                frame(text.as_bytes(), data, at + 1 == parts.len())
            };
            parts.iter().enumerate().map(part).collect()
        }
        other => panic!("there is no frame `{other}`"),
    }
}

async fn check(name: &str, transcript: &str) {
    let mut lines = transcript.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let server = lines.next().and_then(|line| line.strip_prefix("server ")).expect("`server`");
    let rig = Rig::start(|config| configure(server, config)).await;
    let mut stage = Stage { rig, connections: Vec::new(), current: 0, registered: String::new() };
    for line in lines {
        // A step that fails panics, so say which one it is.
        eprintln!("{name}: {line}");
        stage.step(line).await;
    }
    drop(stage.connections);
    stage.rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_transcript_goes_as_it_is_written() {
    let mut seen = 0;
    let mut files: Vec<_> = fs::read_dir("tests/it/transcripts")
        .expect("transcripts")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file).expect("it was listed");
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        check(&name, &text).await;
        seen += 1;
    }
    assert!(seen >= 12, "only {seen} transcripts");
}
