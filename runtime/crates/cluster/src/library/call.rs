//! A call of a function as a value: the command that is sent, and how its answer is read. A command can be sent alone or
//! in a pipeline.

use ::redis::aio::ConnectionLike;
use ::redis::{Cmd, Value, cmd};

use super::answer::Answer;
use super::error::LibraryError;

/// One call.
pub trait Call {
    /// What is answered.
    type Answer;
    /// The name of the function.
    const FUNCTION: &'static str;
    /// Whether the function writes nothing.
    const READ_ONLY: bool = false;

    /// Returns the keys.
    fn keys(&self) -> Vec<String>;

    /// Appends the arguments.
    fn arguments(&self, command: &mut Cmd);

    /// Returns the command to send.
    fn command(&self) -> Cmd {
        let keys = self.keys();
        let mut command = cmd(if Self::READ_ONLY { "FCALL_RO" } else { "FCALL" });
        command.arg(Self::FUNCTION).arg(keys.len()).arg(&keys);
        self.arguments(&mut command);
        command
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// [`LibraryError::Answer`] if it has another form.
    fn read(&self, value: &Value) -> Result<Self::Answer, LibraryError>;

    /// Reads what Redis answered, or why it refused.
    ///
    /// # Errors
    /// [`LibraryError`].
    fn result(&self, result: Result<Value, ::redis::RedisError>) -> Result<Self::Answer, LibraryError> {
        self.read(&result.map_err(|error| LibraryError::of(Self::FUNCTION, &error))?)
    }
}

/// Sends one call and awaits its answer.
///
/// # Errors
/// [`LibraryError`].
pub async fn call<C: Call>(connection: &mut impl ConnectionLike, call: &C) -> Result<C::Answer, LibraryError> {
    call.read(&request(connection, C::FUNCTION, &call.command()).await?)
}

/// Sends a command and awaits its answer.
///
/// # Errors
/// [`LibraryError`].
pub async fn request(
    connection: &mut impl ConnectionLike,
    function: &'static str,
    command: &Cmd,
) -> Result<Value, LibraryError> {
    command.query_async(connection).await.map_err(|error| LibraryError::of(function, &error))
}

pub(super) fn answer<C: Call>(value: &Value) -> Result<Answer<'_>, LibraryError> {
    Answer::new(C::FUNCTION, value)
}
