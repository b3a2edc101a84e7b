//! Implements the operations on files and folders.

use wasmtime::component::Resource;
use wasmtime::{Error, Result};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::filesystem::types::{self as wasi, HostDescriptor as Inner};
use wasmtime_wasi::p2::bindings::sync::filesystem::types as sync;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};

use super::quota::blocks;
use super::stream::QuotaStream;
use super::{Files, MAX_LISTINGS, wait};

impl Files<'_> {
    /// Refuses a path that is neither a regular file nor a folder; symbolic links are refused too. Returns whether it
    /// exists.
    fn check_kind(&mut self, folder: &Resource<Descriptor>, path: &str) -> FsResult<bool> {
        let folder = Resource::new_borrow(folder.rep());
        let found = Inner::stat_at(&mut self.inner, folder, wasi::PathFlags::empty(), path.to_owned());
        match wait(self.time, found).map(|found| found.type_) {
            Ok(wasi::DescriptorType::RegularFile | wasi::DescriptorType::Directory) => Ok(true),
            Ok(wasi::DescriptorType::SymbolicLink) => Err(wasi::ErrorCode::Loop.into()),
            Ok(_) => Err(wasi::ErrorCode::Unsupported.into()),
            Err(error) => match error.downcast() {
                Ok(wasi::ErrorCode::NoEntry) => Ok(false),
                Ok(code) => Err(code.into()),
                Err(trap) => Err(FsError::trap(trap)),
            },
        }
    }

    /// Refuses to move or link a file from one folder with a quota to another: it was charged to the first.
    fn check_same(&self, from: &Resource<Descriptor>, to: &Resource<Descriptor>) -> FsResult<()> {
        match (self.open.of.get(&from.rep()), self.open.of.get(&to.rep())) {
            (Some(from), Some(to)) if !from.is(to) => Err(wasi::ErrorCode::CrossDevice.into()),
            _ => Ok(()),
        }
    }

    /// Charges bytes, or a new entry, to the quota of the folder that a descriptor came from.
    fn charge(&self, descriptor: &Resource<Descriptor>, bytes: u64, entries: u64) -> FsResult<()> {
        let quota = self.open.of.get(&descriptor.rep());
        if quota.is_none_or(|quota| quota.admits(bytes, entries)) {
            return Ok(());
        }
        Err(wasi::ErrorCode::InsufficientSpace.into())
    }

    /// Wraps a stream, so that its writes are charged to the quota of its file.
    fn bound(&mut self, file: u32, stream: Resource<DynOutputStream>) -> FsResult<Resource<DynOutputStream>> {
        let Some(quota) = self.open.of.get(&file).cloned() else { return Ok(stream) };
        // Charges the first block: otherwise single bytes in many blocks would count almost nothing.
        let is_admitted = quota.admits(blocks(0, 1), 0);
        let inner = self.inner.table.delete(stream)?;
        if !is_admitted {
            return Err(wasi::ErrorCode::InsufficientSpace.into());
        }
        let bounded: DynOutputStream = Box::new(QuotaStream::new(inner, quota));
        Ok(self.inner.table.push(bounded)?)
    }
}

