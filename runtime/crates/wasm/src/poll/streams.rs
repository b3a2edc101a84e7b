//! WASI's streams within the deadline of the call: a slow peer must not block the call beyond its time.

use wasmtime::Result;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::sync::io::streams as sync;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamError, StreamResult};
use wasmtime_wasi_io::bindings::wasi::io::streams::{HostInputStream as Input, HostOutputStream as Output};

use super::{BoundedPoll, CallTime};

fn wait<T>(time: &mut CallTime, wait: impl Future<Output = StreamResult<T>>) -> StreamResult<T> {
    time.wait(wait).map_err(|overdue| StreamError::Trap(wasmtime::Error::new(overdue)))?
}

impl sync::Host for BoundedPoll<'_> {
    fn convert_stream_error(&mut self, error: StreamError) -> Result<sync::StreamError> {
        sync::Host::convert_stream_error(self.table, error)
    }
}

impl sync::HostInputStream for BoundedPoll<'_> {
    fn read(&mut self, stream: Resource<DynInputStream>, most: u64) -> StreamResult<Vec<u8>> {
        sync::HostInputStream::read(self.table, stream, most)
    }

    fn blocking_read(&mut self, stream: Resource<DynInputStream>, most: u64) -> StreamResult<Vec<u8>> {
        wait(self.time, Input::blocking_read(self.table, stream, most))
    }

    fn skip(&mut self, stream: Resource<DynInputStream>, most: u64) -> StreamResult<u64> {
        sync::HostInputStream::skip(self.table, stream, most)
    }

    fn blocking_skip(&mut self, stream: Resource<DynInputStream>, most: u64) -> StreamResult<u64> {
        wait(self.time, Input::blocking_skip(self.table, stream, most))
    }

    fn subscribe(&mut self, stream: Resource<DynInputStream>) -> Result<Resource<DynPollable>> {
        sync::HostInputStream::subscribe(self.table, stream)
    }

    fn drop(&mut self, stream: Resource<DynInputStream>) -> Result<()> {
        self.time.wait(Input::drop(self.table, stream)).map_err(wasmtime::Error::new)?
    }
}

impl sync::HostOutputStream for BoundedPoll<'_> {
    fn check_write(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        sync::HostOutputStream::check_write(self.table, stream)
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        sync::HostOutputStream::write(self.table, stream, bytes)
    }

    fn blocking_write_and_flush(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        wait(self.time, Output::blocking_write_and_flush(self.table, stream, bytes))
    }

    fn flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        sync::HostOutputStream::flush(self.table, stream)
    }

    fn blocking_flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        wait(self.time, Output::blocking_flush(self.table, stream))
    }

    fn subscribe(&mut self, stream: Resource<DynOutputStream>) -> Result<Resource<DynPollable>> {
        sync::HostOutputStream::subscribe(self.table, stream)
    }

    fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, count: u64) -> StreamResult<()> {
        sync::HostOutputStream::write_zeroes(self.table, stream, count)
    }

    fn blocking_write_zeroes_and_flush(&mut self, stream: Resource<DynOutputStream>, count: u64) -> StreamResult<()> {
        wait(self.time, Output::blocking_write_zeroes_and_flush(self.table, stream, count))
    }

    fn splice(
        &mut self,
        to: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        most: u64,
    ) -> StreamResult<u64> {
        sync::HostOutputStream::splice(self.table, to, from, most)
    }

    fn blocking_splice(
        &mut self,
        to: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        most: u64,
    ) -> StreamResult<u64> {
        wait(self.time, Output::blocking_splice(self.table, to, from, most))
    }

    fn drop(&mut self, stream: Resource<DynOutputStream>) -> Result<()> {
        self.time.wait(Output::drop(self.table, stream)).map_err(wasmtime::Error::new)?
    }
}
