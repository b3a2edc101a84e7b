//! The operator's side: finds the run by its folder of data, asks, and reads the answers.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::protocol::{Answer, Op, Request, Response};

/// Longer than any order takes.
const PATIENCE: Duration = Duration::from_secs(130);

/// Why nobody can be asked, or the answer cannot be used.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no klines runs with the data_dir `{}`: start `klines run`, or name the folder of one that runs with \
         --data-dir or --config", .0.display()
    )]
    NobodyThere(PathBuf),
    /// The socket is another user's.
    #[error("{} belongs to another user: ask as the user who runs klines", .0.display())]
    Forbidden(PathBuf),
    /// The connection ended before the answer did.
    #[error("klines has ended")]
    Ended,
    /// Another program or version answers.
    #[error("the answer cannot be understood: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The run says no.
    #[error("{0}")]
    Refused(String),
    /// Anything else.
    #[error("cannot talk to klines at {}: {error}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// A request that was sent; its answers.
#[derive(Debug)]
pub struct Answers {
    reader: BufReader<UnixStream>,
    path: PathBuf,
}

/// Asks the run with this folder of data.
///
/// # Errors
/// [`ClientError`] when there is none, or it is another user's.
pub fn ask(data_dir: &Path, op: Op) -> Result<Answers, ClientError> {
    let path = super::path(data_dir);
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
            ClientError::NobodyThere(data_dir.to_owned())
        }
        io::ErrorKind::PermissionDenied => ClientError::Forbidden(path.clone()),
        _ => ClientError::Io { path: path.clone(), error },
    };
    let follows = matches!(op, Op::Logs { follow: true, .. });
    let mut stream = UnixStream::connect(&path).map_err(failed)?;
    stream.set_read_timeout((!follows).then_some(PATIENCE)).map_err(failed)?;
    let mut text = serde_json::to_vec(&Request::from(op))?;
    text.push(b'\n');
    stream.write_all(&text).map_err(failed)?;
    Ok(Answers { reader: BufReader::new(stream), path })
}

impl Answers {
    /// Reads the next answer.
    ///
    /// # Errors
    /// [`ClientError`]; `Refused` for an answer that says no.
    pub fn read(&mut self) -> Result<Answer, ClientError> {
        let mut text = String::new();
        let read = self.reader.read_line(&mut text);
        match read.map_err(|error| ClientError::Io { path: self.path.clone(), error })? {
            0 => Err(ClientError::Ended),
            _ => match serde_json::from_str::<Response>(&text)?.answer {
                Answer::Error(reason) => Err(ClientError::Refused(reason)),
                answer => Ok(answer),
            },
        }
    }
}
