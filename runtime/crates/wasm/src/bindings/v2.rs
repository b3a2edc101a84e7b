//! Bindings of a version that exists only in tests: it proves that two versions of the contract can coexist.

#![allow(unsafe_code, reason = "the generated code describes memory layouts to wasmtime")]
#![allow(missing_docs, unused_qualifications, clippy::all, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../../tests/fixtures/contract/v2",
    world: "kline-consumer",
    imports: { default: trappable },
    ownership: Borrowing { duplicate_if_necessary: true },
});
