//! Bindings generated from `wit/v1`, except for the code that writes the klines of a batch into a guest's memory
//! (`row`). With the feature `derived-rows` that code is generated, too.

#![allow(unsafe_code, reason = "generated code describes memory layouts to wasmtime, and so does the row of a kline")]
#![allow(missing_docs, unused_qualifications, clippy::all, reason = "generated")]

#[cfg(not(feature = "derived-rows"))]
mod row;

wasmtime::component::bindgen!({
    path: "../../../wit/v1",
    world: "kline-consumer",
    imports: { default: trappable },
    ownership: Borrowing { duplicate_if_necessary: true },
});

/// The records of the contract, with the klines of a batch as rows.
pub mod types {
    use wasmtime::component::{ComponentType, Lower};

    pub use super::klines::consumer::types::KlineParam as Record;
    #[cfg(feature = "derived-rows")]
    pub use super::klines::consumer::types::KlineParam as Kline;
    pub use super::klines::consumer::types::*;
    #[cfg(not(feature = "derived-rows"))]
    pub use super::row::Row as Kline;

    /// Returns a record in the form in which it is written into a guest's memory.
    #[cfg(not(feature = "derived-rows"))]
    pub fn row(record: Record<'_>) -> Kline<'_> {
        super::row::Row(record)
    }

    /// Returns a record in the form in which it is written into a guest's memory.
    #[cfg(feature = "derived-rows")]
    pub fn row(record: Record<'_>) -> Kline<'_> {
        record
    }

    #[derive(Clone, Copy, ComponentType, Lower)]
    #[component(record)]
    pub struct Batch<'a> {
        pub klines: &'a [Kline<'a>],
        pub lost: u64,
    }
}

/// The exported functions of a consumer, called with klines as rows.
pub mod calls {
    wasmtime::component::bindgen!({
        path: "../../../wit/v1",
        inline: "package klines:calls; world calls { export klines:consumer/consumer@1.2.0; }",
        ownership: Borrowing { duplicate_if_necessary: true },
        with: { "klines:consumer/types": super::types },
    });
}
