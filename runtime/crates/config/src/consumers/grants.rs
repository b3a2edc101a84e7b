//! `[consumers.NAME.allow]`: what a consumer may do outside its sandbox. By default it may do nothing.

mod dirs;
mod env;
pub(crate) mod guard;
mod host;
mod http;
mod secrets;

use std::path::PathBuf;

pub use self::dirs::Directory;
pub(crate) use self::dirs::Granted;
pub use self::env::Variable;
pub use self::http::Http;
pub use self::secrets::HostSecret;
use super::{Component, Shipped};
use crate::document::Content;
use crate::loader::{Key, Loader, Section};

const STDOUT: Key = Key::new("stdout");

/// What a consumer may do outside its sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// Whether it may write to standard output without a limit. Only `console` can have this, and has it by default.
    pub stdout: bool,
    /// Folders that it may use. Default: none; for `jsonl`, `./klines-out` as `/out`, writable.
    pub dirs: Vec<Directory>,
    /// Hosts that it may send HTTP requests to. Default: none.
    pub http: Vec<Http>,
    /// Variables that it may read. Default: none.
    pub env: Vec<Variable>,
    /// Secrets that the host puts into its requests and that it cannot read. Default: none.
    pub secrets: Vec<HostSecret>,
}

impl Allow {
    /// Returns the grants of a component for which none are written.
    #[must_use]
    pub fn default_of(component: Option<&Component>) -> Self {
        let out = Directory {
            host: PathBuf::from("./klines-out"),
            guest: "/out".to_owned(),
            write: true,
            sensitive: false,
            max: 64 << 30,
        };
        match component {
            Some(Component::Shipped(Shipped::Console)) => Self { stdout: true, ..Self::default() },
            Some(Component::Shipped(Shipped::Jsonl)) => Self { dirs: vec![out], ..Self::default() },
            _ => Self::default(),
        }
    }

    /// Reads the grants of the consumer `name`. `secrets` are the variables that hold a secret of any consumer.
    pub(crate) fn read(
        loader: &mut Loader<'_>,
        section: &mut Section<'_>,
        name: &str,
        component: Option<&Component>,
        secrets: &[String],
    ) -> (Self, Vec<Granted>) {
        let default = Self::default_of(component);
        let stdout = loader.read(section, STDOUT, default.stdout);
        if stdout.value && !default.stdout {
            let diagnostic = stdout.error("only `console` may write to standard output");
            loader.report.push(diagnostic.expected("no `stdout` key, or false"));
        }
        let (dirs, granted) = dirs::read(loader, section, name, default.dirs);
        let http = http::read(loader, section);
        let env = env::read(loader, section, secrets);
        let secrets = secrets::read(loader, section, &http);
        (Self { stdout: stdout.value, dirs, http, env, secrets }, granted)
    }
}

/// Returns every variable that any `allow.secrets` names, even in an entry that has other errors.
pub(crate) fn secret_variables(consumers: &Section<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (_, _, consumer) in consumers.entries() {
        let Content::Table(consumer) = &consumer.content else { continue };
        let Some(Content::Table(allow)) = consumer.get("allow").map(|(_, node)| &node.content) else { continue };
        let Some(Content::Array(items)) = allow.get("secrets").map(|(_, node)| &node.content) else { continue };
        for item in items {
            let Content::Table(item) = &item.content else { continue };
            if let Some(Content::Text(name)) = item.get("variable").map(|(_, node)| &node.content) {
                found.push(name.clone());
            }
        }
    }
    found
}
