//! Tests of the spill.

use std::fs;

use klines_delivery::data_dir::DataDir;
use klines_delivery::fixture;
use klines_domain::decimal::Decimal;
use klines_domain::kline::Quality;
use proptest::prelude::*;

use super::*;

/// Returns klines of the windows `from..from + count`, for one record.
fn windows(from: i64, count: i64) -> Vec<Arc<Kline>> {
    (from..from + count).map(|window| Arc::new(fixture::kline("BTCUSDT", "1m", window, true))).collect()
}

fn open(folder: &Path, most_bytes: u64) -> Spill {
    Spill::open(folder, most_bytes, &DataDir::scratch(folder)).unwrap().0
}

/// Returns the windows of the next record, with its mark.
fn next(spill: &mut Spill) -> Option<(Vec<i64>, Mark)> {
    let (klines, mark) = spill.read().unwrap()?;
    Some((klines.iter().map(|kline| kline.start / 60_000).collect(), mark))
}

/// Reads and releases all remaining records.
fn drain(spill: &mut Spill) -> Vec<i64> {
    let mut found = Vec::new();
    while let Some((windows, mark)) = next(spill) {
        found.extend(windows);
        spill.release(mark);
    }
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "spill"));
    found.sort();
    found
}

#[test]
fn a_full_data_folder_costs_the_oldest_klines() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = DataDir::new(folder.path(), 256 << 10);
    // The spill's own bound is four times as large.
    let (mut spill, _) = Spill::open(&folder.path().join("spill"), 1 << 20, &data_dir).unwrap();
    for window in 0..10_000 {
        spill.append(&windows(window, 1)).unwrap();
    }
    assert!(spill.bytes() <= data_dir.most() && data_dir.refused() > 0);
    let dropped = spill.dropped().no_room;
    assert!(dropped > 0);
    let kept = drain(&mut spill);
    assert_eq!(kept, (i64::try_from(dropped).unwrap()..10_000).collect::<Vec<_>>());
}

#[test]
fn other_files_in_the_data_folder_leave_no_room_for_klines() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("other"), vec![1; 256 << 10]).unwrap();
    let data_dir = DataDir::new(folder.path(), 256 << 10);
    let (mut spill, _) = Spill::open(&folder.path().join("spill"), 1 << 20, &data_dir).unwrap();
    spill.append(&windows(0, 3)).unwrap();
    assert_eq!((spill.dropped().no_room, spill.waiting()), (3, 0));
}

#[test]
fn every_field_survives() {
    let folder = tempfile::tempdir().unwrap();
    let mut odd = fixture::kline("1000PEPE-26DEC26", "1M", 3, true);
    odd.open = Decimal::new(-1, 38);
    odd.turnover = Decimal::new(i128::MAX, 0);
    odd.low = Decimal::new(i128::MIN, 12);
    (odd.quality, odd.revision, odd.sequence, odd.trades) = (Quality::Gapped, u32::MAX, u64::MAX, u64::MAX);
    (odd.confirm, odd.emitted, odd.last_trade_time) = (false, i64::MAX, i64::MIN);
    odd.series = odd.series.in_category(klines_domain::symbol::Category::Inverse);
    let klines = vec![Arc::new(odd), Arc::new(fixture::kline("BTCUSDT", "100ms", 1, true))];
    let mut spill = open(folder.path(), 1 << 20);
    spill.append(&klines).unwrap();
    let (found, _) = spill.read().unwrap().unwrap();
    assert_eq!(found.iter().collect::<Vec<_>>(), klines.iter().map(|kline| &**kline).collect::<Vec<_>>());
}

#[test]
fn records_that_are_not_released_are_read_again_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut spill = open(folder.path(), 1 << 20);
    for record in 0..4 {
        spill.append(&windows(record * 2, 2)).unwrap();
    }
    let (first, mark) = next(&mut spill).unwrap();
    assert_eq!((first, spill.unread(), spill.waiting()), (vec![0, 1], 6, 8));
    next(&mut spill).unwrap();
    spill.release(mark);
    spill.rewind();
    spill.append(&windows(8, 1)).unwrap();
    assert_eq!(drain(&mut spill), [2, 3, 4, 5, 6, 7, 8]);
    assert_eq!((spill.waiting(), spill.dropped().total(), files(folder.path()).len()), (0, 0, 0));
}

#[test]
fn the_next_run_finds_the_remaining_klines() {
    let folder = tempfile::tempdir().unwrap();
    let mut spill = open(folder.path(), 1 << 20);
    spill.append(&windows(0, 3)).unwrap();
    drop(spill);
    let (mut spill, found) = Spill::open(folder.path(), 1 << 20, &DataDir::scratch(folder.path())).unwrap();
    assert_eq!(found, Found { klines: 3, torn: 0 });
    spill.append(&windows(3, 1)).unwrap();
    assert_eq!(drain(&mut spill), [0, 1, 2, 3]);
}

#[test]
fn a_folder_belongs_to_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(folder.path(), 1 << 20);
    assert_eq!(
        Spill::open(folder.path(), 1 << 20, &DataDir::scratch(folder.path())).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
}

