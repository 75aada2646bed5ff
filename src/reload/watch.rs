//! Which directories to watch for a set of files, and that something happened in one of them.
//!
//! Directories and not files, for editors replace a file by renaming another over it. Every hop of a link, for
//! Kubernetes changes a whole volume by retargeting one. Names of events are not looked at, and of their kinds only one:
//! that a file was opened is no news, for it is what looking at the files does.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use notify::event::AccessKind;
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tracing::warn;

use crate::background;

/// Links that are followed for one path; more are a loop.
const MAX_HOPS: usize = 40;

/// The watched directories.
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    news: Arc<Notify>,
    /// That something cannot be watched is said once.
    warned: bool,
}

impl Watch {
    /// Watches nothing yet.
    pub(super) fn new() -> Self {
        let mut watch = Self::blind();
        let told = watch.news.clone();
        // notify works on a thread. Where there is none it does not say so, and panics once it is dropped.
        let thread = std::thread::Builder::new().spawn(|| ());
        let watcher = thread.map_err(notify::Error::io).and_then(|_| {
            notify::recommended_watcher(move |event| {
                if is_news(&event) {
                    told.notify_one();
                }
            })
        });
        match watcher {
            Ok(watcher) => watch.watcher = Some(watcher),
            Err(error) => watch.complain(&error),
        }
        watch
    }

    /// Never sees anything, as where the system has no watches left.
    pub(super) fn blind() -> Self {
        Self { watcher: None, watched: BTreeSet::new(), news: Arc::default(), warned: false }
    }

    /// Something happened since the last call.
    pub(super) async fn event(&mut self) {
        self.news.notified().await;
    }

    /// Watches what these files are reached through, and nothing else; whether anything is watched that was not before,
    /// so that something may have happened there unseen.
    pub(super) async fn set(&mut self, files: Vec<PathBuf>) -> bool {
        // It asks the disk for each file, and a disk may be far away. Where there is no thread, what is watched stays.
        let Ok(wanted) = background::on_own_thread(move || directories(&files)).await else { return false };
        self.watch(wanted)
    }

    /// The same, also where a directory was replaced by another of its name.
    pub(super) async fn set_anew(&mut self, files: Vec<PathBuf>) {
        self.watch(BTreeSet::new());
        self.set(files).await;
    }

    fn watch(&mut self, wanted: BTreeSet<PathBuf>) -> bool {
        for gone in self.watched.difference(&wanted) {
            if let Some(watcher) = &mut self.watcher {
                // It may have gone by itself.
                let _ = watcher.unwatch(&unshared_path(gone));
            }
        }
        let new: Vec<PathBuf> = wanted.difference(&self.watched).cloned().collect();
        self.watched = wanted;
        let mut grown = false;
        for directory in new {
            let watched =
                self.watcher.as_mut().map(|w| w.watch(&unshared_path(&directory), RecursiveMode::NonRecursive));
            match watched {
                Some(Ok(())) => grown = true,
                Some(Err(mut error)) => {
                    self.watched.remove(&directory);
                    error.paths = vec![directory];
                    // Found a moment ago, and gone since: what has come in its place is to be looked for.
                    let is_gone = matches!(error.kind, ErrorKind::PathNotFound);
                    grown |= is_gone;
                    if !is_gone {
                        self.complain(&error);
                    }
                }
                None => {}
            }
        }
        grown
    }

    fn complain(&mut self, error: &notify::Error) {
        if !std::mem::replace(&mut self.warned, true) {
            warn!(%error, "cannot watch files: changes are found only every `limits.reload_poll`, by SIGHUP and by `POST /reload`");
        }
    }
}

/// The directory by a path of which its parent does not tell. notify reports the removal of a directory both by its own
/// watch and by its parent's; it forgets the watch at the first and warns at the second. Under a path with `..` only the
/// first comes.
fn unshared_path(directory: &Path) -> PathBuf {
    directory.file_name().map_or_else(|| directory.to_owned(), |name| directory.join("..").join(name))
}

fn is_news(event: &notify::Result<Event>) -> bool {
    !matches!(event, Ok(Event { kind: EventKind::Access(AccessKind::Open(_)), .. }))
}

/// The directories in which something would have to happen for one of the paths to lead elsewhere.
fn directories(files: &[PathBuf]) -> BTreeSet<PathBuf> {
    let (mut found, mut followed) = (BTreeSet::new(), HashSet::new());
    for file in files {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        // All the files of a directory that are no links are reached in the same way.
        let is_plain = fs::symlink_metadata(&file).is_ok_and(|metadata| metadata.is_file());
        if !is_plain || followed.insert(file.parent().map(Path::to_owned)) {
            follow(file, &mut found);
        }
    }
    found
}

fn follow(mut path: PathBuf, found: &mut BTreeSet<PathBuf>) {
    for _ in 0..MAX_HOPS {
        match first_link(&path) {
            Some((link, target)) => {
                found.extend(link.parent().map(Path::to_owned));
                path = target;
            }
            None => break,
        }
    }
    if fs::metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
        found.insert(path.clone());
    }
    // What is not there yet will appear in the first directory above it that is.
    found.extend(path.ancestors().skip(1).find(|above| above.is_dir()).map(Path::to_owned));
}

/// The first part of a path that is a link, and where the whole path leads by it.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut above = PathBuf::new();
    let mut parts = path.components();
    while let Some(part) = parts.next() {
        if part == Component::ParentDir {
            above.pop();
            continue;
        }
        above.push(part);
        if let Ok(target) = fs::read_link(&above) {
            let target = above.parent().unwrap_or(Path::new("/")).join(target).join(parts.as_path());
            return Some((above, target));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::directories;

    #[test]
    fn every_hop_of_a_link_is_watched() {
        let root = std::env::temp_dir().join(format!("relay-watch-{}", uuid::Uuid::new_v4()));
        // As Kubernetes mounts a ConfigMap: relay.toml → ..data/relay.toml, ..data → ..2026
        fs::create_dir_all(root.join("etc/..2026")).expect("a directory");
        fs::write(root.join("etc/..2026/relay.toml"), "").expect("a file");
        symlink("..2026", root.join("etc/..data")).expect("a link");
        symlink("..data/relay.toml", root.join("etc/relay.toml")).expect("a link");
        let root = fs::canonicalize(&root).expect("it is there");
        let directories = |path: &str| directories(&[root.join(path)]);
        let found = directories("etc/relay.toml");
        let wanted: BTreeSet<PathBuf> = [root.join("etc"), root.join("etc/..2026")].into();
        assert_eq!(found, wanted);
        assert_eq!(directories("etc/no/such"), [root.join("etc")].into());
        symlink("b", root.join("a")).expect("a link");
        symlink("a", root.join("b")).expect("a link");
        assert!(directories("a/x").contains(&root), "a loop ends");
        fs::remove_dir_all(&root).expect("it can be removed");
    }
}
