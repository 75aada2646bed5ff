//! JSONTestSuite: each file is published to a topic that takes any JSON.

use std::fs;

use crate::rig::Rig;
use crate::suites::suite;

/// Accepted by others, refused here on purpose: which of the two members counts would be anybody's guess.
const DUPLICATE_KEYS: [&str; 2] = ["y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"];
/// The files of undefined outcome (`i_`) that are accepted: numbers that are too small or too precise for most readers,
/// whose text is forwarded unchanged. The other 30 are refused: numbers beyond the range of a double, lone surrogates,
/// invalid UTF-8, a byte order mark, a depth of 500.
const TAKEN: &[&str] = &[
    "i_number_double_huge_neg_exp.json",
    "i_number_real_underflow.json",
    "i_number_too_big_neg_int.json",
    "i_number_too_big_pos_int.json",
    "i_number_very_big_negative_int.json",
];

#[tokio::test]
async fn json_test_suite_is_taken_and_refused_as_it_says() {
    let Some(folder) = suite("json/test_parsing") else { return };
    let rig = Rig::start(|_| {}).await;
    let mut files: Vec<_> = fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path()).collect();
    files.sort();
    let (mut taken, mut refused, mut either) = (0, 0, Vec::new());
    for file in files {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let body = fs::read(&file).expect("it was listed");
        let status = publish(&rig, &body).await;
        match (&name[..2], status) {
            ("y_", 400) if DUPLICATE_KEYS.contains(&name.as_str()) => {}
            ("y_", 200) => taken += 1,
            ("n_", 400) => refused += 1,
            ("i_", 200) => either.push(name),
            ("i_", 400) => {}
            _ => panic!("{name}: {status}"),
        }
    }
    assert_eq!((taken, refused), (93, 188));
    assert_eq!(either, TAKEN);
    assert_eq!(rig.payloads().await.len(), taken + either.len(), "what was refused is not in the log");
}

async fn publish(rig: &Rig, body: &[u8]) -> u16 {
    let mut peer = rig.connect().await;
    let head = "POST /publish/cats HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Authorization: Bearer secret-all\r\n";
    peer.send(format!("{head}Content-Length: {}\r\n\r\n", body.len())).await;
    peer.send(body).await;
    peer.answer().await.expect("an answer").status
}
