//! The text of the functions. Redis takes a library as one text; it is in several files, for those who read it.

/// The name of the library. It has the version of the functions, which grows whenever a released one changes: then
/// nodes of both versions find theirs.
pub const LIBRARY: &str = "klines_v1";

/// Returns the text of the library.
#[must_use]
pub const fn source() -> &'static str {
    concat!(
        include_str!("../functions/klines.lua"),
        include_str!("../functions/members.lua"),
        include_str!("../functions/holders.lua"),
        include_str!("../functions/groups.lua"),
        include_str!("../functions/record.lua"),
        include_str!("../functions/writing.lua"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::MAX_ABOUT;
    use crate::model;
    use crate::model::groups::{MAX_FIELD, MAX_FIELDS, MAX_VALUE};
    use crate::version::{Class, MAX_BODY, MAX_KLINES, MAX_NUMBER, MAX_SERIES, MAX_VERSIONS, REVISION_STEP};

    #[test]
    fn the_text_has_the_name_of_the_library() {
        assert_eq!(source().lines().next(), Some(format!("#!lua name={LIBRARY}").as_str()));
        assert!(source().contains(&format!("local LIBRARY = '{LIBRARY}'\n")));
    }

    #[test]
    fn the_functions_and_this_crate_have_the_same_limits() {
        let [short, long] = [Class::Short, Class::Long];
        let (members, holders) = (model::members::MAX_MEMBERS, model::holders::MAX_HOLDERS);
        for line in [
            format!("local MAX_NUMBER = {MAX_NUMBER}"),
            format!("local REVISION_STEP = {REVISION_STEP}"),
            format!("local MAX_LEASE = {}", model::MAX_LEASE),
            format!("MAX_GROUPS, MAX_SERIES = {members}, {holders}, {}, ", model::groups::MAX_GROUPS),
            format!("MAX_VERSIONS, MAX_STREAM = {MAX_KLINES}, 64, {MAX_VERSIONS}, "),
            format!("local LENGTH = {{short = {}, long = {}}}", short.length(), long.length()),
            format!("local RETENTION = {{short = {}, long = {}}}", short.retention(), long.retention()),
            format!("'^%l+ [A-Z0-9_-]+ %d+%a+$', {MAX_SERIES})"),
            format!("'^[ -~]+$', {MAX_BODY})"),
            format!("local MAX_ABOUT = {MAX_ABOUT}"),
            format!("local MAX_FIELDS, MAX_FIELD, MAX_VALUE = {MAX_FIELDS}, {MAX_FIELD}, {MAX_VALUE}"),
        ] {
            assert!(source().contains(&line), "{line}");
        }
    }
}
