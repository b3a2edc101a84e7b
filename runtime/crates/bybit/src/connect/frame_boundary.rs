//! A stream that knows whether the last byte that was read ends a frame: then no layer above it buffers a partial
//! frame. Follows only the lengths in the headers; it does not interpret the frames.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{ByteStream, Unread};

/// The bytes that end an HTTP head.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// How the bytes are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// The answer to a WebSocket upgrade, followed by messages.
    Upgrade,
    /// WebSocket messages, of one or several frames.
    Messages,
    /// TLS records.
    Records,
}

/// The position of a byte stream within its frames.
#[derive(Debug)]
struct FramePosition {
    framing: Framing,
    /// The bytes of the next frame's header so far; for an HTTP head, the part of its end that was matched.
    header: Vec<u8>,
    /// Remaining bytes of the frame.
    remaining: u64,
    /// Whether the message continues in another frame.
    is_continued: bool,
}

impl FramePosition {
    const fn new(framing: Framing) -> Self {
        Self { framing, header: Vec::new(), remaining: 0, is_continued: false }
    }

    const fn is_end(&self) -> bool {
        self.remaining == 0 && self.header.is_empty() && !self.is_continued
    }

    fn advance(&mut self, mut bytes: &[u8]) {
        loop {
            let skipped = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(bytes.len());
            self.remaining -= skipped as u64;
            let Some((byte, rest)) = bytes.get(skipped..).and_then(<[u8]>::split_first) else { return };
            bytes = rest;
            self.header.push(*byte);
            match self.framing {
                Framing::Upgrade => self.end_head(),
                Framing::Messages => self.begin_frame(),
                Framing::Records => self.begin_record(),
            }
        }
    }

    fn end_head(&mut self) {
        if self.header == HEAD_END {
            *self = Self::new(Framing::Messages);
        } else if !HEAD_END.starts_with(&self.header) {
            // The last byte may begin the end of the head.
            let is_begun = self.header.last() == Some(&b'\r');
            self.header.clear();
            self.header.extend(is_begun.then_some(b'\r'));
        }
    }

    /// Reads the length in a WebSocket frame header (RFC 6455, 5.2).
    fn begin_frame(&mut self) {
        let length = match self.header[..] {
            [_, short] if short & 0x7f < 126 => u64::from(short & 0x7f),
            [_, kind, high, low] if kind & 0x7f == 126 => u64::from(u16::from_be_bytes([high, low])),
            [_, _, a, b, c, d, e, f, g, h] => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            _ => return,
        };
        if let [first, second, ..] = self.header[..] {
            let is_masked = second & 0x80 != 0;
            self.remaining = length.saturating_add(if is_masked { 4 } else { 0 });
            let is_control = first & 0x08 != 0;
            self.is_continued = if is_control { self.is_continued } else { first & 0x80 == 0 };
        }
        self.header.clear();
    }

    /// Reads the length in a TLS record header (RFC 8446, 5.1).
    fn begin_record(&mut self) {
        if let [_, _, _, high, low] = self.header[..] {
            self.remaining = u64::from(u16::from_be_bytes([high, low]));
            self.header.clear();
        }
    }
}

/// A stream that follows the frame boundaries of the bytes that are read; writes are passed through.
pub struct FrameBoundary<S> {
    inner: S,
    position: FramePosition,
}

impl<S> FrameBoundary<S> {
    /// Follows the messages after a WebSocket upgrade.
    pub const fn messages(inner: S) -> Self {
        Self { inner, position: FramePosition::new(Framing::Upgrade) }
    }

    /// Follows TLS records.
    pub const fn records(inner: S) -> Self {
        Self { inner, position: FramePosition::new(Framing::Records) }
    }
}

impl<S: ByteStream> ByteStream for FrameBoundary<S> {
    fn unread(&self) -> Unread {
        match self.inner.unread() {
            Unread::Nothing if !self.position.is_end() => Unread::PartialFrame,
            unread => unread,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FrameBoundary<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, out);
        self.position.advance(out.filled().get(before..).unwrap_or_default());
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FrameBoundary<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, length: usize) -> Vec<u8> {
        let header = match length {
            0..126 => vec![first, length as u8],
            126..65_536 => [&[first, 126][..], &(length as u16).to_be_bytes()].concat(),
            _ => [&[first, 127][..], &(length as u64).to_be_bytes()].concat(),
        };
        [header, vec![b'\r'; length]].concat()
    }

    /// Returns the numbers of bytes read at which a frame ends, when reading `part` bytes at a time.
    fn ends(framing: Framing, bytes: &[u8], part: usize) -> Vec<usize> {
        let (mut position, mut read, mut ends) = (FramePosition::new(framing), 0, vec![]);
        for bytes in bytes.chunks(part) {
            position.advance(bytes);
            read += bytes.len();
            ends.extend(Some(read).filter(|_| position.is_end() && position.framing == framing));
        }
        ends
    }

    #[test]
    fn a_message_ends_with_the_last_byte_of_its_last_frame() {
        let masked = [&[0x81, 0x80 | 3, 1, 2, 3, 4][..], b"abc"].concat();
        let frames = [
            frame(0x81, 0),
            frame(0x82, 125),
            frame(0x81, 126),
            frame(0x81, 65_535),
            frame(0x81, 65_536),
            masked,
            frame(0x01, 5),
            // A ping within a message does not end the message.
            frame(0x89, 2),
            frame(0x00, 200),
            frame(0x80, 7),
        ];
        let mut lengths = frames.iter().scan(0, |read, frame| {
            *read += frame.len();
            Some(*read)
        });
        let mut expected: Vec<usize> = lengths.by_ref().take(6).collect();
        expected.extend(lengths.last());
        let bytes = frames.concat();
        assert_eq!(ends(Framing::Messages, &bytes, 1), expected);
        for part in [2, 3, 7, 126, 4_096, 100_000] {
            let ends = ends(Framing::Messages, &bytes, part);
            let reached = |end: &&usize| end.is_multiple_of(part) || **end == bytes.len();
            assert_eq!(ends, expected.iter().filter(reached).copied().collect::<Vec<_>>(), "{part}");
        }
    }

    #[test]
    fn messages_begin_after_the_head() {
        let heads = (0..6).map(|count| format!("HTTP/1.1 101 x\r\n{}\r\n", "Name: value\r\n".repeat(count)));
        let odd = ["HTTP/1.1 101 x\r\nA: \r b\r\n\r\n", "\r\n\r\n", "\r\r\n\r\r\n\r\n"].map(str::to_owned);
        for head in heads.chain(odd) {
            let mut position = FramePosition::new(Framing::Upgrade);
            for at in 0..head.len() {
                assert_eq!(position.framing, Framing::Upgrade, "{head:?} {at}");
                position.advance(&head.as_bytes()[at..=at]);
            }
            assert!(position.framing == Framing::Messages && position.is_end(), "{head:?}");
        }
        let mut position = FramePosition::new(Framing::Upgrade);
        position.advance(&[b"HTTP/1.1 101 x\r\n\r\n".as_slice(), &frame(0x81, 300)].concat());
        assert!(position.is_end());
    }

    #[test]
    fn a_record_ends_with_its_last_byte() {
        let bytes = [&[22, 3, 3, 0, 2][..], b"ab", &[23, 3, 3, 1, 0], &[0; 256], &[21, 3, 3, 0, 0]].concat();
        assert_eq!(ends(Framing::Records, &bytes, 1), [7, 268, 273]);
    }
}
