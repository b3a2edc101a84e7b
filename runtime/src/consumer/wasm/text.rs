//! The name under which this module's files know [`sanitize`](crate::sanitize::sanitize), which decides.

pub(super) use crate::sanitize::sanitize as clean;
