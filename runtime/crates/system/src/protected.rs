//! Places on this machine that a folder granted to a component must not reach, and the judgement of one folder.
//!
//! Looks at the file system each time that it is asked, because links and folders change. Knows neither the
//! configuration, which says what is protected, nor components, which are granted folders.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component as Step, Path, PathBuf};

#[cfg(test)]
mod tests;

/// Links that are followed on the way to a path, as in the kernel.
const MOST_LINKS: usize = 40;

/// Which grants a place is protected from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// All.
    Any,
    /// Those that allow writing.
    Write,
    /// Those that are not marked as sensitive.
    Unmarked,
}

/// Which folders reach a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The place, what contains it, and what lies inside it.
    All,
    /// The place and what contains it.
    Around,
    /// What lies inside it.
    Inside,
    /// What lies inside one of its hidden folders, whose names begin with a dot.
    Hidden,
}

/// Places that granted folders must not reach. None by default.
#[derive(Clone, Debug, Default)]
pub struct Protected {
    places: Vec<Place>,
}

#[derive(Clone, Debug)]
struct Place {
    path: PathBuf,
    /// What it is, behind "is", "contains" or "lies inside".
    what: String,
    access: Access,
    reach: Reach,
}

/// Why a folder cannot be granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the folder reaches, as the end of a sentence about it: "contains …".
    pub reason: String,
    /// What would be right.
    pub remedy: &'static str,
}

/// A path with its links followed, and the links.
struct Trail {
    end: PathBuf,
    links: Vec<PathBuf>,
}

/// A path and what the folders on the way to it are, whatever they are called: bind mounts and letter case give a folder
/// further names.
struct Located {
    path: PathBuf,
    /// Device and number of each folder from the root on, as far as the path exists.
    identities: Vec<(u64, u64)>,
}

impl Protected {
    /// Adds a place. `what` says what it is, behind "is", "contains" or "lies inside".
    pub fn add(&mut self, path: &Path, what: impl Into<String>, access: Access, reach: Reach) {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        self.places.push(Place { path, what: what.into(), access, reach });
    }

    /// Returns why this folder cannot be granted, if so: the first place that it reaches.
    #[must_use]
    pub fn refusal(&self, folder: &Path, write: bool, sensitive: bool) -> Option<Refusal> {
        let folder = Located::of(Trail::of(folder).end);
        let concerned = self.places.iter().filter(|place| match place.access {
            Access::Any => true,
            Access::Write => write,
            Access::Unmarked => !sensitive,
        });
        let mut found = concerned.filter_map(|place| Some((place, place.relation(&folder)?)));
        found.next().map(|(place, relation)| Refusal {
            reason: format!("{relation} {}", place.what),
            remedy: match (place.access, place.reach) {
                (_, Reach::Inside) => "folders that lie next to each other",
                (Access::Any, _) => "a folder of its own for the consumer, such as ./klines-out",
                (Access::Write, _) => {
                    "a folder of its own for the consumer, such as ./klines-out, or no `write = true`"
                }
                (Access::Unmarked, _) => "another folder, or `sensitive = true` for this one if that is meant",
            },
        })
    }
}

impl Place {
    fn relation(&self, folder: &Located) -> Option<&'static str> {
        let trail = Trail::of(&self.path);
        let place = Located::of(trail.end);
        if self.reach == Reach::Hidden {
            let inner = folder.path.strip_prefix(&place.path).ok()?;
            let is_hidden = |step: Step<'_>| step.as_os_str().to_string_lossy().starts_with('.');
            return inner.components().next().is_some_and(is_hidden).then_some("lies in a hidden folder of");
        }
        let is_around = self.reach != Reach::Inside;
        if folder.is(&place) {
            return is_around.then_some("is");
        }
        if folder.is_within(&place) {
            return (self.reach != Reach::Around).then_some("lies inside");
        }
        if is_around && place.is_within(folder) {
            return Some("contains");
        }
        // Whoever changes a link decides what is found behind it.
        let is_led = is_around && trail.links.into_iter().any(|link| Located::of(link).is_within(folder));
        is_led.then_some("contains a link on the way to")
    }
}

impl Located {
    fn of(path: PathBuf) -> Self {
        let mut ancestors: Vec<&Path> = path.ancestors().collect();
        ancestors.reverse();
        let found = ancestors.into_iter().map_while(|ancestor| fs::symlink_metadata(ancestor).ok());
        let identities = found.map(|found| (found.dev(), found.ino())).collect();
        Self { path, identities }
    }

    /// What it is, if it exists.
    fn identity(&self) -> Option<&(u64, u64)> {
        self.identities.last().filter(|_| self.identities.len() == self.path.ancestors().count())
    }

    fn is(&self, other: &Self) -> bool {
        self.path == other.path || self.identity().is_some_and(|identity| Some(identity) == other.identity())
    }

    /// Whether it lies inside the other, or is it.
    fn is_within(&self, other: &Self) -> bool {
        self.path.starts_with(&other.path) || other.identity().is_some_and(|outer| self.identities.contains(outer))
    }
}

impl Trail {
    /// Follows an absolute path as far as it exists; what does not exist is taken as it is written.
    fn of(path: &Path) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let steps = |path: &Path| path.components().map(|step| step.as_os_str().to_owned()).collect::<Vec<OsString>>();
        let mut ahead: VecDeque<OsString> = steps(&path).into();
        let (mut end, mut links) = (PathBuf::new(), Vec::new());
        while let Some(step) = ahead.pop_front() {
            if step == OsStr::new("..") {
                end.pop();
                continue;
            }
            let next = end.join(&step);
            match fs::read_link(&next) {
                Ok(target) if links.len() < MOST_LINKS => {
                    // An absolute target begins with the root, which replaces all that is before it.
                    steps(&target).into_iter().rev().for_each(|step| ahead.push_front(step));
                    links.push(next);
                }
                _ => end = next,
            }
        }
        Self { end, links }
    }
}
