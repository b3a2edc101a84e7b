//! The scalar types that several sections use: switches, numbers, quantities, names, paths and addresses.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use klines_domain::interval::Interval;
use klines_domain::secret::{MASK, Secret, redact_url};
use klines_domain::symbol::{Category, Symbol, SymbolError};
use url::Url;

use super::{Fault, Scalar, by_from_str};
use crate::quantity::{ByteSize, HumanDuration, QuantityError};
use crate::suggest::{nearest, nearest_interval};

/// A text that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(pub String);

/// The address of a WebSocket server (if `SOCKET`) or an HTTP server, which determines the allowed schemes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebAddress<const SOCKET: bool>(pub Url);

/// Reads one of a few words, in upper or lower case.
///
/// # Errors
/// [`Fault`] with the nearest word.
pub fn choice<T: Copy>(text: &str, choices: &[(&'static str, T)], expected: &str) -> Result<T, Fault> {
    let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let near = nearest(text, choices.iter().map(|(name, _)| *name));
        Fault::new(format!("`{text}` is not one of the choices"), expected).nearest(near)
    })
}

impl Scalar for bool {
    const EXPECTED: &'static str = "true or false (also 1 0, yes no, on off)";
    const BARE: bool = true;

    fn parse(text: &str) -> Result<Self, Fault> {
        const WORDS: [(&str, bool); 12] = [
            ("true", true),
            ("false", false),
            ("1", true),
            ("0", false),
            ("yes", true),
            ("no", false),
            ("on", true),
            ("off", false),
            ("t", true),
            ("f", false),
            ("y", true),
            ("n", false),
        ];
        choice(text, &WORDS, Self::EXPECTED)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Scalar for NonZeroU32 {
    const EXPECTED: &'static str = "a whole number from 1 up";
    const BARE: bool = true;

    fn parse(text: &str) -> Result<Self, Fault> {
        let digits: String = text.chars().filter(|found| *found != '_').collect();
        digits.parse().map_err(|_| Fault::new(format!("`{text}` is not a number that fits here"), Self::EXPECTED))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Scalar for u16 {
    const EXPECTED: &'static str = "a port number from 0 (any that is free) to 65535";
    const BARE: bool = true;

    fn parse(text: &str) -> Result<Self, Fault> {
        text.parse().map_err(|_| Fault::new(format!("`{text}` is not a port number"), Self::EXPECTED))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Scalar for Interval {
    const EXPECTED: &'static str = "intervals such as 100ms, 1s, 1m, 4h, 1D, 1W, 1M";

    fn parse(text: &str) -> Result<Self, Fault> {
        by_from_str(text, Self::EXPECTED).map_err(|fault| fault.nearest(nearest_interval(text)))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Scalar for Category {
    const EXPECTED: &'static str = "linear, spot or inverse";

    fn parse(text: &str) -> Result<Self, Fault> {
        let lower = text.to_ascii_lowercase();
        let near = nearest(&lower, Self::ALL.iter().map(|category| category.as_str()));
        by_from_str(&lower, Self::EXPECTED).map_err(|fault: Fault| fault.nearest(near))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Scalar for Symbol {
    const EXPECTED: &'static str = "a name as Bybit writes it, such as BTCUSDT";

    fn parse(text: &str) -> Result<Self, Fault> {
        Self::new(text).map_err(|error| {
            // Only the names of dated contracts contain dashes, and these also contain digits.
            let is_dated = text.contains('-') && text.contains(|found: char| found.is_ascii_digit());
            let kept = |found: &char| found.is_ascii_alphanumeric() || (is_dated && *found == '-');
            // Charts of others mark perpetuals with `.P`.
            let name = text.strip_suffix(".P").or(text.strip_suffix(".p")).unwrap_or(text);
            let near = name.chars().filter(kept).collect::<String>().to_uppercase();
            let near = Some(near).filter(|name| error != SymbolError::Length && !name.is_empty());
            Fault::new(format!("`{text}` is not a symbol: {error}"), Self::EXPECTED).nearest(near)
        })
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Scalar for HumanDuration {
    const EXPECTED: &'static str = Self::EXPECTED;

    fn parse(text: &str) -> Result<Self, Fault> {
        Self::parse_near(text, None)
    }

    fn parse_near(text: &str, default: Option<&Self>) -> Result<Self, Fault> {
        let near = || Self::with_unit(text, default.copied());
        text.parse().map_err(|error| quantity(text, error, Self::EXPECTED, near))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Scalar for ByteSize {
    const EXPECTED: &'static str = Self::EXPECTED;

    fn parse(text: &str) -> Result<Self, Fault> {
        text.parse().map_err(|error| quantity(text, error, Self::EXPECTED, || format!("{text}MiB")))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

fn quantity(text: &str, error: QuantityError, expected: &str, with_unit: impl FnOnce() -> String) -> Fault {
    let near = (error == QuantityError::NoUnit).then(with_unit);
    Fault::new(format!("`{text}`: {error}"), expected).nearest(near)
}

impl Scalar for Text {
    const EXPECTED: &'static str = "a text that is not empty";

    fn parse(text: &str) -> Result<Self, Fault> {
        if text.is_empty() {
            return Err(Fault::new("the value is empty", Self::EXPECTED));
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

impl Scalar for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn parse(text: &str) -> Result<Self, Fault> {
        if text.is_empty() {
            return Err(Fault::new("the path is empty", Self::EXPECTED));
        }
        Ok(Self::from(text))
    }

    fn show(&self) -> String {
        self.display().to_string()
    }

    fn relative_to(self, folder: &Path) -> Self {
        folder.join(self)
    }
}

impl Scalar for Secret {
    const EXPECTED: &'static str = "a text that is not empty";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, Fault> {
        Text::parse(text).map(|text| Self::new(text.0))
    }

    fn show(&self) -> String {
        MASK.to_owned()
    }
}

impl<const SOCKET: bool> Scalar for WebAddress<SOCKET> {
    const EXPECTED: &'static str =
        if SOCKET { "an address such as wss://host:port/path" } else { "an address such as https://host:port" };

    fn parse(text: &str) -> Result<Self, Fault> {
        let schemes = if SOCKET { ["ws", "wss"] } else { ["http", "https"] };
        address(text, &schemes, Self::EXPECTED).map(Self)
    }

    fn show(&self) -> String {
        redact_url(self.0.as_str())
    }
}

/// Reads an address that must have one of `schemes`, and a host. The message contains no password.
///
/// # Errors
/// A [`Fault`]. For a scheme of the other family, such as `http` instead of `ws`, it suggests the counterpart.
pub fn address(text: &str, schemes: &[&str], expected: &str) -> Result<Url, Fault> {
    let shown = redact_url(text);
    let url =
        Url::parse(text).map_err(|error| Fault::new(format!("`{shown}` is not an address: {error}"), expected))?;
    if !schemes.contains(&url.scheme()) {
        let counterpart = match url.scheme() {
            "http" => Some("ws"),
            "https" => Some("wss"),
            "ws" => Some("http"),
            "wss" => Some("https"),
            other => nearest(other, schemes.iter().copied()),
        };
        let near = counterpart.filter(|scheme| schemes.contains(scheme));
        let near = near.map(|scheme| shown.replacen(url.scheme(), scheme, 1));
        return Err(Fault::new(format!("`{}` is not a scheme that fits here", url.scheme()), expected).nearest(near));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(Fault::new(format!("`{shown}` has no host"), expected));
    }
    Ok(url)
}
