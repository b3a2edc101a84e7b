//! The components inside the binary, so that one file runs alone.

/// Returns the shipped component of that name, if there is one.
#[must_use]
pub fn shipped(name: &str) -> Option<&'static [u8]> {
    match name {
        "console" => Some(include_bytes!(env!("KLINES_COMPONENT_CONSOLE"))),
        "jsonl" => Some(include_bytes!(env!("KLINES_COMPONENT_JSONL"))),
        "webhook" => Some(include_bytes!(env!("KLINES_COMPONENT_WEBHOOK"))),
        _ => None,
    }
}

/// Names that [`shipped`] knows.
pub const NAMES: [&str; 3] = ["console", "jsonl", "webhook"];
