//! The printed forms.
