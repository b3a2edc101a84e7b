//! Finds the name that was probably meant, for error messages.

/// The maximum size of a word that is compared, bytes.
const MAX_WORD: usize = 64;

/// Returns the name that is most similar to `word`; `None` if more than a third of its letters differ, or it is long.
#[must_use]
pub fn nearest<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    if word.len() > MAX_WORD {
        return None;
    }
    let distance = |name: &&str| strsim::damerau_levenshtein(word, name);
    names.iter().copied().min_by_key(distance).filter(|name| distance(name) <= (word.len() / 3).max(1))
}
