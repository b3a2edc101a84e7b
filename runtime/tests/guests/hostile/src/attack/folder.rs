//! Attacks from inside granted folders: links out of them, paths above them, and changes where only reading is granted.

use klines_guest::info;

/// Tries everything in every granted folder and logs each outcome.
pub(crate) fn climb() {
    #[cfg(target_arch = "wasm32")]
    wasi::climb();
    #[cfg(not(target_arch = "wasm32"))]
    info!("no way up");
}

/// Writes one file into `/out`.
pub(crate) fn leave_mark() {
    let written = std::fs::write("/out/mark", "mark");
    info!("mark: {}", if written.is_ok() { "written" } else { "refused" });
}

/// Opens a file that may be a pipe, for reading and for writing.
pub(crate) fn open_pipe() {
    let read = std::fs::File::open("/out/pipe").map(drop);
    let write = std::fs::OpenOptions::new().write(true).open("/out/pipe").map(drop);
    info!("pipe: {} and {}", outcome(read), outcome(write));
}

/// Writes until a write is refused.
pub(crate) fn fill() {
    let piece = vec![7; 64 << 10];
    let refused = std::fs::File::create("/out/filling").and_then(|mut file| {
        loop {
            std::io::Write::write_all(&mut file, &piece)?;
        }
    });
    let bytes = std::fs::metadata("/out/filling").map_or(0, |found| found.len());
    info!("filled with {bytes} bytes: {}", outcome(refused));
}

pub(crate) fn list_again_and_again() {
    let listings: Vec<_> = (0..1_000).map(|_| std::fs::read_dir("/out")).collect();
    info!("began {} listings", listings.len());
}

fn outcome(result: std::io::Result<()>) -> String {
    result.map_or_else(|error| format!("{:?}", error.kind()), |()| "did it".to_owned())
}

#[cfg(target_arch = "wasm32")]
mod wasi {
    use klines_guest::info;
    use wasip2::filesystem::preopens::get_directories;
    use wasip2::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};

    pub(super) fn climb() {
        for (folder, name) in get_directories() {
            look(&folder, &name);
            change(&folder, &name);
        }
    }

    /// Tries to read files outside, by path and through existing or new links.
    fn look(folder: &Descriptor, name: &str) {
        let follow = PathFlags::SYMLINK_FOLLOW;
        report(name, "make a link up", folder.symlink_at("../secret", "up"));
        report(name, "make an absolute link", folder.symlink_at("/etc/passwd", "absolute"));
        for path in
            ["../secret", "..", "/etc/passwd", "inner/../../secret", "there", "there-folder/secret", "up", "absolute"]
        {
            let opened = folder.open_at(follow, path, OpenFlags::empty(), DescriptorFlags::READ);
            report(name, &format!("read {path}"), opened.and_then(|file| file.read(1, 0)).map(drop));
        }
        report(name, "hard link from outside", folder.link_at(PathFlags::empty(), "../secret", folder, "hard"));
        report(name, "hard link through a link", folder.link_at(follow, "there", folder, "harder"));
        report(name, "rename from outside", folder.rename_at("../secret", folder, "moved"));
        report(name, "rename to outside", folder.rename_at("own", folder, "../gone"));
        report(name, "write through a link", write(folder, "there", OpenFlags::empty()));
        report(name, "make a file outside", write(folder, "../made", OpenFlags::CREATE));
    }

    /// Tries to change what may only be read.
    fn change(folder: &Descriptor, name: &str) {
        report(name, "truncate", write(folder, "own", OpenFlags::TRUNCATE));
        let opened = folder.open_at(PathFlags::empty(), "own", OpenFlags::TRUNCATE, DescriptorFlags::READ);
        report(name, "truncate while reading", opened.map(drop));
        let opened = folder.open_at(PathFlags::empty(), "own", OpenFlags::empty(), DescriptorFlags::READ);
        report(name, "resize", opened.and_then(|file| file.set_size(0)));
        report(name, "hard link", folder.link_at(PathFlags::empty(), "own", folder, "own-too"));
        report(name, "rename", folder.rename_at("own", folder, "own-moved"));
        report(name, "remove", folder.unlink_file_at("own"));
        report(name, "make a folder", folder.create_directory_at("new"));
        // From the writable folder into the read-only one, and back.
        for (other, other_name) in get_directories() {
            if other_name != name {
                report(
                    name,
                    &format!("link into {other_name}"),
                    folder.link_at(PathFlags::empty(), "own", &other, "carried"),
                );
                report(name, &format!("move into {other_name}"), folder.rename_at("own", &other, "carried"));
            }
        }
    }

    fn write(folder: &Descriptor, path: &str, flags: OpenFlags) -> Result<(), ErrorCode> {
        let file = folder.open_at(PathFlags::SYMLINK_FOLLOW, path, flags, DescriptorFlags::WRITE)?;
        file.write(b"hostile", 0).map(drop)
    }

    fn report(folder: &str, what: &str, outcome: Result<(), ErrorCode>) {
        match outcome {
            Ok(()) => info!("{folder} {what}: did it"),
            Err(code) => info!("{folder} {what}: {}", code.name()),
        }
    }
}
