//! The manifest: what a component says that it wants, as a section of its file. The runtime reads it; nothing here
//! checks it.

/// Writes down what this component wants, so that an operator sees it before running it and grants no more. To be
/// written once, at the top level of the crate that [`export!`](crate::export)s the consumer.
///
/// The text is a JSON object of at most 64 KiB. All keys may be left out:
///
/// ```
/// klines_guest::manifest!(
///     r#"{
///         "name": "my-alerts",
///         "version": "1.2.0",
///         "description": "Posts an alert when a close crosses its average",
///         "http": [{ "host": "hooks.example.com", "methods": ["POST"] }],
///         "dirs": [{ "guest": "/state", "write": true }],
///         "env": ["TZ"],
///         "secrets": [{ "header": "authorization", "host": "hooks.example.com" }]
///     }"#
/// );
/// ```
///
/// The host `*` is any that the operator chooses; methods are GET if none are named. With a manifest, what it does not
/// ask for is not granted. `klines consumer inspect FILE` shows it.
#[macro_export]
macro_rules! manifest {
    ($json:expr) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            const JSON: &str = $json;
            #[allow(unsafe_code, reason = "names a section of the file")]
            #[used]
            #[unsafe(link_section = "klines:manifest")]
            static MANIFEST: [u8; JSON.len()] = $crate::manifest::bytes(JSON);
        };
        // Under a plain `cargo test` there is no section, but the text still counts as used.
        #[cfg(not(target_arch = "wasm32"))]
        const _: &str = $json;
    };
}

/// The bytes of a text, by value. For [`manifest!`](crate::manifest!).
///
/// # Panics
/// At compile time, if the text does not have `N` bytes.
#[doc(hidden)]
#[must_use]
#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
pub const fn bytes<const N: usize>(text: &str) -> [u8; N] {
    let text = text.as_bytes();
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        bytes[at] = text[at];
        at += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_bytes_are_those_of_the_text() {
        assert_eq!(super::bytes::<4>("{é}"), *"{é}".as_bytes());
    }
}
