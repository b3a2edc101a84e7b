//! Encodes text frames as bytes that many clients share: header and payload are encoded once (RFC 6455, unmasked,
//! final).

use bytes::Bytes;

/// Encodes a text frame.
#[must_use]
pub fn text(payload: &str) -> Bytes {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    append(payload, &mut frame);
    frame.into()
}

/// Appends a text frame to `frames`.
pub fn append(payload: &str, frames: &mut Vec<u8>) {
    header(payload.len(), frames);
    frames.extend_from_slice(payload.as_bytes());
}

/// An empty ping.
pub const PING: Bytes = Bytes::from_static(b"\x89\x00");

#[expect(clippy::cast_possible_truncation, reason = "each arm has checked the range")]
fn header(length: usize, frame: &mut Vec<u8>) {
    const FINAL_TEXT: u8 = 0x81;
    frame.push(FINAL_TEXT);
    match length {
        0..126 => frame.push(length as u8),
        126..=0xffff => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};

    use super::*;

    #[test]
    fn a_peer_reads_every_length_back() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 200_000] {
            let payload = "k".repeat(length);
            let stream = std::io::Cursor::new(text(&payload).to_vec());
            let mut peer = WebSocket::from_raw_socket(stream, Role::Client, None);
            assert_eq!(peer.read().unwrap(), Message::text(payload), "{length}");
        }
    }
}
