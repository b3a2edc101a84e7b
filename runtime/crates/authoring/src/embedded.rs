//! The files that new projects are made of, as the build script lists them: paths and texts.

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
