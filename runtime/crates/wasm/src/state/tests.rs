//! Tests of what a state commits, discards and refuses.

use std::path::Path;

use klines_delivery::data_dir::DataDir;
use klines_delivery::fixture::kline;
use klines_delivery::shared_state;
use proptest::prelude::*;

use super::*;

/// The `is_over` of a call whose time is never over.
fn in_time() -> bool {
    false
}

fn store(folder: &Path, quota: usize) -> Arc<StateStore> {
    Arc::new(StateStore::new(&DataDir::scratch(folder), "it", quota))
}

fn started(store: &Arc<StateStore>) -> State {
    let mut state = State::new(Some(store.clone()));
    state.take_over(in_time).unwrap();
    state
}

fn set(state: &mut State, key: &str, value: &str) {
    state.set(key.into(), value.into()).unwrap().unwrap();
}

#[test]
fn changes_are_committed_or_discarded_with_their_call() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), 1_000);
    let mut state = started(&store);
    set(&mut state, "a", "1");
    state.commit(&[kline("BTCUSDT", "1m", 0, true).into()], in_time).unwrap();
    set(&mut state, "a", "2");
    set(&mut state, "b", "2");
    assert!(state.delete("a".into()).unwrap());
    assert_eq!(state.list_keys("", in_time).unwrap(), ["b"]);
    state.discard();
    assert_eq!(state.get("a").unwrap(), Some(b"1".to_vec()));
    assert_eq!(state.list_keys("", in_time).unwrap(), ["a"]);
}

#[test]
fn drafts_that_are_never_written_release_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = DataDir::new(folder.path(), 1 << 20);
    let mut state = started(&Arc::new(StateStore::new(&data_dir, "it", 1 << 30)));
    assert_eq!(state.get("same").unwrap(), None);
    data_dir.look();
    let held = data_dir.bytes();
    let value = || vec![1; 200 << 10];
    for _ in 0..100 {
        state.set("same".into(), value()).unwrap().unwrap();
    }
    for _ in 0..100 {
        state.set("deleted".into(), value()).unwrap().unwrap();
        assert!(state.delete("deleted".into()).unwrap());
    }
    state.wait();
    for _ in 0..100 {
        state.set("discarded".into(), value()).unwrap().unwrap();
        state.discard();
    }
    assert_eq!(data_dir.bytes(), held + size("same", 200 << 10) as u64, "a drafted value counts once");
}

#[test]
fn a_full_data_folder_refuses_set_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = DataDir::new(folder.path(), 1 << 20);
    let store = Arc::new(StateStore::new(&data_dir, "it", 1 << 30));
    let mut state = started(&store);
    set(&mut state, "a", "1");
    state.commit(&[], in_time).unwrap();
    let refused = state.set("b".into(), vec![1; 1 << 20]).unwrap().unwrap_err();
    assert!(refused.contains("data_dir_max"), "{refused}");
    assert_eq!(state.list_keys("", in_time).unwrap(), ["a"]);
    assert!(state.delete("a".into()).unwrap());
    state.commit(&[kline("BTCUSDT", "1m", 0, true).into()], in_time).unwrap();
    assert_eq!(state.get("a").unwrap(), None);
}

#[test]
fn committed_changes_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = store(folder.path(), 1_000);
        let mut state = started(&store);
        set(&mut state, "count", "7");
        state.commit(&[], in_time).unwrap();
        set(&mut state, "count", "8");
    }
    let mut state = started(&store(folder.path(), 1_000));
    assert_eq!(state.get("count").unwrap(), Some(b"7".to_vec()));
}

#[test]
fn two_processes_cannot_open_the_same_state() {
    let folder = tempfile::tempdir().unwrap();
    let first = store(folder.path(), 1_000);
    let mut state = started(&first);
    set(&mut state, "a", "1");
    state.commit(&[], in_time).unwrap();
    let mut other = started(&store(folder.path(), 1_000));
    let error = other.get("a").unwrap_err().to_string();
    assert!(error.contains("it.sqlite") && error.contains("locked"), "{error}");
}

