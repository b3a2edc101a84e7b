//! A thin client of the functions in Redis: it loads them, and has one type for each call. It decides nothing and
//! repeats nothing; what a refusal means for a node is decided in `membership` and `workers`.

mod answer;
mod call;
mod error;
mod holders;
mod klines;
mod members;
mod source;
mod workers;

use ::redis::aio::ConnectionLike;
use ::redis::cmd;

pub use self::call::{Call, call, request};
pub use self::error::LibraryError;
pub use self::holders::{Drop, Hold, Holding};
pub use self::klines::{Append, PartitionState, PartitionView, Resend, Trim, Trimmed, Written};
pub use self::members::{Beat, Join, Leave, Membership, ViewMembers};
pub use self::source::{LIBRARY, source};
pub use self::workers::{Acquire, Commit, Note, Release, Renew};

pub(crate) use self::answer::{field, plain};

/// The first version of Redis that has functions.
const OLDEST: u64 = 7;

/// How the library came to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// It was loaded now.
    Now,
    /// It was there already.
    Before,
}

/// Loads the functions of this version, unless they are there. Other versions stay as they are.
///
/// # Errors
/// [`LibraryError::TooOld`] if Redis has no functions, [`LibraryError::Differs`] if this version is there with another
/// text, which is never replaced, and whatever Redis refuses.
pub async fn load(connection: &mut impl ConnectionLike) -> Result<Loaded, LibraryError> {
    if find(connection).await? {
        return Ok(Loaded::Before);
    }
    match request(connection, "FUNCTION LOAD", cmd("FUNCTION").arg("LOAD").arg(source())).await {
        Ok(_) => Ok(Loaded::Now),
        // Another node may have loaded it meanwhile.
        Err(error) => match is_there(connection).await {
            Ok(true) => Ok(Loaded::Before),
            _ => Err(error),
        },
    }
}

/// Returns whether this version of the library is there. Changes nothing.
///
/// # Errors
/// [`LibraryError::TooOld`], [`LibraryError::Differs`], and whatever Redis refuses.
pub async fn find(connection: &mut impl ConnectionLike) -> Result<bool, LibraryError> {
    check_version(connection).await?;
    is_there(connection).await
}

async fn check_version(connection: &mut impl ConnectionLike) -> Result<(), LibraryError> {
    let hello = request(connection, "HELLO", &cmd("HELLO")).await?;
    let version = field(&hello, "version").and_then(plain).unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse::<u64>().ok());
    if major.is_some_and(|major| major >= OLDEST) { Ok(()) } else { Err(LibraryError::too_old(&version)) }
}

/// Returns whether this version of the library is there, with this text.
async fn is_there(connection: &mut impl ConnectionLike) -> Result<bool, LibraryError> {
    let mut command = cmd("FUNCTION");
    command.arg("LIST").arg("LIBRARYNAME").arg(LIBRARY).arg("WITHCODE");
    let listed = request(connection, "FUNCTION LIST", &command).await?;
    let Some(library) = listed.as_sequence().and_then(<[_]>::first) else { return Ok(false) };
    let code = field(library, "library_code").and_then(plain);
    if code.as_deref() == Some(source()) { Ok(true) } else { Err(LibraryError::Differs) }
}
