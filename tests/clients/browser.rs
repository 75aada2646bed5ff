//! Debian's chromium, headless: `new EventSource` and `new WebSocket` as a page uses them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use serde_json::Value;

use crate::server::{Link, Place, Running, free_address, get, post, publish, relay_toml, start, wait_until};

/// Reads the same topics with EventSource and with WebSocket, and reports what it has received.
const PAGE: &str = r#"<!doctype html><script>
const relay = location.search.slice(1);
const got = { es: [], ws: [], gaps: [], opened: { es: 0, ws: 0 } };
let reports = 0;
const report = () => fetch("/report", { method: "POST", body: JSON.stringify({ ...got, number: ++reports }) });

const source = new EventSource(`http://${relay}/events?topic=t.a&topic=t.b&after=earliest`);
source.onopen = () => { got.opened.es++; report(); };
source.onmessage = event => { got.es.push(JSON.parse(event.data).data); report(); };
source.addEventListener("gap", event => { got.gaps.push("es " + JSON.parse(event.data).reason); report(); });

let last = "earliest";
function connect() {
  const socket = new WebSocket(`ws://${relay}/ws`);
  socket.onopen = () => {
    got.opened.ws++;
    socket.send(JSON.stringify({ type: "subscribe", topics: ["t.*"], after: last }));
    report();
  };
  socket.onmessage = ({ data }) => {
    const told = JSON.parse(data);
    if (told.type === "message") { last = told.id; got.ws.push(told.data); }
    if (told.type === "synced") last = told.position;
    if (told.type === "gap") got.gaps.push("ws " + told.reason);
    report();
  };
  socket.onclose = () => setTimeout(connect, 100);
}
connect();
</script>"#;

/// Serves the files of a directory, and keeps the latest report.
struct Site {
    address: SocketAddr,
    report: Arc<Mutex<Value>>,
}

impl Site {
    fn serve(directory: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let report = Arc::new(Mutex::new(Value::Null));
        let (kept, directory) = (report.clone(), directory.to_owned());
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (kept, directory) = (kept.clone(), directory.clone());
                thread::spawn(move || answer(socket, &directory, &kept));
            }
        });
        Self { address, report }
    }

    fn report(&self) -> Value {
        self.report.lock().expect("nobody panics").clone()
    }
}

fn answer(socket: TcpStream, directory: &Path, kept: &Mutex<Value>) -> Option<()> {
    let mut reader = BufReader::new(socket.try_clone().ok()?);
    let (mut request, mut length) = (String::new(), 0);
    reader.read_line(&mut request).ok()?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let target = request.split(' ').nth(1)?.split('?').next()?;
    let mut page = Vec::new();
    if target == "/report" {
        let report: Value = serde_json::from_slice(&body).ok()?;
        let mut kept = kept.lock().ok()?;
        // Reports may arrive out of order.
        if report["number"].as_u64() > kept["number"].as_u64() {
            *kept = report;
        }
    } else {
        page = fs::read(directory.join(target.trim_start_matches('/')).join("index.html")).ok()?;
    }
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length";
    let mut socket = socket;
    socket.write_all(format!("{head}: {}\r\n\r\n", page.len()).as_bytes()).ok()?;
    socket.write_all(&page).ok()
}

/// A browser in a process group of its own, so that everything it starts ends with its test.
struct Browser(Running);

impl Browser {
    fn open(place: &Place, url: &str) -> Self {
        Self(Running(command(place, url).process_group(0).spawn().expect("chromium starts")))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.0.0);
        kill_process_group(group, Signal::KILL).expect("the browser and what it started");
        self.0.kill();
        wait_until("the browser's processes are gone", || test_kill_process_group(group).is_err().then_some(()));
    }
}

