//! What a peer may send and what it may not, whole and in every way it can be split.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::{Inbound, Item};
use crate::frame::{self, Opcode};

const LIMIT: usize = 1000;
const KEY: [u8; 4] = [0xde, 0xad, 0xbe, 0xef];

/// A masked frame: FIN, RSV and opcode as one byte, then the payload.
fn sent(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = match payload.len() {
        n @ 0..=125 => vec![first, 0x80 | n as u8],
        n @ 126..=0xffff => [&[first, 0xfe][..], &(n as u16).to_be_bytes()].concat(),
        n => [&[first, 0xff][..], &(n as u64).to_be_bytes()].concat(),
    };
    out.extend_from_slice(&KEY);
    out.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// One line for an item, content included.
fn line(item: Item<'_>) -> String {
    match item {
        Item::Text(text) => format!("text {text}"),
        Item::Binary(bytes) => format!("binary {bytes:?}"),
        Item::Ping(bytes) => format!("ping {}", String::from_utf8_lossy(&bytes)),
        Item::Pong(bytes) => format!("pong {}", String::from_utf8_lossy(&bytes)),
        Item::Close(code) => format!("close {code:?}"),
    }
}

/// Everything read from the parts, ended by the error if there is one. Checks that memory stays bounded in between.
fn read(mut inbound: Inbound, parts: &[&[u8]]) -> Vec<String> {
    let mut lines = Vec::new();
    for part in parts {
        let mut scratch = part.to_vec();
        let mut bytes = &mut scratch[..];
        loop {
            match inbound.next(&mut bytes) {
                Ok(Some(item)) => lines.push(line(item)),
                Ok(None) => break,
                Err(close) => {
                    lines.push(format!("! {close:?}"));
                    return lines;
                }
            }
        }
        assert!(bytes.is_empty(), "bytes were left");
        assert!(inbound.held() <= 2 * LIMIT + 512, "{} bytes held", inbound.held());
    }
    lines
}

fn single_bytes(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.chunks(1).collect()
}

#[test]
fn an_idle_connection_holds_nothing() {
    assert!(size_of::<Inbound>() <= 24, "{}", size_of::<Inbound>());
    let mut inbound = Inbound::new(LIMIT);
    for (frame, held) in [
        (sent(0x81, b"whole"), false),
        (sent(0x01, b"begun"), true),
        (sent(0x89, b"between"), true),
        (sent(0x80, b"ended"), false),
        (sent(0x89, b"ping")[..7].to_vec(), true),
    ] {
        let mut scratch = frame;
        let mut bytes = &mut scratch[..];
        while inbound.next(&mut bytes).expect("all of it is right").is_some() {}
        assert_eq!(inbound.held() > 0, held);
    }
}

#[test]
fn a_declared_length_costs_nothing() {
    let mut inbound = Inbound::new(usize::MAX);
    let mut scratch = [0x81, 0xff, 0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4];
    assert_eq!(inbound.next(&mut &mut scratch[..]), Ok(None));
    assert!(inbound.held() < 256, "{}", inbound.held());
}

#[test]
fn what_arrives_whole_is_lent_and_not_copied() {
    let mut scratch = [sent(0x81, b"hello"), sent(0x89, b"now")].concat();
    let mut bytes = &mut scratch[..];
    let mut inbound = Inbound::new(LIMIT);
    for _ in 0..2 {
        match inbound.next(&mut bytes).expect("it is right").expect("it is whole") {
            Item::Text(text) => assert!(matches!(text, std::borrow::Cow::Borrowed("hello"))),
            Item::Ping(bytes) => assert!(matches!(bytes, std::borrow::Cow::Borrowed(b"now"))),
            other => panic!("{other:?}"),
        }
    }
}

/// (description, bytes sent, items read)
fn table() -> Vec<(&'static str, Vec<u8>, Vec<&'static str>)> {
    let close = |code: u16, reason: &[u8]| sent(0x88, &[&code.to_be_bytes(), reason].concat());
    vec![
        ("nothing", vec![], vec![]),
        ("a text", sent(0x81, b"hi"), vec!["text hi"]),
        ("an empty text", sent(0x81, b""), vec!["text "]),
        ("two at once", [sent(0x81, b"a"), sent(0x81, b"b")].concat(), vec!["text a", "text b"]),
        ("binary", sent(0x82, b"hi"), vec!["! UnsupportedData"]),
        ("fragments", [sent(0x01, b"a"), sent(0x00, b"b"), sent(0x80, b"c")].concat(), vec!["text abc"]),
        (
            "a ping between fragments",
            [sent(0x01, b"a"), sent(0x89, b"!"), sent(0x80, b"c")].concat(),
            vec!["ping !", "text ac"],
        ),
        ("a pong", sent(0x8a, b"x"), vec!["pong x"]),
        (
            "empty continuations",
            [vec![sent(0x01, b"")], vec![sent(0x00, b""); 50], vec![sent(0x80, b"")]].concat().concat(),
            vec!["text "],
        ),
        ("a longer ping", sent(0x89, &[b'p'; 126]), vec!["! ProtocolError"]),
        ("a fragmented ping", sent(0x09, b"x"), vec!["! ProtocolError"]),
        ("an unmasked frame", frame::frame(Opcode::Text, b"hi").to_vec(), vec!["! ProtocolError"]),
        ("RSV1", sent(0xc1, b"hi"), vec!["! ProtocolError"]),
        ("RSV2", sent(0xa1, b"hi"), vec!["! ProtocolError"]),
        ("RSV3", sent(0x91, b"hi"), vec!["! ProtocolError"]),
        ("a reserved data opcode", sent(0x83, b""), vec!["! ProtocolError"]),
        ("a reserved control opcode", sent(0x8b, b""), vec!["! ProtocolError"]),
        ("a continuation of nothing", sent(0x80, b"x"), vec!["! ProtocolError"]),
        ("a text in a text", [sent(0x01, b"a"), sent(0x81, b"b")].concat(), vec!["! ProtocolError"]),
        ("5 in 16 bits", vec![0x81, 0xfe, 0, 5], vec!["! ProtocolError"]),
        ("200 in 64 bits", vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 200], vec!["! ProtocolError"]),
        ("2^63", vec![0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], vec!["! ProtocolError"]),
        ("2^63 - 1", [&[0x81, 0xff, 0x7f][..], &[0xff; 7], &KEY].concat(), vec!["! TooBig"]),
        ("over the limit", sent(0x81, &[b'x'; LIMIT + 1])[..8].to_vec(), vec!["! TooBig"]),
        (
            "fragments over the limit",
            [sent(0x01, &[b'x'; LIMIT]), sent(0x00, b""), sent(0x80, b"x")].concat(),
            vec!["! TooBig"],
        ),
        ("not UTF-8", sent(0x81, b"\xff"), vec!["! InvalidText"]),
        ("a surrogate", sent(0x81, b"\xed\xa0\x80"), vec!["! InvalidText"]),
        ("half a character", sent(0x81, b"\xe2\x82"), vec!["! InvalidText"]),
        ("a character in two", [sent(0x01, b"\xe2\x82"), sent(0x80, b"\xac")].concat(), vec!["text €"]),
        // The rest never arrives: the second byte already shows it.
        ("above U+10FFFF", sent(0x81, b"\xf4\x90\x80\x80")[..8].to_vec(), vec!["! InvalidText"]),
        ("wrong across fragments", [sent(0x01, b"\xe2"), sent(0x00, b"\x28")].concat(), vec!["! InvalidText"]),
        ("a close", close(1000, "täk".as_bytes()), vec!["close Some(1000)"]),
        ("a close without a code", sent(0x88, b""), vec!["close None"]),
        ("half a code", sent(0x88, b"\x03"), vec!["! ProtocolError"]),
        ("a reason that is not UTF-8", close(1000, b"\xff"), vec!["! InvalidText"]),
    ]
}

