//! Reports unknown keys of the TOML file and unknown variables that look like variables of klines.

use std::ops::Range;

use klines_domain::secret::is_secret_name;

use super::{Loader, Section};
use crate::document::Table;
use crate::layers::CONFIG_VARIABLE;
use crate::place::{Place, Quote};
use crate::report::Diagnostic;
use crate::suggest::nearest;

/// Prefixes of the variables of klines.
const PREFIXES: [&str; 6] = ["BYBIT_", "KLINE_", "KLINES_", "WSS_", "WEBSOCKET_", "REDIS_"];

/// A key of the TOML file that no section asked for.
#[derive(Debug)]
pub(super) struct UnknownKey {
    name: String,
    span: Range<usize>,
    section: String,
    /// The known keys of the section.
    known: Vec<&'static str>,
}

impl Loader<'_> {
    /// Ends the reading of a section: its keys that were not asked for are unknown.
    pub fn finish(&mut self, section: Section<'_>) {
        let Section { path, table, asked } = section;
        let unknown = table.into_iter().flat_map(Table::iter).filter(|(name, _, _)| !asked.contains(name));
        self.unknown.extend(unknown.map(|(name, span, _)| UnknownKey {
            name: name.to_owned(),
            span: span.clone(),
            section: path.clone(),
            known: asked.clone(),
        }));
    }

    /// Reports all unknown keys and variables. Call it once every section has been read.
    pub fn report_unknown(&mut self) {
        for key in std::mem::take(&mut self.unknown) {
            self.report_key(&key);
        }
        if self.layers.document.as_ref().is_some_and(|document| !document.whole) {
            // Parts of the file are missing after a syntax error, so errors in the rest may be wrong.
            self.report.retain_first_or(self.first, |diagnostic| !matches!(diagnostic.place, Place::Toml(_)));
        }
        self.report_env_file();
        self.report_environment();
    }

    fn report_key(&mut self, key: &UnknownKey) {
        let elsewhere = self.settings.iter().map(|setting| setting.key.as_str());
        let elsewhere = elsewhere.filter(|path| path.rsplit('.').next() == Some(&key.name));
        let near = nearest(&key.name, key.known.iter().copied()).map(str::to_owned);
        let near = near.or_else(|| elsewhere.min_by_key(|path| path.len()).map(str::to_owned));
        let message = match key.section.as_str() {
            "" => format!("unknown key `{}`", key.name),
            section => format!("unknown key `{}` in [{section}]", key.name),
        };
        let place = self.layers.toml_place(key.span.clone());
        let expected = format!("one of {}", key.known.join(", "));
        let diagnostic = Diagnostic::error(place, message).expected(expected).nearest(near);
        self.report.push(diagnostic.hidden(is_secret_name(&key.name)));
    }

    /// Reports unknown variables of `.env` as errors if their names look like variables of klines.
    fn report_env_file(&mut self) {
        let known = self.known_variables();
        for entry in &self.layers.env_file {
            let name = entry.name.as_str();
            let has_prefix = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
            let near = if has_prefix { nearest(name, known.iter().copied()) } else { misspelt(name, &known) };
            if known.contains(&name) || self.named.iter().any(|named| named == name) || !(has_prefix || near.is_some())
            {
                continue;
            }
            let place = Place::EnvFile(name.to_owned(), entry.name_at.clone());
            let diagnostic = Diagnostic::error(place, format!("unknown variable `{name}`")).nearest(near);
            // The value may be a secret if the name is misspelt.
            self.report.push(diagnostic.expected("a variable that klines knows").hidden(true));
        }
    }

    /// Warns about variables of the environment whose names are probably misspelt. Other programs have variables too,
    /// so unknown names are not errors here.
    fn report_environment(&mut self) {
        let known = self.known_variables();
        for name in self.layers.environment.keys().map(String::as_str).filter(|name| !known.contains(name)) {
            if self.named.iter().any(|named| named == name) {
                continue;
            }
            if let Some(near) = misspelt(name, &known) {
                let place = Place::Variable(name.to_owned(), Quote::default());
                let diagnostic = Diagnostic::warning(place, format!("`{name}` is not read"));
                self.report.push(diagnostic.nearest(Some(near)));
            }
        }
    }

    fn known_variables(&self) -> Vec<&'static str> {
        self.settings.iter().filter_map(|setting| setting.variable).chain([CONFIG_VARIABLE]).collect()
    }
}

/// Returns the known name, of 8 letters or more, that differs from `name` by at most two letters. Proxy variables are
/// left out, because other programs use them too.
fn misspelt<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let long = known.iter().filter(|known| known.len() >= 8 && !known.to_ascii_uppercase().ends_with("_PROXY"));
    let distances = long.map(|known| (strsim::damerau_levenshtein(name, known), *known));
    distances.filter(|(distance, _)| *distance <= 2).min().map(|(_, known)| known)
}