fn command(place: &Place, url: &str) -> Command {
    let mut command = Command::new("chromium");
    let profile = format!("--user-data-dir={}", place.path().join("profile").display());
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-dev-shm-usage", "--remote-debugging-port=0"])
        .arg(profile)
        .arg(url)
        .env("HOME", place.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn numbers(range: std::ops::RangeInclusive<u32>) -> Value {
    range.collect::<Vec<_>>().into()
}

/// A running browser that reads from a server through a link that can be cut.
struct Scene {
    server: SocketAddr,
    relay: Running,
    link: Link,
    site: Site,
    _browser: Browser,
    /// Declared after the browser, so that it is dropped later: the browser writes into it until its end.
    place: Place,
}

impl Scene {
    fn begin(name: &str) -> Self {
        let place = Place::new(name);
        place.write("site/index.html", PAGE);
        let site = Site::serve(&place.path().join("site"));
        let server = free_address();
        let config = place.write("relay.toml", &relay_toml(server, &format!("http://{}", site.address)));
        let relay = start(&config);
        let link = Link::to(server);
        publish(server, "t.a", 1..=3);
        let url = format!("http://{}/?{}", site.address, link.address);
        let browser = Browser::open(&place, &url);
        let scene = Self { server, relay, link, site, _browser: browser, place };
        scene.wait_for("what was retained", 1..=3);
        scene
    }

    fn wait_for(&self, what: &str, range: std::ops::RangeInclusive<u32>) {
        let expected = numbers(range);
        let mut report = Value::Null;
        let done = |report: &Value| report["es"] == expected && report["ws"] == expected;
        wait_until(&format!("{what}: {expected}"), || {
            let now = self.site.report();
            if now != report {
                report = now;
                for list in ["es", "ws"].map(|list| report[list].as_array().cloned().unwrap_or_default()) {
                    assert!(list.len() <= expected.as_array().map_or(0, Vec::len), "too much: {report}");
                }
            }
            done(&report).then_some(())
        });
    }
}

/// The connection breaks in the middle of a stream, several times, while publishing goes on.
pub fn loses_the_connection() {
    let scene = Scene::begin("browser-link");
    publish(scene.server, "t.b", 4..=6);
    scene.wait_for("live", 1..=6);
    let mut next = 7;
    for round in 0..3 {
        publish(scene.server, "t.a", next..=next + 20);
        scene.link.cut();
        publish(scene.server, "t.b", next + 21..=next + 25);
        thread::sleep(std::time::Duration::from_millis(200));
        scene.link.mend();
        publish(scene.server, "t.a", next + 26..=next + 30);
        next += 31;
        scene.wait_for(&format!("round {round}"), 1..=next - 1);
    }
    let report = scene.site.report();
    assert_eq!(report["gaps"], Value::Array(vec![]), "nothing was missing: {report}");
    assert!(report["opened"]["es"].as_u64() > Some(2) && report["opened"]["ws"].as_u64() > Some(2), "{report}");
}

/// The server is killed in the middle of a stream. Its log is lost with it, and the next server says so.
pub fn loses_the_server() {
    let mut scene = Scene::begin("browser-server");
    publish(scene.server, "t.a", 4..=9);
    scene.wait_for("live", 1..=9);
    scene.relay.kill();
    scene.relay = start(&scene.place.path().join("relay.toml"));
    publish(scene.server, "t.b", 10..=12);
    scene.wait_for("behind the restart", 1..=12);
    let report = scene.site.report();
    let mut gaps: Vec<&str> = report["gaps"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    gaps.sort_unstable();
    assert_eq!(gaps, ["es epoch", "es epoch", "ws epoch"], "one for each subscription");
    publish(scene.server, "t.a", 13..=14);
    scene.wait_for("live again", 1..=14);
}

/// The dashboard example, checked by the text that the browser displays.
pub fn dashboard() {
    let place = Place::new("dashboard");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/dashboard");
    let site = Site::serve(&example);
    let server = free_address();
    let toml = fs::read_to_string(example.join("relay.toml")).expect("the example's configuration");
    assert!(toml.contains("\"127.0.0.1:8000\"") && toml.contains("http://127.0.0.1:8080"));
    let toml = toml.replace("127.0.0.1:8000", &server.to_string());
    let config = place.write("relay.toml", &toml.replace("127.0.0.1:8080", &site.address.to_string()));
    let schema = fs::read_to_string(example.join("schemas/reading.json")).expect("the example's schema");
    place.write("schemas/reading.json", &schema);
    let mut relay = start(&config);
    let reading = |room: &str, celsius: f32| {
        let (status, answer) =
            post(server, &format!("/publish/readings.{room}"), &format!("{{\"celsius\":{celsius}}}"));
        assert_eq!(status, 200, "{answer}");
    };
    reading("kitchen", 20.5);
    let url = format!("http://{}/?relay=http://{server}", site.address);
    let _browser = Browser::open(&place, &url);
    let page = wait_until("the browser listens", || {
        let port = fs::read_to_string(place.path().join("profile/DevToolsActivePort")).ok()?;
        let port: u16 = port.lines().next()?.parse().ok()?;
        let list = get(([127, 0, 0, 1], port).into(), "/json/list").1;
        let list: Value = serde_json::from_str(&list).ok()?;
        let page = list.as_array()?.iter().find(|page| page["url"].as_str().is_some_and(|u| u.contains("relay=")))?;
        page["webSocketDebuggerUrl"].as_str().map(str::to_owned)
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let shows = |what: &str| {
        wait_until(&format!("the page shows {what}"), || {
            let text = runtime.block_on(text_of(&page))?;
            text.contains(what).then_some(())
        });
    };
    shows("20.5");
    shows("live");
    relay.kill();
    shows("reconnecting");
    let _relay = start(&config);
    reading("cellar", 11.0);
    shows("11.0");
    shows("epoch: readings of readings.* after");
    reading("kitchen", 21.5);
    shows("21.5");
}

/// The text of a page, read through the DevTools protocol.
async fn text_of(page: &str) -> Option<String> {
    use futures::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    let (mut socket, _) = tokio_tungstenite::connect_async(page).await.ok()?;
    let command = r#"{"id":1,"method":"Runtime.evaluate","params":{"expression":"document.body.innerText"}}"#;
    socket.send(Message::text(command)).await.ok()?;
    let answer: Value = serde_json::from_str(socket.next().await?.ok()?.to_text().ok()?).ok()?;
    answer["result"]["result"]["value"].as_str().map(str::to_owned)
}