#[test]
fn the_standard_row_by_row() {
    for (name, bytes, expected) in table() {
        assert_eq!(read(Inbound::new(LIMIT), &[&bytes]), expected, "{name}");
        assert_eq!(read(Inbound::new(LIMIT), &single_bytes(&bytes)), expected, "{name}, byte by byte");
    }
}

#[test]
fn the_longest_ping_is_125_bytes() {
    let payload = "p".repeat(frame::MAX_CONTROL);
    assert_eq!(read(Inbound::new(LIMIT), &[&sent(0x89, payload.as_bytes())]), [format!("ping {payload}")]);
}

#[test]
fn close_codes_that_may_be_on_the_wire() {
    for code in 0..=u16::MAX {
        let allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let expected = if allowed { format!("close Some({code})") } else { "! ProtocolError".to_owned() };
        assert_eq!(read(Inbound::new(LIMIT), &[&sent(0x88, &code.to_be_bytes())]), [expected]);
    }
}

/// Frames of a valid or slightly invalid sequence: FIN and opcode, and a payload.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop_oneof![Just(0x81), Just(0x01), Just(0x00), Just(0x80), Just(0x89), Just(0x8a), Just(0x82)],
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        6 => "\\PC{0,80}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..200),
    ];
    vec((first, payload), 0..12).prop_map(|frames| frames.iter().flat_map(|(first, p)| sent(*first, p)).collect())
}

