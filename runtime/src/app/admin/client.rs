//! The client side: finds the run by its data folder, sends a request and reads the answers.

use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::protocol::{Answer, Op, Request, Response};

/// How long an answer may take; longer than any order takes.
const READ_TIMEOUT: Duration = Duration::from_secs(130);

/// Why no run can be asked, or its answer cannot be used.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No process listens on the socket.
    #[error(
        "no klines runs with the data_dir `{}`: start `klines run`, or set the folder of a running one with \
         --data-dir or --config", .0.display()
    )]
    NotRunning(PathBuf),
    /// The socket belongs to another user.
    #[error("{} belongs to another user: ask as the user who runs klines", .0.display())]
    Forbidden(PathBuf),
    /// The connection ended before the answer did.
    #[error("klines has ended")]
    Ended,
    /// The answer is not one of this protocol: it comes from another program or version.
    #[error("the answer cannot be understood: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The run refused the request.
    #[error("{0}")]
    Refused(String),
    /// Another error of the operating system.
    #[error("cannot talk to klines at {}: {error}", path.display())]
    Io {
        /// Path of the socket.
        path: PathBuf,
        /// Error of the operating system.
        error: io::Error,
    },
}

/// Reads the answers to a request that was sent.
#[derive(Debug)]
pub struct Answers {
    reader: BufReader<UnixStream>,
    path: PathBuf,
}

/// Ends a connection: the answers end then with [`ClientError::Ended`].
#[derive(Debug)]
pub struct Closer(UnixStream);

impl Closer {
    /// Ends the connection.
    pub fn close(&self) {
        // It may have ended by itself.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Sends a request to the run with the data folder `data_dir`.
///
/// # Errors
/// [`ClientError`] when no such run exists, or it belongs to another user.
pub fn ask(data_dir: &Path, op: Op) -> Result<Answers, ClientError> {
    let path = super::path(data_dir);
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
            ClientError::NotRunning(data_dir.to_owned())
        }
        io::ErrorKind::PermissionDenied => ClientError::Forbidden(path.clone()),
        _ => ClientError::Io { path: path.clone(), error },
    };
    let follows = matches!(op, Op::Logs { follow: true, .. } | Op::Tail { .. });
    let mut stream = UnixStream::connect(&path).map_err(failed)?;
    stream.set_read_timeout((!follows).then_some(READ_TIMEOUT)).map_err(failed)?;
    let mut text = serde_json::to_vec(&Request::from(op))?;
    text.push(b'\n');
    stream.write_all(&text).map_err(failed)?;
    Ok(Answers { reader: BufReader::new(stream), path })
}

impl Answers {
    /// Reads the next answer.
    ///
    /// # Errors
    /// [`ClientError`]; `Refused` for an answer that is an error.
    pub fn read(&mut self) -> Result<Answer, ClientError> {
        let mut text = String::new();
        self.read_line(&mut text)?;
        match serde_json::from_str::<Response>(&text)?.answer {
            Answer::Error(reason) => Err(ClientError::Refused(reason)),
            answer => Ok(answer),
        }
    }

    /// Reads the text of the next answer.
    ///
    /// # Errors
    /// [`ClientError`] when there is none.
    pub fn read_line(&mut self, text: &mut String) -> Result<(), ClientError> {
        text.clear();
        let read = self.reader.read_line(text);
        match read.map_err(|error| ClientError::Io { path: self.path.clone(), error })? {
            0 => Err(ClientError::Ended),
            _ => Ok(()),
        }
    }

    /// Returns whether the next answer, or a part of it, has arrived.
    #[must_use]
    pub fn has_more(&self) -> bool {
        !self.reader.buffer().is_empty()
    }

    /// Returns what ends the connection, also while another thread waits for an answer.
    ///
    /// # Errors
    /// When no file descriptor is free.
    pub fn closer(&self) -> io::Result<Closer> {
        self.reader.get_ref().try_clone().map(Closer)
    }
}
