//! What can go wrong with a call, and what helps.

use ::redis::RedisError;
use klines_domain::sanitize::sanitize;
use thiserror::Error;

use super::source::LIBRARY;
use crate::refusal::Refusal;

/// The maximum length of a message of Redis, in characters.
const MAX_MESSAGE: usize = 200;

/// Why a call has no answer. No message contains a password.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LibraryError {
    /// A function refused the call.
    #[error("{function}: {detail} ({refusal}): {}", fix(*refusal))]
    Refused {
        /// The function.
        function: &'static str,
        /// The reason.
        refusal: Refusal,
        /// What the function says.
        detail: String,
    },
    /// The user may not do this.
    #[error(
        "{function}: access denied: {detail}: give the user the rights of its role, or load the functions with `klines cluster load` (docs/cluster.md)"
    )]
    Denied {
        /// The function or command.
        function: &'static str,
        /// What Redis says.
        detail: String,
    },
    /// Redis answers with any other error.
    #[error("{function}: Redis refuses: {detail}{}", remedy(detail))]
    Failed {
        /// The function or command.
        function: &'static str,
        /// What Redis says.
        detail: String,
    },
    /// There is no answer.
    #[error("{function}: no answer: {detail}: check the address of Redis, and repeat")]
    Unreachable {
        /// The function or command.
        function: &'static str,
        /// What happened.
        detail: String,
    },
    /// The answer has another form.
    #[error("{function}: the answer has no {missing}: the library {LIBRARY} in this Redis is not that of this klines")]
    Answer {
        /// The function.
        function: &'static str,
        /// What is missing.
        missing: &'static str,
    },
    /// Redis has no functions.
    #[error("Redis {version} has no functions: use Redis 7.0 or later, or Valkey")]
    TooOld {
        /// Its version.
        version: String,
    },
    /// The library is there with another text.
    #[error(
        "the library {LIBRARY} in this Redis has another text, which another build of klines has loaded: use the same build for all \
         nodes, or end them all and run FUNCTION DELETE {LIBRARY}"
    )]
    Differs,
}

/// Returns whether Redis does not know a function.
fn is_unknown(detail: &str) -> bool {
    detail.contains("Function not found")
}

/// Says what helps against an error of Redis.
fn remedy(detail: &str) -> &'static str {
    if is_unknown(detail) {
        ": load the functions with `klines cluster load`"
    } else if detail.contains("WRONGTYPE") {
        ": somebody else uses keys of the cluster: remove them, or give the cluster another name"
    } else {
        ""
    }
}

/// Says what helps against a refusal.
const fn fix(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Stale => "ask for a new lease; what was sent with the old one was not written",
        Refusal::Taken => "give each node another name, or wait until the lease of its last process is over",
        Refusal::Held => "wait until it releases the lease, or until the lease is over",
        Refusal::Full => "remove what is not used any longer",
        Refusal::Resend => "send the last minute again, or acquire the lease again",
        Refusal::Wait => {
            "repeat; the other holder sends it as soon as it is connected, or loses its lease within seconds"
        }
        Refusal::Argument => "use nodes and functions of the same version",
    }
}

impl LibraryError {
    /// Returns why a function refused; `None` if it did not run.
    #[must_use]
    pub const fn refusal(&self) -> Option<Refusal> {
        if let Self::Refused { refusal, .. } = self { Some(*refusal) } else { None }
    }

    /// Returns whether the server behind the connection is gone, or takes no writes any longer.
    #[must_use]
    pub fn needs_new_connection(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Failed { detail, .. } => {
                // Whoever connects loads the functions, if it may.
                is_unknown(detail) || ["READONLY", "MASTERDOWN", "LOADING"].iter().any(|code| detail.starts_with(code))
            }
            _ => false,
        }
    }

    pub(super) fn too_old(version: &str) -> Self {
        Self::TooOld { version: sanitize(version, MAX_MESSAGE) }
    }

    pub(super) fn of(function: &'static str, error: &RedisError) -> Self {
        let Some(code) = error.code() else {
            return Self::Unreachable { function, detail: sanitize(&error.to_string(), MAX_MESSAGE) };
        };
        let detail = sanitize(error.detail().unwrap_or_default(), MAX_MESSAGE);
        match (Refusal::of_code(code), code) {
            (Some(refusal), _) => Self::Refused { function, refusal, detail },
            (None, "NOPERM" | "NOAUTH" | "WRONGPASS") => Self::Denied { function, detail },
            (None, _) => Self::Failed { function, detail: format!("{} {detail}", sanitize(code, MAX_MESSAGE)) },
        }
    }
}
