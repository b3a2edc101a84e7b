//! The live chart page: its embedded files and the content security policy for browsers.
//!
//! Maps paths to files. Does not serve them, and does not know the stream that the page reads.

/// The content security policy of all files of the page: no external and no inline content.
///
/// The hash is that of the style element with which the chart library positions its attribution.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self' 'sha256-3pRED1tOXas1FXFoPb9TGCjmYe9XQsmO9OV23khV2nY='; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// A file of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// The value of the `Content-Type` header.
    pub content_type: &'static str,
    /// The whole file.
    pub body: &'static [u8],
    /// The value of the `ETag` header, including the quotes: it changes with the body.
    pub etag: String,
}

/// Returns the file at `path` (without a query), or `None` if the page has no such file.
pub fn asset(path: &str) -> Option<Asset> {
    let (content_type, body): (_, &'static [u8]) = match path {
        "/" => (HTML, include_bytes!("page/index.html")),
        "/page/page.js" => (SCRIPT, include_bytes!("page/page.js")),
        "/page/stream.js" => (SCRIPT, include_bytes!("page/stream.js")),
        "/page/symbols.js" => (SCRIPT, include_bytes!("page/symbols.js")),
        "/page/instrument.js" => (SCRIPT, include_bytes!("page/instrument.js")),
        "/page/past.js" => (SCRIPT, include_bytes!("page/past.js")),
        "/page/rest.js" => (SCRIPT, include_bytes!("page/rest.js")),
        "/page/fields.js" => (SCRIPT, include_bytes!("page/fields.js")),
        "/page/series.js" => (SCRIPT, include_bytes!("page/series.js")),
        "/page/values.js" => (SCRIPT, include_bytes!("page/values.js")),
        "/page/overlays.js" => (SCRIPT, include_bytes!("page/overlays.js")),
        "/page/chart.js" => (SCRIPT, include_bytes!("page/chart.js")),
        "/page/gaps.js" => (SCRIPT, include_bytes!("page/gaps.js")),
        "/page/marks.js" => (SCRIPT, include_bytes!("page/marks.js")),
        "/page/crosshair.js" => (SCRIPT, include_bytes!("page/crosshair.js")),
        "/page/zone.js" => (SCRIPT, include_bytes!("page/zone.js")),
        "/page/format.js" => (SCRIPT, include_bytes!("page/format.js")),
        "/page/lightweight-charts.js" => (SCRIPT, include_bytes!("page/lightweight-charts.js")),
        "/page/page.css" => (STYLE, include_bytes!("page/page.css")),
        "/page/icon.svg" => (IMAGE, include_bytes!("page/icon.svg")),
        "/page/notice.txt" => (TEXT, include_bytes!("page/notice.txt")),
        _ => return None,
    };
    let etag = format!("\"{:x}-{:08x}\"", body.len(), crc32fast::hash(body));
    Some(Asset { content_type, body, etag })
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest, Sha256};

    use super::*;

    fn text(path: &str) -> &'static str {
        std::str::from_utf8(asset(path).unwrap().body).unwrap()
    }

    /// Returns all strings in double quotes that start with `prefix`.
    fn quoted(text: &'static str, prefix: &str) -> Vec<&'static str> {
        text.split('"').filter(|part| part.starts_with(prefix)).collect()
    }

    #[test]
    fn every_file_that_the_page_loads_exists() {
        let named = quoted(text("/"), "/page/");
        assert!(named.contains(&"/page/page.js") && named.contains(&"/page/notice.txt"), "{named:?}");
        for path in named {
            assert!(asset(path).is_some(), "{path}");
        }
        let modules = ["page", "stream", "symbols", "instrument", "series", "values", "overlays", "chart", "crosshair"];
        for module in modules.into_iter().chain(["zone", "format", "gaps", "marks", "past", "rest", "fields"]) {
            for import in quoted(text(&format!("/page/{module}.js")), "./") {
                let path = import.replacen("./", "/page/", 1);
                assert_eq!(asset(&path).unwrap().content_type, SCRIPT, "{path}");
            }
        }
    }

    #[test]
    fn other_paths_are_not_files_of_the_page() {
        for path in ["", "/page", "/page/", "/page/index.html", "/page/../page.rs", "/page/page.js/", "//"] {
            assert_eq!(asset(path), None, "{path}");
        }
    }

    #[test]
    fn equal_tags_mean_equal_files() {
        let tags: Vec<String> = quoted(text("/"), "/page/").into_iter().map(|path| asset(path).unwrap().etag).collect();
        assert!(tags.iter().all(|tag| tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"')), "{tags:?}");
        assert_eq!(asset("/page/page.js"), asset("/page/page.js"));
        assert_ne!(asset("/page/page.js").unwrap().etag, asset("/page/page.css").unwrap().etag);
    }

    #[test]
    fn the_page_has_no_inline_content_that_the_policy_refuses() {
        let page = text("/");
        assert_eq!(page.matches("<script").count(), page.matches("<script type=\"module\" src=\"/page/").count());
        for inline in ["<style", " style=", " onclick=", " onload=", "javascript:"] {
            assert!(!page.contains(inline), "{inline}");
        }
        for unsafe_source in ["unsafe-inline", "unsafe-eval", "http:", "https:", "*"] {
            assert!(!CONTENT_SECURITY_POLICY.contains(unsafe_source), "{unsafe_source}");
        }
    }

    #[test]
    fn policy_allows_the_style_of_the_attribution_and_no_other() {
        let library = text("/page/lightweight-charts.js");
        let from = library.find("a#tv-attr-logo{").unwrap();
        let style = &library[from..];
        let style = &style[..style.find(['"', '\'', '`']).unwrap()];
        let hash = STANDARD.encode(Sha256::digest(style.as_bytes()));
        assert!(CONTENT_SECURITY_POLICY.contains(&format!("'sha256-{hash}'")), "{hash}");
        assert_eq!(CONTENT_SECURITY_POLICY.matches("sha256-").count(), 1);
    }

    #[test]
    fn notices_of_the_chart_library_are_served_with_it() {
        let notice = text("/page/notice.txt");
        assert!(notice.contains("TradingView, Inc. https://www.tradingview.com/"));
        assert!(notice.contains("Apache License") && notice.contains("Version 2.0, January 2004"));
        assert!(text("/page/lightweight-charts.js").contains("Licensed under Apache License 2.0"));
        assert!(text("/").contains("href=\"https://www.tradingview.com/\""));
    }
}
