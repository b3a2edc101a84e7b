//! Loads any bytes as a component: the bytes themselves, or a valid component changed by them. An accepted component is
//! also run.

#![no_main]

use klines_fuzz::harness::{components, run};
use klines_system::limits::Limits;
use libfuzzer_sys::fuzz_target;

/// The largest component: larger ones take more time to compile than they are worth.
const MAX_BYTES: usize = 16 << 10;
const WHOLE: &[u8] = include_bytes!("../../runtime/tests/fixtures/contract/text-1.0.0.wasm");

// The first byte decides whether the rest is a component or a list of changes to one.
fuzz_target!(|input: &[u8]| {
    let Some((first, rest)) = input.split_first() else { return };
    let bytes = if first & 1 == 0 { rest.to_vec() } else { changed(rest) };
    if bytes.len() > MAX_BYTES {
        return;
    }
    let settings = if first & 2 == 0 { "{}" } else { r#"{"any":1}"# };
    if let Ok(component) = components().from_trusted(&bytes, Limits::default().component_size) {
        run(component, settings);
    }
});

/// Returns the fixture with sections removed, duplicated, swapped and overwritten as `changes` describes.
fn changed(changes: &[u8]) -> Vec<u8> {
    let mut sections = sections(WHOLE);
    for change in changes.chunks_exact(5) {
        let &[what, which, place, far, value] = change else { continue };
        if sections.is_empty() {
            break;
        }
        let at = usize::from(which) % sections.len();
        match what % 6 {
            0 => drop(sections.remove(at)),
            1 => {
                let copy = sections[at].clone();
                sections.insert(usize::from(place) % (sections.len() + 1), copy);
            }
            2 => {
                let other = usize::from(place) % sections.len();
                sections.swap(at, other);
            }
            ways => {
                let (_, body) = &mut sections[at];
                let place = usize::from(u16::from_le_bytes([place, far])) % body.len().max(1);
                match (ways, body.get_mut(place)) {
                    (3, Some(byte)) => *byte = value,
                    (4, Some(byte)) => *byte = byte.wrapping_add(value),
                    (5, Some(_)) if value & 1 == 0 => drop(body.remove(place)),
                    _ => body.insert(place, value),
                }
            }
        }
    }
    let mut bytes = WHOLE[..8].to_vec();
    for (id, body) in sections {
        bytes.push(id);
        let mut length = body.len();
        while length >= 128 {
            bytes.push((length & 127) as u8 | 128);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend(body);
    }
    bytes
}

/// Returns the sections of a component: id and content.
fn sections(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    let mut rest = &bytes[8..];
    while let Some((id, after)) = rest.split_first() {
        let (mut length, mut shift, mut used) = (0usize, 0, 0);
        for byte in after {
            length |= usize::from(byte & 127) << shift;
            shift += 7;
            used += 1;
            if byte & 128 == 0 {
                break;
            }
        }
        found.push((*id, after[used..used + length].to_vec()));
        rest = &after[used + length..];
    }
    found
}