#[test]
fn a_state_of_version_0_1_0_is_used_and_those_of_newer_versions_and_other_programs_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/it.sqlite");
    let write = |value: &str| {
        let mut state = started(&store(folder.path(), 1_000));
        set(&mut state, "a", value);
        state.commit(&[], in_time).unwrap();
    };
    let numbers = |numbers: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(numbers).unwrap();
    write("1");
    // As that version left it.
    numbers("PRAGMA application_id = 0; PRAGMA user_version = 0;");
    write("2");
    let refused = || started(&store(folder.path(), 1_000)).get("a").unwrap_err().to_string();
    numbers("PRAGMA user_version = 2;");
    let newer = refused();
    assert!(newer.contains("it.sqlite") && newer.contains("newer version of klines (schema 2;"), "{newer}");
    numbers("PRAGMA application_id = 7;");
    assert!(refused().contains("a database of another program"));
    let value: Vec<u8> = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row("SELECT value FROM state WHERE key = 'a'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(value, b"2", "it stays as it is");
}

#[test]
fn changes_of_a_replaced_instance_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), 1_000);
    let mut old = started(&store);
    let mut new = State::new(Some(store));
    set(&mut new, "version", "2");
    new.take_over(in_time).unwrap();
    set(&mut old, "version", "1");
    old.commit(&[], in_time).unwrap();
    assert_eq!(new.get("version").unwrap(), Some(b"2".to_vec()));
}

#[test]
fn the_quota_and_the_length_of_keys_are_enforced() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = started(&store(folder.path(), 10 + KEY_OVERHEAD));
    set(&mut state, "k", "12345678");
    let refused = state.set("l".into(), b"1".to_vec()).unwrap().unwrap_err();
    assert_eq!(refused, "the state would have 139 bytes, its quota is 74 (limits.state)");
    state.commit(&[], in_time).unwrap();
    set(&mut state, "k", "123456789");
    assert!(state.set(String::new(), Vec::new()).unwrap().is_err());
    assert!(state.set("x".repeat(257), Vec::new()).unwrap().is_err());
}

#[test]
fn changes_of_setup_survive_a_failed_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), 1_000);
    let mut state = State::new(Some(store));
    set(&mut state, "setup", "1");
    state.wait();
    set(&mut state, "start", "1");
    state.discard();
    assert_eq!(state.list_keys("", in_time).unwrap(), ["setup"]);
    state.take_over(in_time).unwrap();
    state.discard();
    assert_eq!(state.list_keys("", in_time).unwrap(), ["setup"]);
}

#[test]
fn deleting_a_key_that_was_never_committed_leaves_no_trace_in_the_draft() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = started(&store(folder.path(), 1_000));
    for number in 0..10_000 {
        set(&mut state, &format!("key-{number}"), "1");
        assert!(state.delete(format!("key-{number}")).unwrap());
    }
    assert!(state.draft.changes.is_empty());
    assert_eq!((state.draft.bytes, state.draft.deleted), (Some(0), 0));
}

#[test]
fn deleted_keys_count_until_the_call_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let quota = 10 * size("k0", 10);
    let mut state = started(&store(folder.path(), quota));
    for number in 0..10 {
        set(&mut state, &format!("k{number}"), "1234567890");
    }
    state.commit(&[], in_time).unwrap();
    for number in 0..10 {
        assert!(state.delete(format!("k{number}")).unwrap());
    }
    // The deleted values no longer count, but their keys do.
    let refused = state.set("new".into(), vec![0; 100]).unwrap().unwrap_err();
    assert!(refused.ends_with("keys deleted in this call count until it is over"), "{refused}");
    // A key that is set again is no longer deleted.
    set(&mut state, "k0", "12345678901234567890");
    assert_eq!(state.draft.deleted, 9 * size("k0", 0));
    state.commit(&[], in_time).unwrap();
    set(&mut state, "new", &"x".repeat(100));
    assert_eq!(state.list_keys("", in_time).unwrap(), ["k0", "new"]);
}

#[test]
fn work_on_the_state_ends_with_the_time_of_the_call_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), 1 << 20);
    let mut state = started(&store);
    for number in 0..200 {
        set(&mut state, &format!("k{number}"), "1");
    }
    assert!(matches!(state.commit(&[], || true), Err(StateError::Overdue)));
    assert!(state.list_keys("", in_time).unwrap().is_empty());
    for number in 0..200 {
        set(&mut state, &format!("k{number}"), "1");
    }
    state.commit(&[], in_time).unwrap();
    assert!(matches!(state.list_keys("", || true), Err(StateError::Overdue)));
    assert_eq!(state.list_keys("k19", in_time).unwrap().len(), 11);
}

