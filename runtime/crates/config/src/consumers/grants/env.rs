//! `allow.env`: variables that a consumer may read. A variable that holds a secret is refused.

use klines_domain::secret::{is_secret_name, redact_url};

use crate::loader::{Key, Loader, Section};
use crate::value::{Fault, Scalar};

const ENV: Key = Key::new("env");

/// Variables of klines that hold a secret although `is_secret_name` does not recognise their names.
const OTHER_SECRETS: [&str; 1] = ["REDIS_URL"];

/// A variable that a consumer may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, or `None` if it is not set.
    pub value: Option<String>,
}

/// The name of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VariableName(pub String);

impl Scalar for VariableName {
    const EXPECTED: &'static str = "the name of a variable: letters, digits and _";

    fn parse(text: &str) -> Result<Self, Fault> {
        let is_letter = |found: char| found.is_ascii_alphanumeric() || found == '_';
        if text.is_empty() || !text.chars().all(is_letter) || text.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(Fault::new(format!("`{text}` is not the name of a variable"), Self::EXPECTED));
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// Reads the list and the variables. `secrets` are the variables that hold a secret of any consumer.
pub(super) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>, secrets: &[String]) -> Vec<Variable> {
    let names = loader.read::<Vec<VariableName>>(section, ENV, Vec::new());
    let names = loader.unique(names, |name| name.0.clone());
    let mut variables = Vec::new();
    for VariableName(name) in &names.value {
        let value = loader.layers.texts(Some(name), None).into_iter().next().map(|written| written.text);
        let refusal = if secrets.contains(name) {
            Some("is named in `allow.secrets`")
        } else if is_secret_name(name) || OTHER_SECRETS.contains(&name.as_str()) {
            Some("looks like a secret, by its name")
        } else if value.as_ref().is_some_and(|value| redact_url(value) != *value) {
            Some("holds an address with a password")
        } else {
            None
        };
        if let Some(refusal) = refusal {
            let diagnostic = names.with(()).error(format!("`{name}` {refusal}, and a component could read it"));
            let expected = "`allow.secrets`, which puts it into requests without showing it to the component";
            loader.report.push(crate::Diagnostic { place: names.place.of_item(name), ..diagnostic.expected(expected) });
        }
        loader.named.push(name.clone());
        variables.push(Variable { name: name.clone(), value });
    }
    variables
}
