//! Generates the bindings for C and Go, so that authors do not have to install a generator.

use std::fs;
use std::path::Path;

use wit_bindgen_core::{Files, WorldGenerator};

use super::build::{BuildError, io_error};
use super::contract::World;

/// Generates the bindings for a world into a folder, together with the files `more`, and removes all other files there.
///
/// Unchanged files are not written again, because compilers look at their modification times.
pub(super) fn generate(
    mut generator: Box<dyn WorldGenerator>,
    world: &World,
    folder: &Path,
    more: &[(&str, String)],
) -> Result<(), BuildError> {
    let mut world = world.clone();
    let mut files = Files::default();
    let generated = generator.generate(&mut world.resolve, world.id, &mut files);
    generated.map_err(|error| BuildError::Contract(format!("no bindings can be generated: {error:#}")))?;
    for (name, text) in more {
        files.push(name, text.as_bytes());
    }
    let mut wanted = Vec::new();
    for (name, bytes) in files.iter() {
        let path = folder.join(name);
        if fs::read(&path).ok().as_deref() != Some(bytes) {
            let parent = path.parent().unwrap_or(folder);
            fs::create_dir_all(parent).and_then(|()| fs::write(&path, bytes)).map_err(io_error(&path))?;
        }
        wanted.push(path);
    }
    clear(folder, &wanted)
}

/// Removes all files that are not `wanted`, such as those of an older contract.
fn clear(folder: &Path, wanted: &[std::path::PathBuf]) -> Result<(), BuildError> {
    for entry in fs::read_dir(folder).map_err(io_error(folder))? {
        let path = entry.map_err(io_error(folder))?.path();
        if path.is_dir() {
            clear(&path, wanted)?;
        } else if !wanted.contains(&path) {
            fs::remove_file(&path).map_err(io_error(&path))?;
        }
    }
    Ok(())
}