#[test]
fn a_segment_of_another_version_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("000000000000.spill"), b"klspill9........").unwrap();
    assert_eq!(
        Spill::open(folder.path(), 1 << 20, &DataDir::scratch(folder.path())).unwrap_err().kind(),
        io::ErrorKind::InvalidData
    );
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn a_full_spill_drops_the_oldest_and_counts_them() {
    let folder = tempfile::tempdir().unwrap();
    let most = 16 << 10;
    let mut spill = open(folder.path(), most);
    for window in 0..1_000 {
        spill.append(&windows(window, 1)).unwrap();
        let size: u64 = files(folder.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(size <= most, "{size}");
    }
    let (dropped, waiting) = (spill.dropped().total(), spill.waiting());
    assert_eq!(dropped + waiting, 1_000);
    assert!(waiting > 50, "{waiting}");
    let left: Vec<i64> = (i64::try_from(dropped).unwrap()..1_000).collect();
    assert_eq!(drain(&mut spill), left);
}

#[test]
fn klines_in_flight_whose_segment_is_dropped_are_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    for delivered in [true, false] {
        let mut spill = open(folder.path(), 4 << 10);
        spill.append(&windows(0, 1)).unwrap();
        let (_, mark) = next(&mut spill).unwrap();
        for window in 1..200 {
            spill.append(&windows(window, 1)).unwrap();
        }
        if delivered {
            spill.release(mark);
        }
        spill.rewind();
        assert_eq!(spill.dropped().total() + spill.waiting() + u64::from(delivered), 200);
        drain(&mut spill);
    }
}

#[test]
fn a_record_larger_than_the_bound_is_dropped_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut spill = open(folder.path(), 4 << 10);
    spill.append(&windows(0, 2)).unwrap();
    spill.append(&windows(2, 1_000)).unwrap();
    assert_eq!((spill.dropped().total(), drain(&mut spill)), (1_000, vec![0, 1]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Wherever a file is cut, or whichever byte is changed, a prefix of what was written is read, never anything else.
    #[test]
    fn a_cut_or_damaged_file_yields_a_prefix(cut in any::<prop::sample::Index>(), flip in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let mut spill = open(folder.path(), 1 << 20);
        for record in 0..5 {
            spill.append(&windows(record * 2, 2)).unwrap();
        }
        drop(spill);
        let path = files(folder.path()).remove(0);
        let mut bytes = fs::read(&path).unwrap();
        let header = usize::try_from(HEADER).unwrap();
        let place = header + cut.index(bytes.len() - header);
        if flip {
            bytes[place] ^= 0x10;
        } else {
            bytes.truncate(place);
        }
        fs::write(&path, &bytes).unwrap();
        let (mut spill, found) = Spill::open(folder.path(), 1 << 20, &DataDir::scratch(folder.path())).unwrap();
        let left = drain(&mut spill);
        prop_assert_eq!(found.klines, left.len() as u64);
        prop_assert!(left.len().is_multiple_of(2) && left.len() < 10, "{:?}", left);
        prop_assert_eq!(&left, &(0..i64::try_from(left.len()).unwrap()).collect::<Vec<_>>());
        prop_assert!(found.torn > 0 || bytes.len() == header || !flip);
    }

    /// Whatever is appended, read, released and rewound, no kline is lost without being counted.
    #[test]
    fn appended_is_released_waiting_or_dropped(steps in prop::collection::vec(0u8..5, 1..200)) {
        let folder = tempfile::tempdir().unwrap();
        let mut spill = open(folder.path(), 2 << 10);
        let (mut appended, mut released, mut marks) = (0, 0, VecDeque::new());
        for step in steps {
            match step {
                0 | 1 => {
                    spill.append(&windows(appended, 2)).unwrap();
                    appended += 2;
                }
                2 => marks.extend(next(&mut spill).map(|(_, mark)| mark)),
                3 => if let Some(mark) = marks.pop_front() {
                    released += mark.klines;
                    spill.release(mark);
                },
                _ => {
                    spill.rewind();
                    marks.clear();
                }
            }
            let known = released + spill.waiting() + spill.dropped().total() + spill.orphaned;
            prop_assert_eq!(known, appended.unsigned_abs());
        }
        spill.rewind();
        let left = drain(&mut spill).len() as u64;
        prop_assert_eq!(released + left + spill.dropped().total(), appended.unsigned_abs());
    }
}

#[test]
fn only_this_user_can_read_the_spill() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("spill/one");
    let mut spill = open(&folder, 1 << 20);
    spill.append(&windows(0, 3)).unwrap();
    let mut paths = files(&folder);
    paths.extend([folder.join("lock"), folder.clone()]);
    let wide = |paths: &[PathBuf]| paths.iter().any(|path| fs::metadata(path).unwrap().mode() & 0o077 != 0);
    assert!(paths.len() == 3 && !wide(&paths));
    drop(spill);
    for path in &paths {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut spill = open(&folder, 1 << 20);
    assert!(!wide(&paths), "the permissions of an earlier run's files are narrowed");
    assert_eq!(drain(&mut spill), [0, 1, 2]);
}
