//! The programming languages for which klines has templates.

use std::fmt;

/// A programming language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// Rust, with the crate `klines-guest`.
    Rust,
    /// Python, with an interpreter inside the component.
    Python,
    /// JavaScript, with an engine inside the component.
    JavaScript,
    /// TypeScript, which is compiled to JavaScript.
    TypeScript,
    /// C.
    C,
    /// Go.
    Go,
}

impl Language {
    /// All languages, in the order in which messages list them.
    pub const ALL: [Self; 6] = [Self::Rust, Self::Python, Self::JavaScript, Self::TypeScript, Self::C, Self::Go];

    /// Returns its name on the command line and in `consumer.toml`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::TypeScript => "typescript",
            Self::C => "c",
            Self::Go => "go",
        }
    }

    /// Finds a language by its name.
    ///
    /// # Errors
    /// A message that lists all languages.
    pub fn named(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|language| language.as_str() == name);
        known.ok_or_else(|| {
            let all = Self::ALL.map(Self::as_str).join(", ");
            let meant = match name.to_lowercase().as_str() {
                "js" | "node" => Some(Self::JavaScript),
                "ts" => Some(Self::TypeScript),
                "py" | "python3" => Some(Self::Python),
                "rs" => Some(Self::Rust),
                "golang" => Some(Self::Go),
                other => {
                    let near = |language: &Self| {
                        let name = language.as_str();
                        strsim::damerau_levenshtein(name, other) <= (name.len() / 3).min(2)
                    };
                    Self::ALL.into_iter().filter(|_| other.len() > 2).find(near)
                }
            };
            let meant = meant.map(|meant| format!("did you mean `{meant}`? ")).unwrap_or_default();
            format!("{meant}There are templates for {all}; for another language see `klines consumer build --help`")
        })
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_language_is_answered_with_the_known_ones() {
        for language in Language::ALL {
            assert_eq!(Language::named(language.as_str()), Ok(language));
        }
        let all = "There are templates for rust, python, javascript, typescript, c, go; \
                   for another language see `klines consumer build --help`";
        for (name, meant) in [
            ("cobol", ""),
            ("c++", ""),
            ("ts", "did you mean `typescript`? "),
            ("Rust", "did you mean `rust`? "),
            ("pyton", "did you mean `python`? "),
        ] {
            assert_eq!(Language::named(name).unwrap_err(), format!("{meant}{all}"), "{name}");
        }
    }
}
