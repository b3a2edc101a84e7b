//! Paths of this machine that a folder granted to a component must not reach, and the check of one folder.
//!
//! Reads the file system at each check, because links and folders change. Knows neither the configuration, which
//! determines the protected paths, nor components.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component as Step, Path, PathBuf};

#[cfg(test)]
mod tests;

/// The maximum number of links that are followed in one path, as in the kernel.
const MAX_LINKS: usize = 40;

/// The kinds of grants from which a path is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// All grants.
    Any,
    /// Grants that allow writing.
    Write,
    /// Grants that are not marked as sensitive.
    Unmarked,
}

/// The folders that count as reaching a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The path, the folders that contain it, and the folders inside it.
    All,
    /// The path and the folders that contain it.
    Around,
    /// The folders inside it.
    Inside,
    /// The folders inside a hidden folder of the path. The name of a hidden folder starts with a dot.
    Hidden,
}

/// The paths that granted folders must not reach. None by default.
#[derive(Clone, Debug, Default)]
pub struct Protected {
    paths: Vec<ProtectedPath>,
}

#[derive(Clone, Debug)]
struct ProtectedPath {
    path: PathBuf,
    /// A description of the path, used after "is", "contains" or "lies inside".
    what: String,
    access: Access,
    reach: Reach,
}

/// Why a folder cannot be granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// How the folder reaches a protected path, as the end of a sentence: "contains …".
    pub reason: String,
    /// What to configure instead.
    pub remedy: &'static str,
}

/// A path with its links resolved, and those links.
struct ResolvedPath {
    end: PathBuf,
    links: Vec<PathBuf>,
}

/// A path and the identities of the folders on it, whatever their names are: bind mounts and case-insensitive names
/// give a folder further names.
struct IdentifiedPath {
    path: PathBuf,
    /// Device and inode of each folder from the root on, as far as the path exists.
    identities: Vec<(u64, u64)>,
}

impl Protected {
    /// Adds a path. `what` describes it, after "is", "contains" or "lies inside".
    pub fn add(&mut self, path: &Path, what: impl Into<String>, access: Access, reach: Reach) {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        self.paths.push(ProtectedPath { path, what: what.into(), access, reach });
    }

    /// Returns why this folder cannot be granted: the first protected path that it reaches. `None` if it can be
    /// granted.
    #[must_use]
    pub fn refusal(&self, folder: &Path, write: bool, sensitive: bool) -> Option<Refusal> {
        let folder = IdentifiedPath::of(ResolvedPath::of(folder).end);
        let concerned = self.paths.iter().filter(|protected| match protected.access {
            Access::Any => true,
            Access::Write => write,
            Access::Unmarked => !sensitive,
        });
        let mut found = concerned.filter_map(|protected| Some((protected, protected.relation(&folder)?)));
        found.next().map(|(protected, relation)| Refusal {
            reason: format!("{relation} {}", protected.what),
            remedy: match (protected.access, protected.reach) {
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

impl ProtectedPath {
    fn relation(&self, folder: &IdentifiedPath) -> Option<&'static str> {
        let resolved = ResolvedPath::of(&self.path);
        let protected = IdentifiedPath::of(resolved.end);
        if self.reach == Reach::Hidden {
            let inner = folder.path.strip_prefix(&protected.path).ok()?;
            let is_hidden = |step: Step<'_>| step.as_os_str().to_string_lossy().starts_with('.');
            return inner.components().next().is_some_and(is_hidden).then_some("lies in a hidden folder of");
        }
        let is_around = self.reach != Reach::Inside;
        if folder.is(&protected) {
            return is_around.then_some("is");
        }
        if folder.is_within(&protected) {
            return (self.reach != Reach::Around).then_some("lies inside");
        }
        if is_around && protected.is_within(folder) {
            return Some("contains");
        }
        // A component that can change a link decides where it leads.
        let is_linked = is_around && resolved.links.into_iter().any(|link| IdentifiedPath::of(link).is_within(folder));
        is_linked.then_some("contains a link on the way to")
    }
}

impl IdentifiedPath {
    fn of(path: PathBuf) -> Self {
        let mut ancestors: Vec<&Path> = path.ancestors().collect();
        ancestors.reverse();
        let found = ancestors.into_iter().map_while(|ancestor| fs::symlink_metadata(ancestor).ok());
        let identities = found.map(|found| (found.dev(), found.ino())).collect();
        Self { path, identities }
    }

    /// Returns the identity of the path; `None` if it does not exist.
    fn identity(&self) -> Option<&(u64, u64)> {
        self.identities.last().filter(|_| self.identities.len() == self.path.ancestors().count())
    }

    fn is(&self, other: &Self) -> bool {
        self.path == other.path || self.identity().is_some_and(|identity| Some(identity) == other.identity())
    }

    /// Returns whether the path is the other one or lies inside it.
    fn is_within(&self, other: &Self) -> bool {
        self.path.starts_with(&other.path) || other.identity().is_some_and(|outer| self.identities.contains(outer))
    }
}

impl ResolvedPath {
    /// Resolves the links of an absolute path as far as it exists; the rest is kept as written.
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
                Ok(target) if links.len() < MAX_LINKS => {
                    // An absolute target starts with the root, which replaces everything before it.
                    steps(&target).into_iter().rev().for_each(|step| ahead.push_front(step));
                    links.push(next);
                }
                _ => end = next,
            }
        }
        Self { end, links }
    }
}
