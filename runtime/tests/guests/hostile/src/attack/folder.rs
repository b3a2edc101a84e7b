//! Attacks from inside granted folders: links out of them, names above them, changes where only reading is granted.

use klines_guest::info;

/// Tries everything in every granted folder and logs each outcome.
pub(crate) fn climb() {
    #[cfg(target_arch = "wasm32")]
    wasi::climb();
    #[cfg(not(target_arch = "wasm32"))]
    info!("no way up");
}

/// Writes one file into the folder that is granted first.
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

/// Writes until there is no room.
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

    /// Reads what lies outside, by names and through links that are there or that it makes.
    fn look(folder: &Descriptor, name: &str) {
        let follow = PathFlags::SYMLINK_FOLLOW;
        tell(name, "make a link up", folder.symlink_at("../secret", "up"));
        tell(name, "make an absolute link", folder.symlink_at("/etc/passwd", "absolute"));
        for path in
            ["../secret", "..", "/etc/passwd", "inner/../../secret", "there", "there-folder/secret", "up", "absolute"]
        {
            let opened = folder.open_at(follow, path, OpenFlags::empty(), DescriptorFlags::READ);
            tell(name, &format!("read {path}"), opened.and_then(|file| file.read(1, 0)).map(drop));
        }
        tell(name, "hard link from outside", folder.link_at(PathFlags::empty(), "../secret", folder, "hard"));
        tell(name, "hard link through a link", folder.link_at(follow, "there", folder, "harder"));
        tell(name, "rename from outside", folder.rename_at("../secret", folder, "moved"));
        tell(name, "rename to outside", folder.rename_at("own", folder, "../gone"));
        tell(name, "write through a link", write(folder, "there", OpenFlags::empty()));
        tell(name, "make a file outside", write(folder, "../made", OpenFlags::CREATE));
    }

    /// Changes what may only be read.
    fn change(folder: &Descriptor, name: &str) {
        tell(name, "truncate", write(folder, "own", OpenFlags::TRUNCATE));
        let opened = folder.open_at(PathFlags::empty(), "own", OpenFlags::TRUNCATE, DescriptorFlags::READ);
        tell(name, "truncate while reading", opened.map(drop));
        let opened = folder.open_at(PathFlags::empty(), "own", OpenFlags::empty(), DescriptorFlags::READ);
        tell(name, "resize", opened.and_then(|file| file.set_size(0)));
        tell(name, "hard link", folder.link_at(PathFlags::empty(), "own", folder, "own-too"));
        tell(name, "rename", folder.rename_at("own", folder, "own-moved"));
        tell(name, "remove", folder.unlink_file_at("own"));
        tell(name, "make a folder", folder.create_directory_at("new"));
        // From the folder that may be written into the one that may not, and back.
        for (other, other_name) in get_directories() {
            if other_name != name {
                tell(
                    name,
                    &format!("link into {other_name}"),
                    folder.link_at(PathFlags::empty(), "own", &other, "carried"),
                );
                tell(name, &format!("move into {other_name}"), folder.rename_at("own", &other, "carried"));
            }
        }
    }

    fn write(folder: &Descriptor, path: &str, flags: OpenFlags) -> Result<(), ErrorCode> {
        let file = folder.open_at(PathFlags::SYMLINK_FOLLOW, path, flags, DescriptorFlags::WRITE)?;
        file.write(b"hostile", 0).map(drop)
    }

    fn tell(folder: &str, what: &str, outcome: Result<(), ErrorCode>) {
        match outcome {
            Ok(()) => info!("{folder} {what}: did it"),
            Err(code) => info!("{folder} {what}: {}", code.name()),
        }
    }
}