/// The items and errors must not depend on how the network splits the bytes.
fn split_anywhere(bytes: &[u8], cuts: &[usize]) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    let parts: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
    let whole = read(Inbound::with_binary(LIMIT), &[bytes]);
    assert_eq!(read(Inbound::with_binary(LIMIT), &parts), whole);
    assert_eq!(read(Inbound::with_binary(LIMIT), &single_bytes(bytes)), whole);
}

proptest! {
    #[test]
    fn the_same_is_read_however_it_is_split(bytes in frames(), cuts in vec(any::<usize>(), 0..8)) {
        split_anywhere(&bytes, &cuts);
    }

    #[test]
    fn what_another_implementation_writes_is_read(messages in vec(message(), 0..8), cuts in vec(any::<usize>(), 0..8)) {
        let mut peer = WebSocket::from_raw_socket(std::io::Cursor::new(Vec::new()), Role::Client, None);
        let mut expected = Vec::new();
        for message in messages {
            expected.push(match &message {
                Message::Text(text) => line(Item::Text(text.as_str().into())),
                Message::Binary(bytes) => line(Item::Binary(bytes.as_ref().into())),
                Message::Ping(bytes) => line(Item::Ping(bytes.as_ref().into())),
                other => panic!("{other:?}"),
            });
            peer.write(message).expect("a vector takes everything");
        }
        peer.flush().expect("a vector takes everything");
        let bytes = peer.get_ref().get_ref();
        assert_eq!(read(Inbound::with_binary(LIMIT), &[bytes]), expected);
        split_anywhere(bytes, &cuts);
    }

    #[test]
    fn what_we_write_is_read_by_another_implementation(texts in vec("\\PC{0,300}", 1..6)) {
        let bytes: Vec<u8> = texts.iter().flat_map(|text| frame::frame(Opcode::Text, text.as_bytes())).collect();
        let mut peer = WebSocket::from_raw_socket(std::io::Cursor::new(bytes), Role::Client, None);
        for text in texts {
            assert_eq!(peer.read().expect("a frame"), Message::text(text));
        }
    }
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        3 => "\\PC{0,200}".prop_map(Message::text),
        1 => vec(any::<u8>(), 0..900).prop_map(Message::binary),
        1 => vec(any::<u8>(), 0..125).prop_map(|bytes| Message::Ping(Bytes::from(bytes))),
    ]
}

#[test]
fn what_is_held_of_a_ping_is_counted() {
    let held = |bytes: usize| {
        let mut inbound = Inbound::new(LIMIT);
        let mut scratch = sent(0x89, &[b'p'; 125])[..6 + bytes].to_vec();
        assert_eq!(inbound.next(&mut &mut scratch[..]), Ok(None));
        inbound.held()
    };
    assert!(held(124) >= held(0) + 124, "{} {}", held(0), held(124));
}
