//! `on_error`: what follows when an agent fails.

use quote::ToTokens;
use syn::Expr;

use crate::args::Args;
use crate::errors::{Errors, mistake_with_help};
use crate::{values, words};

/// How often a record is tried again, and what happens then.
pub(super) struct Policy {
    pub(super) retries: u32,
    /// Milliseconds before the first retry.
    pub(super) backoff: u64,
    pub(super) then: Verdict,
}

#[derive(Clone, Copy)]
pub(super) enum Verdict {
    Stop,
    Skip,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            retries: 3,
            backoff: 100,
            then: Verdict::Stop,
        }
    }
}

impl Policy {
    /// `stop`, `skip`, `retry(times = 5, backoff = "200ms", then = skip)`.
    ///
    /// Stopping tries again first, since stopping costs an operator's attention; skipping alone does not.
    pub(super) fn read(expr: &Expr) -> syn::Result<Self> {
        if let Some(then) = Verdict::read(expr) {
            return Ok(match then {
                Verdict::Stop => Self::default(),
                Verdict::Skip => Self {
                    retries: 0,
                    then,
                    ..Self::default()
                },
            });
        }
        match expr {
            Expr::Call(call) if values::word(&call.func).is_some_and(|word| word == words::RETRY) => {
                Self::read_retry(call.args.to_token_stream())
            }
            _ => Err(mistake_with_help(
                expr,
                "expected what to do with a record that fails",
                HELP,
            )),
        }
    }

    fn read_retry(tokens: proc_macro2::TokenStream) -> syn::Result<Self> {
        let mut errors = Errors::new();
        let args = Args::parse(tokens, words::OF_RETRY, &mut errors);
        let default = Self::default();
        let times = |expr: &Expr| values::count(expr, u32::MAX);
        let then = |expr: &Expr| {
            Verdict::read(expr)
                .ok_or_else(|| mistake_with_help(expr, "expected `stop` or `skip`", "`stop` is the default"))
        };
        let policy = Self {
            retries: args
                .value(words::TIMES, times, &mut errors)
                .unwrap_or(default.retries),
            backoff: args
                .value(words::BACKOFF, values::duration, &mut errors)
                .unwrap_or(default.backoff),
            then: args.value(words::THEN, then, &mut errors).unwrap_or(default.then),
        };
        errors.finish(Some(policy))
    }
}

const HELP: &str = "write `stop`, `skip`, or `retry(times = 5, backoff = \"200ms\", then = skip)`";

impl Verdict {
    fn read(expr: &Expr) -> Option<Self> {
        match values::word(expr)?.to_string().as_str() {
            words::STOP => Some(Self::Stop),
            words::SKIP => Some(Self::Skip),
            _ => None,
        }
    }
}
