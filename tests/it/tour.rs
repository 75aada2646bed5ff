//! Documents replayed against a running server: what a person would type into three terminals.
//!
//! A `sh` block starts the server. `console` blocks hold commands after `$` and what they print, `websocket` blocks
//! what is sent and received and how the socket is closed, `log` blocks what the server logs. `…` stands for anything.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::pattern::{matches, normal};
use crate::program::{Place, Relay};
use crate::subscriber::Subscriber;

/// The addresses in documents.
const PUBLIC: &str = "127.0.0.1:8000";
const ADMIN: &str = "127.0.0.1:8001";
const SOCKET: &str = "relay.sock";
/// The epoch of the ids in documents.
const EPOCH: &str = "9f3c21aa";

/// A fenced block: its language and its text.
pub struct Block {
    pub language: String,
    pub text: String,
}

/// The fenced blocks of a document, in order.
pub fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for line in document.lines() {
        if let Some(language) = line.strip_prefix("```") {
            inside = !inside;
            if inside {
                blocks.push(Block { language: language.to_owned(), text: String::new() });
            }
        } else if inside {
            let block = blocks.last_mut().expect("it has begun");
            block.text += line;
            block.text.push('\n');
        }
    }
    assert!(!inside, "a fence is not closed");
    blocks
}

/// Whether a program is installed; says so if it is not.
pub fn has(program: &str, arguments: &[&str]) -> bool {
    let there = Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("skipped: `{program} {}` is not there", arguments.join(" "));
    }
    there
}

/// Copies a directory, file by file.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory to copy") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}

/// A shell in which the documents' commands find the program.
pub fn shell(directory: &Path) -> Command {
    let relay = Path::new(env!("CARGO_BIN_EXE_relay")).parent().expect("a directory");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("bash");
    command.current_dir(directory).env("PATH", format!("{}:{path}", relay.display())).env("NO_COLOR", "1");
    command
}

/// A replay of a document: the server, and a terminal with a WebSocket.
pub struct Tour {
    place: Place,
    relay: Relay,
    public: String,
    admin: String,
    epoch: String,
    socket: Option<Subscriber>,
    /// Earlier sockets stay open, as they would in other terminals.
    earlier: Vec<Subscriber>,
    printed: String,
}

impl Tour {
    /// Starts the server of a copied set-up as the commands of a `sh` block say, but on addresses of its own.
    pub fn begin(place: Place, start: &str) -> Self {
        let toml = fs::read_to_string(place.0.join("relay.toml")).expect("relay.toml");
        let socket = place.0.join(SOCKET);
        let toml = toml.replace(PUBLIC, "127.0.0.1:0").replace(ADMIN, "127.0.0.1:0");
        let toml = toml.replace(&format!("unix:/tmp/{SOCKET}"), &format!("unix:{}", socket.display()));
        // A set-up with default addresses gets its own at the end of the file, so that its lines keep their numbers.
        let own = "\n[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n";
        let toml = if toml.contains("[server]") { toml } else { toml + own };
        place.write("relay.toml", &toml);
        let mut command = shell(&place.0);
        // The program replaces the shell, so that ending one ends the other.
        command.args(["-c", &start.replace("\nrelay\n", "\nexec relay\n")]);
        let mut relay = Relay::start_as(command, Path::new("relay.toml"));
        let [public, admin, epoch] = relay.announced();
        // A log in JSON is not parsed for the epoch: there, ids are compared by their number alone, as everywhere.
        let epoch = if epoch.is_empty() { EPOCH.to_owned() } else { epoch };
        Self { place, relay, public, admin, epoch, socket: None, earlier: Vec::new(), printed: String::new() }
    }

    /// Replays one block; returns whether there was something to do.
    pub async fn replay(&mut self, block: &Block) -> bool {
        match block.language.as_str() {
            "console" => self.console(&block.text),
            "websocket" => self.websocket(&block.text).await,
            "log" => self.log(&block.text),
            // How the server is started; what only a browser, a proxy, a supervisor or Prometheus runs; and files.
            "sh" | "js" | "ini" | "nginx" | "caddyfile" | "promql" | "yaml" | "toml" | "json" => return false,
            other => panic!("nobody replays a block of `{other}`"),
        }
        true
    }

    /// The document's text with the addresses and the epoch of this server.
    fn here(&self, text: &str) -> String {
        let socket = self.place.0.join(SOCKET).display().to_string();
        let text = text.replace(PUBLIC, &self.public).replace(ADMIN, &self.admin).replace(EPOCH, &self.epoch);
        text.replace(&format!("/tmp/{SOCKET}"), &socket)
    }

    /// Runs the commands after `$` in one shell, and compares what each prints.
    fn console(&mut self, text: &str) {
        let text = self.here(text);
        let mut commands: Vec<(&str, String)> = Vec::new();
        for line in text.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => commands.push((command, String::new())),
                None => {
                    let (_, expected) = commands.last_mut().expect("a command before its output");
                    expected.push_str(line);
                    expected.push('\n');
                }
            }
        }
        let script: String = commands.iter().map(|(command, _)| format!("{command}\nprintf '\\n<end>\\n'\n")).collect();
        let output = shell(&self.place.0).args(["-c", &format!("exec 2>&1\n{script}")]).output().expect("bash");
        self.printed = String::from_utf8(output.stdout).expect("UTF-8");
        let mut printed = self.printed.split("\n<end>\n");
        for (command, expected) in commands {
            let printed = printed.next().expect("an output for each");
            let ok = matches(expected.trim_end(), printed.trim_end());
            assert!(ok, "$ {command}\nthe document says:\n{expected}\nit is:\n{printed}");
        }
    }

    /// `#` opens a socket, `offering` a subprotocol if it says so; `>` sends, `<` compares what arrives, `x` how it is
    /// closed.
    async fn websocket(&mut self, text: &str) {
        for line in text.lines() {
            let (mark, rest) = line.split_at(2);
            match mark {
                "# " => {
                    let (url, protocol) = rest.split_once(" offering ").unwrap_or((rest, ""));
                    let url = self.here(url);
                    // The registration has another id here.
                    let url = if normal(&url).ends_with("UUID") { self.registered() } else { url };
                    let headers = [("sec-websocket-protocol", protocol)];
                    let headers = if protocol.is_empty() { &[][..] } else { &headers[..] };
                    self.earlier.extend(self.socket.replace(Subscriber::connect(&url, headers).await));
                }
                "> " => {
                    let text = self.here(rest);
                    self.socket.as_mut().expect("a socket").send(text).await;
                }
                "< " => {
                    let came = self.socket.as_mut().expect("a socket").text().await;
                    assert!(matches(rest, &came), "the document says:\n{rest}\nit is:\n{came}");
                }
                "x " => {
                    let (code, reason) = self.socket.as_mut().expect("a socket").closed().await;
                    assert_eq!(rest, format!("{code} {reason}"));
                }
                _ => panic!("a line that is nothing: {line}"),
            }
        }
    }

    fn registered(&self) -> String {
        let from = self.printed.find("ws://").expect("a URL was printed");
        self.printed[from..].split('"').next().expect("it ends").to_owned()
    }

    /// The lines must follow one another in the server's log; others may precede the first.
    fn log(&mut self, text: &str) {
        let text = self.here(text);
        let mut lines = text.lines();
        let first = lines.next().expect("a line");
        self.relay.wait_until(first, |line| matches(&format!("…{first}"), line.trim_end()));
        for expected in lines {
            let line = self.relay.line();
            assert!(matches(expected, line.trim_end()), "the document says:\n{expected}\nit is:\n{line}");
        }
    }
}
