//! Checks of this machine: the folder of the data, the disk below it, and the limit on open files.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use indicatif::BinaryBytes;
use klines_bybit::config::{BybitConfig, SymbolChoice};
use klines_bybit::topic;
use klines_config::Config;
use klines_config::consumers::{Component, Consumer};
use klines_config::native::Native;
use klines_domain::symbol::Category;
use klines_store::file;
use klines_system::disk_use::measure;
use rustix::fs::{Access, access, statvfs};
use rustix::process::{Resource, getrlimit};

use super::finding::Finding;
use crate::app::exchange;

/// With less than this, a run cannot write its files for long.
const LEAST_FREE: u64 = 256 << 20;
/// Open files that a run needs for itself: the program, the store, logs, events, the admin socket and the metrics.
const OWN_FILES: u64 = 96;
/// Open files of a consumer besides those of its requests.
const CONSUMER_FILES: u64 = 8;
/// Symbols that a category has at most where the configuration names none.
const ALL_SYMBOLS: usize = 1_000;
/// Bytes of a long name of a symbol.
const NAME: usize = 16;

/// Checks the folder, the disk and the limit on open files.
pub(super) fn check(config: &Config) -> [Finding; 3] {
    [data_dir(&config.data_dir), disk(config), open_files(getrlimit(Resource::Nofile).maximum, needed_files(config))]
}

fn data_dir(folder: &Path) -> Finding {
    let (name, shown) = ("data_dir", folder.display());
    let may_write = |folder: &Path| access(folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK);
    let fix = "give the folder to the user who runs klines, or set data_dir";
    let mode = match fs::metadata(folder) {
        Ok(found) if !found.is_dir() => return Finding::problem(name, format!("{shown} is not a folder"), fix),
        Ok(found) => found.permissions().mode() & 0o777,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = existing(folder);
            return match may_write(parent) {
                Ok(()) => Finding::ok(name, format!("{shown} does not exist yet; the first run creates it")),
                Err(error) => {
                    let found = format!("{shown} cannot be created in {}: {error}", parent.display());
                    Finding::problem(name, found, fix)
                }
            };
        }
        Err(error) => return Finding::problem(name, format!("{shown}: {error}"), fix),
    };
    match may_write(folder) {
        Err(error) => Finding::problem(name, format!("{shown} cannot be written: {error}"), fix),
        Ok(()) if mode & 0o022 != 0 => {
            let found = format!("other users may write in {shown} (mode {mode:04o})");
            Finding::warning(name, found, format!("run `chmod go-w {shown}`"))
        }
        Ok(()) => Finding::ok(name, format!("{shown} can be written (mode {mode:04o})")),
    }
}

/// Returns the innermost folder on the way to `folder` that exists.
fn existing(folder: &Path) -> &Path {
    let found = folder.ancestors().find(|path| path.exists());
    found.unwrap_or_else(|| Path::new(if folder.is_absolute() { "/" } else { "." }))
}

fn disk(config: &Config) -> Finding {
    let folder = existing(&config.data_dir);
    let free = match statvfs(folder) {
        Ok(found) => found.f_bavail.saturating_mul(found.f_frsize),
        Err(error) => {
            return Finding::warning("disk", format!("{}: {error}", folder.display()), "check the file system");
        }
    };
    let used = if config.data_dir.exists() { measure(&config.data_dir, u64::MAX).bytes } else { 0 };
    let rest = config.data_dir_max.saturating_sub(used);
    let store = fs::metadata(file::path_in(&config.data_dir)).map_or(0, |found| found.len());
    let growth = if config.store.enabled { config.store.max_size.saturating_sub(store).min(rest) } else { 0 };
    room(free, used, growth)
}

