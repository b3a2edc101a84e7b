//! The reasons for which the server closes a connection, with their close codes. `docs/websocket.md` has the same
//! table.

use bytes::Bytes;

/// A reason to close a connection, with the close code that the client receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// The server stops or restarts.
    Shutdown,
    /// The client did not read its frames.
    Slow,
    /// Nothing was received from the client for too long.
    NoPong,
    /// No credentials in time.
    AuthenticationTimeout,
    /// Wrong or malformed credentials.
    AuthenticationFailed,
    /// The client sent more commands a second than allowed.
    TooManyCommands,
    /// The client sent a message that the dialect does not define.
    Unreadable,
    /// RFC 6455: broken framing.
    Protocol,
    /// RFC 6455: text that is not UTF-8.
    InvalidText,
    /// RFC 6455: a message or frame over the limit.
    TooBig,
}

impl CloseCode {
    /// The codes that this server defines, as documented.
    pub const OWN: [Self; 7] = [
        Self::Shutdown,
        Self::Slow,
        Self::NoPong,
        Self::AuthenticationTimeout,
        Self::AuthenticationFailed,
        Self::TooManyCommands,
        Self::Unreadable,
    ];

    /// All codes, those of RFC 6455 included.
    pub const ALL: [Self; 10] = [
        Self::Shutdown,
        Self::Slow,
        Self::NoPong,
        Self::AuthenticationTimeout,
        Self::AuthenticationFailed,
        Self::TooManyCommands,
        Self::Unreadable,
        Self::Protocol,
        Self::InvalidText,
        Self::TooBig,
    ];

    /// Returns the number on the wire. After 3000 to 3499 a client should reconnect, after 3500 to 3999 it should not.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Shutdown => 3000,
            Self::Slow => 3001,
            Self::NoPong => 3002,
            Self::AuthenticationTimeout => 3500,
            Self::AuthenticationFailed => 3501,
            Self::TooManyCommands => 3502,
            Self::Unreadable => 3503,
            Self::Protocol => 1002,
            Self::InvalidText => 1007,
            Self::TooBig => 1009,
        }
    }

    /// Returns the reason on the wire, in the logs and in the metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Slow => "slow",
            Self::NoPong => "no pong",
            Self::AuthenticationTimeout => "authentication timeout",
            Self::AuthenticationFailed => "authentication failed",
            Self::TooManyCommands => "too many commands",
            Self::Unreadable => "unreadable",
            Self::Protocol => "protocol error",
            Self::InvalidText => "invalid text",
            Self::TooBig => "too big",
        }
    }

    /// Encodes the close frame.
    #[must_use]
    pub fn frame(self) -> Bytes {
        let reason = self.reason().as_bytes();
        let mut frame = Vec::with_capacity(4 + reason.len());
        // The payload of a control frame is at most 125 bytes, so that its length takes one byte.
        frame.extend([0x88, u8::try_from(2 + reason.len()).unwrap_or(2)]);
        frame.extend(self.code().to_be_bytes());
        frame.extend(reason);
        frame.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_table_is_this_list() {
        let document = include_str!("../../../../docs/websocket.md");
        for code in CloseCode::OWN {
            let row = format!("| {} | `{}` |", code.code(), code.reason());
            let line = document.lines().find(|line| line.starts_with(&row));
            let line = line.unwrap_or_else(|| panic!("{row} is not documented"));
            assert_eq!(line.ends_with("| yes |"), code.code() < 3500, "{line}");
        }
        let documented = document.lines().filter(|line| line.starts_with("| 3")).count();
        assert_eq!(documented, CloseCode::OWN.len());
    }

    #[test]
    fn a_close_frame_is_code_and_reason() {
        assert_eq!(CloseCode::Slow.frame().as_ref(), b"\x88\x06\x0b\xb9slow");
    }
}
