//! The shipped components, embedded in the program so that it runs as a single file.

/// Returns the shipped component with that name; `None` if there is none.
#[must_use]
pub fn shipped(name: &str) -> Option<&'static [u8]> {
    match name {
        "console" => Some(include_bytes!(env!("KLINES_COMPONENT_CONSOLE"))),
        "jsonl" => Some(include_bytes!(env!("KLINES_COMPONENT_JSONL"))),
        "webhook" => Some(include_bytes!(env!("KLINES_COMPONENT_WEBHOOK"))),
        _ => None,
    }
}

/// The names of the shipped components.
pub const NAMES: [&str; 3] = ["console", "jsonl", "webhook"];
