//! Attribute macros of `stream-runtime`.
