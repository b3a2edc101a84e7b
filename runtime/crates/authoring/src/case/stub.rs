//! `[[http]]`: the answers to the requests of a consumer under test.

use std::num::NonZeroU32;

use url::Url;

use super::words::{AnyText, Status};
use klines_config::document::Content;
use klines_config::items::{absent, entries};
use klines_config::loader::{Key, Loader, Section};
use klines_config::report::Diagnostic;
use klines_config::value::Text;

const HTTP: &str = "http";
const METHOD: Key = Key::new("method");
const URL: Key = Key::new("url");
const STATUS: Key = Key::new("status");
const BODY: Key = Key::new("body");
const TIMES: Key = Key::new("times");

/// An answer to requests. A request gets the first matching answer that has not been used `times` times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stub {
    /// The method that it answers. Default: any.
    pub method: Option<String>,
    /// The address that it answers. A final `*` matches any rest.
    pub url: String,
    /// Status. Default: 200.
    pub status: u16,
    /// Headers. Default: none.
    pub headers: Vec<(String, String)>,
    /// Body. Default: empty.
    pub body: String,
    /// How often it can be used. Default: no limit.
    pub times: Option<u32>,
}

impl Stub {
    /// Returns whether it answers a request with this method and address.
    #[must_use]
    pub fn fits(&self, method: &str, url: &str) -> bool {
        self.method.as_deref().is_none_or(|own| own == method) && fits(&self.url, url)
    }
}

/// Returns whether `url` matches `pattern`: it is the same address, or begins with the text before a final `*`.
#[must_use]
pub(super) fn fits(pattern: &str, url: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => url.starts_with(beginning),
        None => normal(pattern) == normal(url),
    }
}

/// Returns the normalised form of an address.
fn normal(url: &str) -> String {
    Url::parse(url).map_or_else(|_| url.to_owned(), String::from)
}

pub(super) fn read(loader: &mut Loader<'_>, top: &mut Section<'_>) -> Vec<Stub> {
    let Some((_, items)) = entries(loader, top, HTTP, "[[http]] with url, status and body below it") else {
        return Vec::new();
    };
    let mut stubs = Vec::new();
    for item in &items {
        let read = item.read(loader, |loader, section| {
            let url = loader.read_optional::<Text>(section, URL);
            if let Some(url) = &url {
                check_url(loader, &url.value.0, |message| url.error(message));
            }
            let status = loader.read(section, STATUS, Status(200)).value.0;
            let body = loader.read(section, BODY, AnyText(String::new())).value.0;
            let times = loader.read_optional::<NonZeroU32>(section, TIMES).map(|times| times.value.get());
            let method = loader.read_optional::<Text>(section, METHOD).map(|method| method.value.0.to_uppercase());
            let headers = headers(loader, section);
            (url, Stub { method, url: String::new(), status, headers, body, times })
        });
        let Some((url, stub)) = read else { continue };
        absent(loader, item, URL, url.is_none(), r#"url = "https://hooks.example.com/x", which it answers"#);
        stubs.extend(url.map(|url| Stub { url: url.value.0, ..stub }));
    }
    stubs
}

/// Reports a text that cannot be the address of a request.
pub(super) fn check_url(loader: &mut Loader<'_>, url: &str, error: impl FnOnce(String) -> Diagnostic) {
    if !url.starts_with("http://") && !url.starts_with("https://") {
        let diagnostic = error(format!("`{url}` is not the address of a request"));
        loader
            .report
            .push(diagnostic.expected("https:// or http://, the host and the path; a final * matches any rest"));
    }
}

fn headers(loader: &mut Loader<'_>, section: &mut Section<'_>) -> Vec<(String, String)> {
    let inner = loader.section(section, "headers");
    let mut headers = Vec::new();
    for (name, _, node) in inner.entries() {
        match &node.content {
            Content::Text(text) => headers.push((name.to_ascii_lowercase(), text.clone())),
            other => {
                let place = loader.layers.toml_place(node.span.clone());
                let message = format!("a header is a text, not {}", other.kind());
                loader.report.push(Diagnostic::error(place, message).expected(format!("{name} = \"…\"")));
            }
        }
    }
    headers
}
