//! The hash by which symbols and partitions are dealt out. It is part of the protocol between nodes: every version must
//! compute the same values, so it is written out here and pinned by a test.

/// Offset basis and prime of FNV-1a with 64 bits.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;
/// Ends each part. UTF-8 does not contain this byte, so that `["ab", "c"]` and `["a", "bc"]` differ.
const END: u8 = 0xff;

/// Returns the hash of some texts: FNV-1a over their bytes, each text followed by the byte 255, then the finaliser of
/// SplitMix64, without which similar texts would have similar values.
#[must_use]
pub fn hash(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([END]));
    mix(bytes.fold(BASIS, |state, byte| (state ^ u64::from(byte)).wrapping_mul(PRIME)))
}

const fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_kept_apart() {
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(hash(&["ab"]), hash(&["ab", ""]));
    }
}