impl sync::HostDescriptor for Files<'_> {
    fn advise(
        &mut self,
        file: Resource<Descriptor>,
        offset: sync::Filesize,
        length: sync::Filesize,
        advice: sync::Advice,
    ) -> FsResult<()> {
        wait(self.time, Inner::advise(&mut self.inner, file, offset, length, advice.into()))
    }

    fn sync_data(&mut self, file: Resource<Descriptor>) -> FsResult<()> {
        wait(self.time, Inner::sync_data(&mut self.inner, file))
    }

    fn get_flags(&mut self, file: Resource<Descriptor>) -> FsResult<sync::DescriptorFlags> {
        wait(self.time, Inner::get_flags(&mut self.inner, file)).map(Into::into)
    }

    fn get_type(&mut self, file: Resource<Descriptor>) -> FsResult<sync::DescriptorType> {
        wait(self.time, Inner::get_type(&mut self.inner, file)).map(Into::into)
    }

    fn set_size(&mut self, file: Resource<Descriptor>, size: sync::Filesize) -> FsResult<()> {
        let present = Inner::stat(&mut self.inner, Resource::new_borrow(file.rep()));
        let present = wait(self.time, present)?.size;
        self.charge(&file, size.saturating_sub(present), 0)?;
        wait(self.time, Inner::set_size(&mut self.inner, file, size))
    }

    fn set_times(
        &mut self,
        file: Resource<Descriptor>,
        accessed: sync::NewTimestamp,
        modified: sync::NewTimestamp,
    ) -> FsResult<()> {
        wait(self.time, Inner::set_times(&mut self.inner, file, accessed.into(), modified.into()))
    }

    fn read(
        &mut self,
        file: Resource<Descriptor>,
        length: sync::Filesize,
        offset: sync::Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        wait(self.time, Inner::read(&mut self.inner, file, length, offset))
    }

    fn write(
        &mut self,
        file: Resource<Descriptor>,
        bytes: Vec<u8>,
        offset: sync::Filesize,
    ) -> FsResult<sync::Filesize> {
        self.charge(&file, blocks(offset, u64::try_from(bytes.len()).unwrap_or(u64::MAX)), 0)?;
        wait(self.time, Inner::write(&mut self.inner, file, bytes, offset))
    }

    fn read_directory(&mut self, folder: Resource<Descriptor>) -> FsResult<Resource<wasi::DirectoryEntryStream>> {
        if self.open.listings >= MAX_LISTINGS {
            return Err(FsError::trap(Error::msg(format!("lists more than {MAX_LISTINGS} folders at one time"))));
        }
        let listing = wait(self.time, Inner::read_directory(&mut self.inner, folder))?;
        self.open.listings += 1;
        Ok(listing)
    }

    fn sync(&mut self, file: Resource<Descriptor>) -> FsResult<()> {
        wait(self.time, Inner::sync(&mut self.inner, file))
    }

    fn create_directory_at(&mut self, folder: Resource<Descriptor>, path: String) -> FsResult<()> {
        self.charge(&folder, 0, 1)?;
        wait(self.time, Inner::create_directory_at(&mut self.inner, folder, path))
    }

    fn stat(&mut self, file: Resource<Descriptor>) -> FsResult<sync::DescriptorStat> {
        wait(self.time, Inner::stat(&mut self.inner, file)).map(Into::into)
    }

    fn stat_at(
        &mut self,
        folder: Resource<Descriptor>,
        flags: sync::PathFlags,
        path: String,
    ) -> FsResult<sync::DescriptorStat> {
        wait(self.time, Inner::stat_at(&mut self.inner, folder, flags.into(), path)).map(Into::into)
    }

    fn set_times_at(
        &mut self,
        folder: Resource<Descriptor>,
        _flags: sync::PathFlags,
        path: String,
        accessed: sync::NewTimestamp,
        modified: sync::NewTimestamp,
    ) -> FsResult<()> {
        // This operation opens the file; as in `open_at`, links are not followed.
        self.check_kind(&folder, &path)?;
        let (no_links, accessed, modified) = (wasi::PathFlags::empty(), accessed.into(), modified.into());
        wait(self.time, Inner::set_times_at(&mut self.inner, folder, no_links, path, accessed, modified))
    }

    fn link_at(
        &mut self,
        folder: Resource<Descriptor>,
        flags: sync::PathFlags,
        path: String,
        new_folder: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        self.check_same(&folder, &new_folder)?;
        self.charge(&new_folder, 0, 1)?;
        wait(self.time, Inner::link_at(&mut self.inner, folder, flags.into(), path, new_folder, new_path))
    }

    fn open_at(
        &mut self,
        folder: Resource<Descriptor>,
        _flags: sync::PathFlags,
        path: String,
        how: sync::OpenFlags,
        flags: sync::DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let exists = self.check_kind(&folder, &path)?;
        if how.contains(sync::OpenFlags::CREATE) && !exists {
            self.charge(&folder, 0, 1)?;
        }
        let from = folder.rep();
        // Links are not followed: a link could change its target after the check.
        let no_links = wasi::PathFlags::empty();
        let opened = Inner::open_at(&mut self.inner, folder, no_links, path, how.into(), flags.into());
        let opened = wait(self.time, opened)?;
        self.open.inherit(from, opened.rep());
        Ok(opened)
    }

    fn drop(&mut self, descriptor: Resource<Descriptor>) -> Result<()> {
        self.open.of.remove(&descriptor.rep());
        Inner::drop(&mut self.inner, descriptor)
    }

    fn readlink_at(&mut self, folder: Resource<Descriptor>, path: String) -> FsResult<String> {
        wait(self.time, Inner::readlink_at(&mut self.inner, folder, path))
    }

    fn remove_directory_at(&mut self, folder: Resource<Descriptor>, path: String) -> FsResult<()> {
        wait(self.time, Inner::remove_directory_at(&mut self.inner, folder, path))
    }

    fn rename_at(
        &mut self,
        folder: Resource<Descriptor>,
        path: String,
        new_folder: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        self.check_same(&folder, &new_folder)?;
        wait(self.time, Inner::rename_at(&mut self.inner, folder, path, new_folder, new_path))
    }

    fn symlink_at(&mut self, folder: Resource<Descriptor>, target: String, path: String) -> FsResult<()> {
        self.charge(&folder, 0, 1)?;
        wait(self.time, Inner::symlink_at(&mut self.inner, folder, target, path))
    }

    fn unlink_file_at(&mut self, folder: Resource<Descriptor>, path: String) -> FsResult<()> {
        wait(self.time, Inner::unlink_file_at(&mut self.inner, folder, path))
    }

    fn read_via_stream(
        &mut self,
        file: Resource<Descriptor>,
        offset: sync::Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        Inner::read_via_stream(&mut self.inner, file, offset)
    }

    fn write_via_stream(
        &mut self,
        file: Resource<Descriptor>,
        offset: sync::Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        let of = file.rep();
        let stream = Inner::write_via_stream(&mut self.inner, file, offset)?;
        self.bound(of, stream)
    }

    fn append_via_stream(&mut self, file: Resource<Descriptor>) -> FsResult<Resource<DynOutputStream>> {
        let of = file.rep();
        let stream = Inner::append_via_stream(&mut self.inner, file)?;
        self.bound(of, stream)
    }

    fn is_same_object(&mut self, one: Resource<Descriptor>, other: Resource<Descriptor>) -> Result<bool> {
        self.time.wait_for_work(Inner::is_same_object(&mut self.inner, one, other)).map_err(Error::new)?
    }

    fn metadata_hash(&mut self, file: Resource<Descriptor>) -> FsResult<sync::MetadataHashValue> {
        wait(self.time, Inner::metadata_hash(&mut self.inner, file)).map(Into::into)
    }

    fn metadata_hash_at(
        &mut self,
        folder: Resource<Descriptor>,
        flags: sync::PathFlags,
        path: String,
    ) -> FsResult<sync::MetadataHashValue> {
        wait(self.time, Inner::metadata_hash_at(&mut self.inner, folder, flags.into(), path)).map(Into::into)
    }
}