/// Judges the free bytes of a disk for a folder with `used` bytes whose store can grow by `growth`.
fn room(free: u64, used: u64, growth: u64) -> Finding {
    let name = "disk";
    let [free_text, used_text, growth_text] = [free, used, growth].map(|bytes| BinaryBytes(bytes).to_string());
    let found = format!("{free_text} are free, data_dir uses {used_text}, the store may grow by {growth_text}");
    if free < LEAST_FREE {
        Finding::problem(name, found, "free space on the disk of data_dir, or move data_dir")
    } else if free < growth.saturating_add(LEAST_FREE) {
        Finding::warning(
            name,
            found,
            "lower max_size in [store] or data_dir_max, or free space on the disk of data_dir",
        )
    } else {
        Finding::ok(name, found)
    }
}

/// Judges the limit on open files, to which the program raises its own.
fn open_files(limit: Option<u64>, needed: u64) -> Finding {
    let name = "open files";
    match limit {
        Some(limit) if limit < needed => {
            let found = format!("the limit is {limit}, and this configuration may need {needed}");
            let fix = "raise the hard limit (`ulimit -Hn`, LimitNOFILE of systemd), or lower websocket.connections";
            Finding::problem(name, found, fix)
        }
        Some(limit) => Finding::ok(name, format!("the limit is {limit}, this configuration may need {needed}")),
        None => Finding::ok(name, format!("there is no limit, this configuration may need {needed}")),
    }
}

/// Returns how many files and connections a run may have open at the same time.
fn needed_files(config: &Config) -> u64 {
    let feeds = config.exchange.feeds.get().get() as u64;
    let exchange = connections(&exchange::wanted(config)).saturating_mul(feeds);
    let of = |consumer: &Consumer| match &consumer.component {
        Component::Native(Native::WebSocket) => u64::from(config.websocket.connections),
        Component::Native(Native::Redis) => CONSUMER_FILES,
        _ => CONSUMER_FILES + consumer.limits.http_requests as u64,
    };
    OWN_FILES + exchange + config.consumers.iter().map(of).sum::<u64>()
}

/// Returns the connections of one feed of all categories.
fn connections(wanted: &BybitConfig) -> u64 {
    let sets = |category: Category, symbols: &SymbolChoice| match symbols {
        SymbolChoice::Listed(listed) => topic::pack(listed, |name| name).len(),
        SymbolChoice::All(all) => {
            let symbols = all.limit.unwrap_or(ALL_SYMBOLS);
            (symbols * (topic::trades(&category).len() + NAME)).div_ceil(topic::MAX_ARGS_CHARS)
        }
    };
    wanted.categories.iter().map(|of| sets(of.category, &of.symbols) as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn a_disk_needs_room_for_what_the_store_may_grow_by() {
        let state = |free, growth| room(free, 0, growth).state;
        assert_eq!(state(8 << 30, 4 << 30), State::Ok);
        assert_eq!(state(4 << 30, 4 << 30), State::Warning);
        assert_eq!(state(200 << 20, 0), State::Problem);
        let found = room(3 << 30, 1 << 20, 8 << 30);
        assert_eq!(found.text, "3.00 GiB are free, data_dir uses 1.00 MiB, the store may grow by 8.00 GiB");
        assert!(found.fix.contains("max_size in [store]"));
    }

    #[test]
    fn the_limit_on_open_files_is_compared_with_what_may_be_needed() {
        assert_eq!(open_files(Some(1_024), 500).state, State::Ok);
        assert_eq!(open_files(None, 500).state, State::Ok);
        let found = open_files(Some(256), 500);
        assert_eq!(
            (found.state, found.text.as_str()),
            (State::Problem, "the limit is 256, and this configuration may need 500")
        );
    }

    #[test]
    fn a_folder_has_to_be_writable_by_its_owner_only() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("data");
        assert!(data_dir(&folder).text.ends_with("does not exist yet; the first run creates it"));
        fs::create_dir(&folder).unwrap();
        let with = |mode| {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            data_dir(&folder)
        };
        assert_eq!(with(0o700).state, State::Ok);
        let open = with(0o722);
        assert_eq!((open.state, open.fix), (State::Warning, format!("run `chmod go-w {}`", folder.display())));
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(data_dir(&file).text.ends_with("is not a folder"));
    }
}
