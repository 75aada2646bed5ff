//! The program itself, started as a process of its own.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A temporary directory, which is removed when it is dropped.
pub struct Place(pub PathBuf);

impl Place {
    /// Creates it; the name is for people.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("relay-{name}-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir_all(&path).expect("a directory");
        Self(fs::canonicalize(path).expect("it is there"))
    }

    /// Writes a file into it, and creates the directories above the file.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("it is in a directory")).expect("a directory");
        fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The running program.
pub struct Relay {
    child: Child,
    log: Box<dyn BufRead + Send>,
}

impl Relay {
    /// Starts it on a configuration.
    pub fn start(config: &Path) -> Self {
        Self::start_as(Command::new(env!("CARGO_BIN_EXE_relay")), config)
    }

    /// Starts it through this command.
    pub fn start_as(mut command: Command, config: &Path) -> Self {
        let mut child = command
            .args(["run", "--config"])
            .arg(config)
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let log = Box::new(BufReader::new(child.stderr.take().expect("a pipe")));
        Self { child, log }
    }

    /// Reads the log up to a line with this text, and returns that line.
    pub fn wait_for(&mut self, text: &str) -> String {
        self.wait_until(text, |line| line.contains(text))
    }

    /// Reads the log up to a line for which `is` holds, and returns that line.
    pub fn wait_until(&mut self, wanted: &str, is: impl Fn(&str) -> bool) -> String {
        let mut seen = String::new();
        loop {
            let before = seen.len();
            assert_ne!(self.log.read_line(&mut seen).expect("text"), 0, "no `{wanted}` in\n{seen}");
            if is(&seen[before..]) {
                return seen[before..].to_owned();
            }
        }
    }

    /// The next line of the log.
    pub fn line(&mut self) -> String {
        self.wait_until("line", |_| true)
    }

    /// Reads the log up to the line that says where it listens; returns the public and the admin address.
    pub fn addresses(&mut self) -> (String, String) {
        let [public, admin, _] = self.announced();
        (public, admin)
    }

    /// The same addresses, and the epoch of its log.
    pub fn announced(&mut self) -> [String; 3] {
        let line = self.wait_for("relay is running");
        ["listen=", "admin=", "epoch="].map(|name| {
            let from = line.find(name).map_or(line.len(), |at| at + name.len());
            line[from..].split_whitespace().next().unwrap_or_default().trim_matches('"').to_owned()
        })
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A field of its `/proc/PID/status`, in KiB or as a count.
    pub fn status(&self, field: &str) -> usize {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it lives");
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).expect(field);
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Discards what it logs from now on; a full pipe would block it.
    pub fn ignore_log(&mut self) {
        let mut log = std::mem::replace(&mut self.log, Box::new(std::io::empty()));
        #[expect(clippy::disallowed_methods, reason = "it waits for the pipe and ends with it")]
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill").success());
    }

    /// Waits for its end without reading its log. Returns its exit code, or `None` if it still runs after `within`.
    pub async fn exit_unread(&mut self, within: Duration) -> Option<i32> {
        let ended = async {
            loop {
                if let Some(status) = self.child.try_wait().expect("a child") {
                    return status.code();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(within, ended).await.unwrap_or(None)
    }

    /// Waits for its end; returns its exit code and the rest of its log.
    pub fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).expect("text");
        (self.child.wait().expect("an end").code(), rest)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}
