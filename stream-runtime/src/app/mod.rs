//! The program: its settings, and what is made of them.

pub(crate) mod settings;
