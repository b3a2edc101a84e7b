//! Generated from `wit/v1`.

#![allow(unsafe_code, reason = "the generated code describes memory layouts to wasmtime")]
#![allow(missing_docs, unused_qualifications, clippy::all, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../wit/v1",
    world: "kline-consumer",
    imports: { default: trappable },
    ownership: Borrowing { duplicate_if_necessary: true },
});
