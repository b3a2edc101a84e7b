//! The manifest: the permissions that a component requests, as a section of its file. The runtime reads and checks it;
//! this module does not.

/// Lists the permissions that this component requests, so that an operator sees them before running it and does not
/// grant more. Use it once, at the top level of the crate that [`export!`](crate::export)s the consumer.
///
/// The text is a JSON object of at most 64 KiB. All keys are optional:
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
/// The host `*` means any host that the operator chooses; without `methods`, the method is GET. If a component has a
/// manifest, permissions that are not in it are not granted. `klines consumer inspect FILE` shows the manifest.
#[macro_export]
macro_rules! manifest {
    ($json:expr) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            const JSON: &str = $json;
            #[allow(unsafe_code, reason = "sets the section of a static")]
            #[used]
            #[unsafe(link_section = "klines:manifest")]
            static MANIFEST: [u8; JSON.len()] = $crate::manifest::bytes(JSON);
        };
        // A plain `cargo test` has no such section; this only marks the text as used.
        #[cfg(not(target_arch = "wasm32"))]
        const _: &str = $json;
    };
}

/// Returns the bytes of a text as an array. Only [`manifest!`](crate::manifest!) calls it.
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
