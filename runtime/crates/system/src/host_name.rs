//! The name of this machine.

/// Returns the name that the operating system has for this machine.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_machine_has_a_name() {
        assert!(!super::host_name().is_empty());
    }
}
