//! From configuration to the consumers that are part of the program itself.

use crate::config::Config;
use crate::config::native::Native;
use crate::consumer::Blueprint;
use crate::consumer::queue::Grouping;

/// Makes a native consumer and says how its klines are grouped into calls; nothing for one that this build lacks,
/// which the configuration has refused.
pub(super) fn blueprint(native: Native, _config: &Config) -> Option<(Box<dyn Blueprint>, Grouping)> {
    match native {
        Native::Redis | Native::WebSocket => None,
    }
}
