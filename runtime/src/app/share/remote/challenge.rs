//! Reads how a registry asks for a log-in: the header `WWW-Authenticate`.

/// How a registry asks for a log-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token of another address.
    Bearer {
        /// The address that gives tokens.
        realm: String,
        /// The name of the registry there.
        service: Option<String>,
        /// What the token has to allow.
        scope: Option<String>,
    },
    /// User and password.
    Basic,
}

impl Challenge {
    /// Reads the values of the header. Of several ways, tokens come first.
    pub(super) fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let found: Vec<Scheme> = headers.into_iter().filter_map(schemes).flatten().collect();
        let bearer = found.iter().filter(|scheme| scheme.name == "bearer").find_map(|scheme| {
            let (service, scope) = (scheme.parameter("service"), scheme.parameter("scope"));
            Some(Self::Bearer { realm: scheme.parameter("realm")?, service, scope })
        });
        bearer.or_else(|| found.iter().any(|scheme| scheme.name == "basic").then_some(Self::Basic))
    }
}

struct Scheme {
    /// In lower case.
    name: String,
    /// With names in lower case.
    parameters: Vec<(String, String)>,
}

impl Scheme {
    fn parameter(&self, name: &str) -> Option<String> {
        self.parameters.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone())
    }
}

/// Reads `SCHEME NAME=VALUE, …, SCHEME …`; `None` if the text has another form.
fn schemes(text: &str) -> Option<Vec<Scheme>> {
    let separators = [' ', '\t', ','];
    let mut found: Vec<Scheme> = Vec::new();
    let mut rest = text.trim_matches(separators);
    while !rest.is_empty() {
        let (word, after) = token(rest)?;
        let word = word.to_ascii_lowercase();
        if let Some(value) = after.trim_start().strip_prefix('=') {
            let (value, after) = value_of(value.trim_start())?;
            found.last_mut()?.parameters.push((word, value));
            rest = after;
        } else {
            found.push(Scheme { name: word, parameters: Vec::new() });
            rest = after;
        }
        rest = rest.trim_start_matches(separators);
    }
    Some(found)
}

fn token(text: &str) -> Option<(&str, &str)> {
    let is_token = |found: char| found.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(found);
    let end = text.find(|found| !is_token(found)).unwrap_or(text.len());
    let (token, rest) = text.split_at_checked(end)?;
    (!token.is_empty()).then_some((token, rest))
}

fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text).map(|(value, rest)| (value.to_owned(), rest));
    };
    let (mut value, mut characters) = (String::new(), quoted.chars());
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Some(Challenge::Bearer { realm: realm.to_owned(), service: owned(service), scope: owned(scope) })
    }

    #[test]
    fn the_forms_that_registries_write_are_read() {
        let parse = |text: &str| Challenge::parse([text]);
        let scope = "repository:acme/demo:pull,push";
        let whole = format!(r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="{scope}""#);
        assert_eq!(parse(&whole), bearer("https://ghcr.io/token", Some("ghcr.io"), Some(scope)));
        assert_eq!(parse(r#"BEARER Realm = "a\"b" , x=y"#), bearer("a\"b", None, None));
        assert_eq!(parse(r#"Basic realm="x", Bearer realm=y"#), bearer("y", None, None));
        assert_eq!(parse(r#"Basic realm="Registry Realm""#), Some(Challenge::Basic));
        assert_eq!(parse("Basic"), Some(Challenge::Basic));
        assert_eq!(Challenge::parse(["Basic", r#"Bearer realm="y""#]), bearer("y", None, None));
    }

    #[test]
    fn what_says_no_way_to_log_in_is_none() {
        for text in [
            "",
            ",",
            "Bearer",
            "Bearer service=x",
            "Digest realm=x",
            "realm=x",
            "Bearer realm=\"x",
            "é",
            "Bearer realm=",
        ] {
            assert_eq!(Challenge::parse([text]), None, "{text}");
        }
        assert_eq!(Challenge::parse([]), None);
    }
}
