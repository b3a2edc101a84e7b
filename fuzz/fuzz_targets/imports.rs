//! Runs any program of host calls with any arguments, in any call of a consumer.

#![no_main]

use std::sync::{Arc, OnceLock};

use klines_fuzz::harness::{authority, components, run};
use klines_fuzz::interpreter::{component, settings};
use klines_wasm::component::Component;
use libfuzzer_sys::fuzz_target;

fn guest() -> Arc<Component> {
    static GUEST: OnceLock<Arc<Component>> = OnceLock::new();
    let make =
        || components().from_trusted(&component(&authority()), u64::MAX).unwrap_or_else(|error| panic!("{error}"));
    GUEST.get_or_init(make).clone()
}

fuzz_target!(|program: &[u8]| run(guest(), &settings(program)));
