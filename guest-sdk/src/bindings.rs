//! The bindings that are generated from `wit/v1`; no code here is written by hand. The crate root re-exports the names
//! that authors use.
#![allow(unsafe_code, missing_docs, unused_qualifications, clippy::all, clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::panic, clippy::indexing_slicing, clippy::todo, clippy::unimplemented, clippy::needless_pass_by_value)]

wit_bindgen::generate!({
    path: "../wit/v1",
    world: "kline-consumer",
    export_macro_name: "export_component",
    pub_export_macro: true,
    default_bindings_module: "klines_guest::bindings",
    additional_derives: [PartialEq],
});
