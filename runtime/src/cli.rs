//! The command line: what can be typed, and the text of `--help`.
