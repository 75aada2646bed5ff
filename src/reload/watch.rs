//! Which directories to watch for a set of files, and whether something happened in one of them.
//!
//! Watches directories instead of files, because editors replace a file by renaming another over it. Watches every hop
//! of a symbolic link, because Kubernetes changes a whole volume by retargeting one. The names in events are ignored,
//! and so are events that a file was opened: looking at the files causes those.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use notify::event::AccessKind;
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tracing::warn;

use crate::background;

/// How many symbolic links are followed for one path; more are taken for a loop.
const MAX_HOPS: usize = 40;

/// The set of watched directories.
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    news: Arc<Notify>,
    /// Whether the log already says that something cannot be watched.
    warned: bool,
}

impl Watch {
    /// Watches nothing yet.
    pub(super) fn new() -> Self {
        let mut watch = Self::blind();
        let told = watch.news.clone();
        let watcher = notify::recommended_watcher(move |event| {
            if is_news(&event) {
                told.notify_one();
            }
        });
        match watcher.and_then(with_thread) {
            Ok(watcher) => watch.watcher = Some(watcher),
            Err(error) => watch.complain(&error),
        }
        watch
    }

    /// Never sees anything, as when the system has no watches left.
    pub(super) fn blind() -> Self {
        Self { watcher: None, watched: BTreeSet::new(), news: Arc::default(), warned: false }
    }

    /// Resolves when something has happened since the last call.
    pub(super) async fn event(&mut self) {
        self.news.notified().await;
    }

    /// Watches the directories through which these files are reached, and no others. Returns whether any of them was
    /// not watched before, so that something may have happened there unseen.
    pub(super) async fn set(&mut self, files: Vec<PathBuf>) -> bool {
        // Finding them asks the disk for each file, and a disk may be slow. Without a thread for it, the old set stays.
        let Ok(wanted) = background::on_own_thread(move || directories(&files)).await else { return false };
        self.watch(wanted)
    }

    /// Like [`Watch::set`], but also renews the watch on a directory that was replaced by another of the same name.
    pub(super) async fn set_anew(&mut self, files: Vec<PathBuf>) {
        self.watch(BTreeSet::new());
        self.set(files).await;
    }

    fn watch(&mut self, wanted: BTreeSet<PathBuf>) -> bool {
        for gone in self.watched.difference(&wanted) {
            if let Some(watcher) = &mut self.watcher {
                // Fails if the directory is gone and its watch with it.
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
                    // Found a moment ago and gone since: whatever has replaced it needs a look.
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
            warn!(%error, "cannot watch files: changes are noticed only by polling (`limits.reload_poll`), SIGHUP and `POST /reload`");
        }
    }
}

/// Refuses a watcher without its thread: notify does not report that it could not start one.
fn with_thread(mut watcher: RecommendedWatcher) -> notify::Result<RecommendedWatcher> {
    // It asks the thread, and so fails without one.
    if watcher.configure(notify::Config::default()).is_ok() {
        return Ok(watcher);
    }
    // Dropping it would panic.
    std::mem::forget(watcher);
    Err(notify::Error::generic("cannot start a thread: raise `TasksMax=`, `pids.max` or `ulimit -u`"))
}

/// A path to the directory under which its parent does not report it. notify reports the removal of a directory through
/// its own watch and through that of its parent, forgets the watch at the first report, and warns at the second. Under
/// a path with `..`, only the first comes.
fn unshared_path(directory: &Path) -> PathBuf {
    directory.file_name().map_or_else(|| directory.to_owned(), |name| directory.join("..").join(name))
}

fn is_news(event: &notify::Result<Event>) -> bool {
    !matches!(event, Ok(Event { kind: EventKind::Access(AccessKind::Open(_)), .. }))
}

/// The directories in which something would have to happen for one of these paths to lead elsewhere.
fn directories(files: &[PathBuf]) -> BTreeSet<PathBuf> {
    let (mut found, mut followed) = (BTreeSet::new(), HashSet::new());
    for file in files {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        // All files of a directory that are not links are reached in the same way, so one of them is enough.
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
    // A path that does not exist yet will appear in its closest existing ancestor.
    found.extend(path.ancestors().skip(1).find(|above| above.is_dir()).map(Path::to_owned));
}

/// The first part of a path that is a symbolic link, and the whole path with that link resolved.
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
