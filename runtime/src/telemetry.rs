//! Logging: structured lines on standard error, as text or JSON.
