//! The files of new projects, with their paths and texts, as the build script lists them.

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
