//! Bybit's archive CSVs (public.bybit.com): `trading/` for derivatives, `spot/` for spot.
//!
//! A file has the trades of one symbol, and ids that are unique only within it; those of spot archives are row numbers and
//! are not used. `row` reads a row; `file` finds a file's order and reads it; `track` joins the files of a symbol.

mod file;
mod row;
mod track;

pub(super) use self::file::ArchiveFile;
pub(super) use self::row::{ArchiveKind, kind_of};
pub(super) use self::track::{ArchiveTrack, tracks};
