//! Who takes part in a cluster: names of nodes, the process that has a name now, and what a node says about itself.
//! What comes from Redis is untrusted: it is parsed and bounded here.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// The maximum length of a name.
pub const MAX_NAME: usize = 64;
/// The maximum length of what a node says about itself.
pub const MAX_ABOUT: usize = 4_096;

/// The name of a node, a group or a cluster: letters, digits, `.`, `_` and `-`. Shares depend on the names of nodes, so
/// that a node that restarts under its name gets the same partitions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// Why a text is not a [`Name`].
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a name has 1 to {MAX_NAME} letters, digits, `.`, `_` or `-`")]
pub struct NameError;

impl Name {
    /// Validates a name.
    ///
    /// # Errors
    /// [`NameError`] if it is empty, too long, or has other characters.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(fits) {
            return Err(NameError);
        }
        Ok(Self(Arc::from(text)))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

/// One process of a node: a random number that it draws when it starts. It distinguishes two processes with one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instance(pub u64);

impl fmt::Display for Instance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

/// What a node does in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// It watches symbols and writes their klines.
    pub ingest: bool,
    /// It reads klines and hands them to consumers.
    pub serve: bool,
    /// The groups for which it works.
    pub groups: BTreeSet<Name>,
    /// The number of partitions that it knows; `None` if it does not say so.
    pub partitions: Option<u16>,
}

impl fmt::Display for About {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roles = [(self.ingest, "ingest"), (self.serve, "serve")];
        let roles = roles.into_iter().filter(|(has, _)| *has).map(|(_, role)| role.to_owned());
        let groups = self.groups.iter().map(|group| format!("group:{group}"));
        let partitions = self.partitions.map(|count| format!("partitions:{count}"));
        out.write_str(&roles.chain(groups).chain(partitions).collect::<Vec<_>>().join(" "))
    }
}

/// Why a text does not say what a node does.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AboutError {
    /// The text is longer than [`MAX_ABOUT`].
    #[error("a node says at most {MAX_ABOUT} bytes about itself: give it fewer groups")]
    TooLong,
    /// The name of a group is not valid.
    #[error("name of a group: {0}")]
    Group(NameError),
}

impl FromStr for About {
    type Err = AboutError;

    /// Parses what `Display` writes. Unknown words are ignored, so that later versions can say more.
    fn from_str(text: &str) -> Result<Self, AboutError> {
        if text.len() > MAX_ABOUT {
            return Err(AboutError::TooLong);
        }
        let mut about = Self::default();
        for word in text.split(' ') {
            match word {
                "ingest" => about.ingest = true,
                "serve" => about.serve = true,
                _ => {
                    if let Some(count) = word.strip_prefix("partitions:") {
                        about.partitions = count.parse().ok();
                    }
                    if let Some(group) = word.strip_prefix("group:") {
                        about.groups.insert(Name::new(group).map_err(AboutError::Group)?);
                    }
                }
            }
        }
        Ok(about)
    }
}

/// A live member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: Name,
    /// What it does.
    pub about: About,
}

/// The live members at one moment. The generation grows whenever one joins, leaves, or is given up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The number of changes so far.
    pub generation: u64,
    /// The members in the order of their names.
    pub members: Vec<Member>,
}

impl View {
    /// Returns the names of the live nodes that watch symbols.
    pub fn ingest(&self) -> impl Iterator<Item = &Name> {
        self.members.iter().filter(|member| member.about.ingest).map(|member| &member.name)
    }

    /// Returns a member that knows another number of partitions.
    #[must_use]
    pub fn differing(&self, partitions: u16) -> Option<&Member> {
        self.members.iter().find(|member| member.about.partitions.is_some_and(|count| count != partitions))
    }

    /// Returns the names of the live nodes that work for a group.
    pub fn workers<'a>(&'a self, group: &'a Name) -> impl Iterator<Item = &'a Name> {
        self.members.iter().filter(|member| member.about.groups.contains(group)).map(|member| &member.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_end_a_key_or_a_record_are_refused() {
        for text in ["", "a b", "a:b", "{a}", "a\n", "ä", &"a".repeat(65)] {
            assert_eq!(Name::new(text), Err(NameError), "{text}");
        }
        assert_eq!(Name::new("node-1.example_a").unwrap().as_str(), "node-1.example_a");
    }

    #[test]
    fn what_a_node_says_is_read_as_it_was_written_and_words_of_later_versions_are_ignored() {
        let groups = ["alerts", "rsi"].map(|name| Name::new(name).unwrap());
        let about = About { ingest: true, serve: true, groups: groups.into(), partitions: Some(64) };
        assert_eq!(about.to_string(), "ingest serve group:alerts group:rsi partitions:64");
        assert_eq!(about.to_string().parse(), Ok(about.clone()));
        assert_eq!("ingest zone:a serve group:alerts group:rsi partitions:64".parse(), Ok(about));
        assert_eq!("".parse(), Ok(About::default()));
        assert_eq!("group:a/b".parse::<About>(), Err(AboutError::Group(NameError)));
        assert_eq!("x".repeat(4_097).parse::<About>(), Err(AboutError::TooLong));
    }
}
