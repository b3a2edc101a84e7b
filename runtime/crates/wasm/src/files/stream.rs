//! An output stream to a file that charges its writes to the quota of the folder.

use std::io;

use bytes::Bytes;
use rustix::io::Errno;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{DynOutputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::Quota;

pub(super) struct QuotaStream {
    inner: DynOutputStream,
    quota: Quota,
}

impl QuotaStream {
    pub(super) fn new(inner: DynOutputStream, quota: Quota) -> Self {
        Self { inner, quota }
    }

    fn charge(&self, bytes: &Bytes) -> StreamResult<()> {
        // The first block was charged when the stream was opened; from then on, rounding to blocks matters little.
        if self.quota.admits(u64::try_from(bytes.len()).unwrap_or(u64::MAX), 0) {
            return Ok(());
        }
        Err(StreamError::LastOperationFailed(io::Error::from(Errno::NOSPC).into()))
    }
}

#[async_trait]
impl Pollable for QuotaStream {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[async_trait]
impl OutputStream for QuotaStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.charge(&bytes)?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.inner.check_write()
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.charge(&bytes)?;
        self.inner.blocking_write_and_flush(bytes).await
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}