#[test]
fn validate_has_no_state() {
    let mut state = State::new(None);
    assert_eq!(state.get("a").unwrap(), None);
    assert!(state.set("a".into(), b"1".to_vec()).unwrap().is_err());
    assert!(state.list_keys("", in_time).unwrap().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_state_behaves_like_a_map(
        steps in prop::collection::vec((0u8..5, 0usize..4, 0usize..20), 1..60), is_elsewhere in any::<bool>()
    ) {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), Arc::<Elsewhere>::default());
        let store = match is_elsewhere {
            true => Arc::new(StateStore::elsewhere(elsewhere.clone(), 300)),
            false => store(folder.path(), 300),
        };
        let mut state = started(&store);
        let (mut kept, mut model) = (BTreeMap::<String, Vec<u8>>::new(), BTreeMap::new());
        for (step, key, length) in steps {
            let key = "k".repeat(key + 1);
            match step {
                0 | 1 => {
                    let mut next = model.clone();
                    next.insert(key.clone(), vec![7u8; length]);
                    let bytes: usize = next.iter().map(|(key, value)| size(key, value.len())).sum();
                    // Keys that were committed and then deleted count until the next commit.
                    let deleted = kept.keys().filter(|key| !next.contains_key(*key));
                    let bytes = bytes + deleted.map(|key: &String| size(key, 0)).sum::<usize>();
                    let taken = state.set(key, vec![7; length]).unwrap().is_ok();
                    prop_assert_eq!(taken, bytes <= 300);
                    if taken {
                        model = next;
                    }
                }
                2 => prop_assert_eq!(state.delete(key.clone()).unwrap(), model.remove(&key).is_some()),
                3 => {
                    state.commit(&[], in_time).unwrap();
                    kept = model.clone();
                }
                _ => {
                    state.discard();
                    model = kept.clone();
                }
            }
            prop_assert_eq!(state.list_keys("kk", in_time).unwrap(), model.keys().filter(|key| key.len() > 1).cloned().collect::<Vec<_>>());
            for (key, value) in &model {
                prop_assert_eq!(&state.get(key).unwrap(), &Some(value.clone()));
            }
        }
        if is_elsewhere {
            let written = elsewhere.read().unwrap().into_iter().map(|(key, value)| (key.to_string(), value.to_vec()));
            prop_assert_eq!(written.collect::<BTreeMap<_, _>>(), kept);
        }
    }
}

/// A state that is kept outside of the store.
#[derive(Debug, Default)]
struct Elsewhere {
    entries: Mutex<BTreeMap<Arc<str>, shared_state::Value>>,
    /// How often the position was written.
    writes: Mutex<u32>,
    is_lost: Mutex<bool>,
}

impl SharedState for Elsewhere {
    fn read(&self) -> Result<Vec<shared_state::Entry>, String> {
        Ok(self.entries.lock().unwrap().iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn write(&self, changes: Vec<shared_state::Change>) -> Result<(), String> {
        if *self.is_lost.lock().unwrap() {
            return Err("the lease is over".to_owned());
        }
        *self.writes.lock().unwrap() += 1;
        let mut entries = self.entries.lock().unwrap();
        for (key, value) in changes {
            match value {
                Some(value) => entries.insert(key, value),
                None => entries.remove(&key),
            };
        }
        Ok(())
    }
}

#[test]
fn a_position_elsewhere_moves_with_each_call_that_takes_closed_klines() {
    let elsewhere = Arc::<Elsewhere>::default();
    let mut state = started(&Arc::new(StateStore::elsewhere(elsewhere.clone(), 300)));
    let closed = kline("BTCUSDT", "1m", 0, true).into();
    state.commit(&[closed], in_time).unwrap();
    assert_eq!(*elsewhere.writes.lock().unwrap(), 0, "the consumer does not use the state");
    assert_eq!(state.get("a").unwrap(), None);
    state.commit(&[kline("BTCUSDT", "1m", 1, true).into()], in_time).unwrap();
    assert_eq!(*elsewhere.writes.lock().unwrap(), 1, "also if nothing changes");
    state.commit(&[kline("BTCUSDT", "1m", 2, false).into()], in_time).unwrap();
    assert_eq!(*elsewhere.writes.lock().unwrap(), 1, "updates do not move it");
    set(&mut state, "a", "1");
    *elsewhere.is_lost.lock().unwrap() = true;
    let error = state.commit(&[kline("BTCUSDT", "1m", 2, true).into()], in_time).unwrap_err();
    assert_eq!(error.to_string(), "the state in the cluster cannot be used: the lease is over");
    assert_eq!(state.get("a").unwrap(), None, "the copy has only what was written");
}
