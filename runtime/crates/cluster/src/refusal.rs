//! Why Redis refuses a request of a node. The node machines act on it; the library adds what is said about it.

use std::fmt;

/// The reason of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The lease is over, or the token is not that of the newest grant.
    Stale,
    /// A living process has this name.
    Taken,
    /// Another worker has the lease.
    Held,
    /// There is no room for another member, holder, group or series.
    Full,
    /// This Redis is not the one that the node knows: its last minute has to be sent again, or its lease acquired again.
    Resend,
    /// A live holder has not sent its last minute again yet, after a failover.
    Wait,
    /// The arguments are not valid: a mistake in the program, or somebody else calls the function.
    Argument,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 7] =
        [Self::Stale, Self::Taken, Self::Held, Self::Full, Self::Resend, Self::Wait, Self::Argument];

    /// Returns the code with which the error of Redis begins.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Stale => "STALE",
            Self::Taken => "TAKEN",
            Self::Held => "HELD",
            Self::Full => "FULL",
            Self::Resend => "RESEND",
            Self::Wait => "WAIT",
            Self::Argument => "ARGUMENT",
        }
    }

    /// Returns the reason with a code; `None` if the code is another one of Redis.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.code() == code)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.code())
    }
}
