//! `on_error`: what follows when an agent fails.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Expr, ExprCall};

use super::args::TopicUse;
use crate::args::Args;
use crate::errors::{Errors, mistake_with_help};
use crate::{values, words};

/// How often a record is tried again, and what happens then.
pub(super) struct Policy {
    pub(super) retries: u32,
    /// Milliseconds before the first retry.
    pub(super) backoff: u64,
    /// Milliseconds before any retry at most.
    pub(super) max: u64,
    pub(super) then: Verdict,
}

pub(super) enum Verdict {
    Stop,
    Skip,
    DeadLetter(DeadLetters),
}

/// Where records go that are given up.
pub(super) struct DeadLetters {
    /// `None` for the program's own topic.
    pub(super) topic: Option<TopicUse>,
    /// What was written.
    at: TokenStream,
}

/// The longest wait unless a policy says otherwise.
const MINUTE: u64 = 60_000;

impl Default for Policy {
    fn default() -> Self {
        Self {
            retries: 3,
            backoff: 100,
            max: MINUTE,
            then: Verdict::Stop,
        }
    }
}

impl Policy {
    /// `stop`, `skip`, `dead_letter`, `dead_letter("orders-failed")`,
    /// `retry(times = 5, backoff = "200ms", max = "10s", then = skip)`.
    ///
    /// Stopping tries again first, since a task that stands still helps nobody. The others go on at once, since
    /// a task that tries every bad record for a second stands still as well: who wants both writes `retry`.
    pub(super) fn read(expr: &Expr) -> syn::Result<Self> {
        if let Some(then) = Verdict::read(expr)? {
            return Ok(match then {
                Verdict::Stop => Self::default(),
                then @ (Verdict::Skip | Verdict::DeadLetter(_)) => Self {
                    retries: 0,
                    then,
                    ..Self::default()
                },
            });
        }
        match expr {
            Expr::Call(call) if is_call_of(call, words::RETRY) => {
                Self::read_retry(call.args.to_token_stream())
            }
            _ => Err(mistake_with_help(
                expr,
                "expected what to do with a record that fails",
                HELP,
            )),
        }
    }

    fn read_retry(tokens: TokenStream) -> syn::Result<Self> {
        let mut errors = Errors::new();
        let args = Args::parse(tokens, words::OF_RETRY, &mut errors);
        let default = Self::default();
        let times = |expr: &Expr| values::whole_number(expr, 0..=u32::MAX);
        let longest = |expr: &Expr| Ok((values::duration(expr)?, expr.to_token_stream()));
        let then = |expr: &Expr| {
            Verdict::read(expr)?.ok_or_else(|| {
                let help = "`stop` is the default; `dead_letter(\"orders-failed\")` names the topic";
                mistake_with_help(expr, "expected `stop`, `skip` or `dead_letter`", help)
            })
        };
        let retries = args.value(words::TIMES, times, &mut errors);
        let backoff = args.value(words::BACKOFF, values::duration, &mut errors);
        let longest = args.value(words::MAX, longest, &mut errors);
        let then = args.value(words::THEN, then, &mut errors);
        if retries == Some(0) {
            for key in [words::BACKOFF, words::MAX]
                .into_iter()
                .filter_map(|word| args.key(word))
            {
                let message = format_args!("`{key}` is of no use with `times = 0`");
                errors.push(mistake_with_help(
                    key,
                    message,
                    "leave it out, or let there be retries",
                ));
            }
        }
        if let (Some(backoff), Some((longest, at))) = (backoff, &longest)
            && *longest < backoff
        {
            let message = "`max` is shorter than `backoff`, which is the first wait";
            errors.push(mistake_with_help(
                at,
                message,
                "each wait is twice the one before, up to `max`",
            ));
        }
        let longest = longest.map(|(longest, _)| longest);
        let backoff = backoff.unwrap_or_else(|| default.backoff.min(longest.unwrap_or(MINUTE)));
        let policy = Self {
            retries: retries.unwrap_or(default.retries),
            backoff,
            max: longest.unwrap_or_else(|| MINUTE.max(backoff)),
            then: then.unwrap_or(default.then),
        };
        errors.finish(Some(policy))
    }

    /// A record that comes back to the agent that gave it up would never come to an end.
    pub(super) fn check(&self, input: &TopicUse, errors: &mut Errors) {
        if let Verdict::DeadLetter(DeadLetters {
            topic: Some(topic),
            at,
        }) = &self.then
            && topic.is_written_as(input)
        {
            errors.push(mistake_with_help(
                at,
                "dead letters cannot go to the topic that the agent reads",
                "it would fail on them again, for ever: name another topic",
            ));
        }
    }
}

const HELP: &str = "write `stop`, `skip`, `dead_letter`, `dead_letter(\"orders-failed\")`, or \
     `retry(times = 5, backoff = \"200ms\", max = \"10s\", then = skip)`";

fn is_call_of(call: &ExprCall, word: &str) -> bool {
    values::word(&call.func).is_some_and(|called| called == word)
}

impl Verdict {
    /// Nothing when it is something else.
    fn read(expr: &Expr) -> syn::Result<Option<Self>> {
        if let Expr::Call(call) = expr {
            return match is_call_of(call, words::DEAD_LETTER) {
                true => DeadLetters::read(call).map(Self::DeadLetter).map(Some),
                false => Ok(None),
            };
        }
        let Some(word) = values::word(expr) else {
            return Ok(None);
        };
        Ok(match word.to_string().as_str() {
            words::STOP => Some(Self::Stop),
            words::SKIP => Some(Self::Skip),
            words::DEAD_LETTER => Some(Self::DeadLetter(DeadLetters {
                topic: None,
                at: word.to_token_stream(),
            })),
            _ => None,
        })
    }
}

impl DeadLetters {
    fn read(call: &ExprCall) -> syn::Result<Self> {
        let mut arguments = call.args.iter();
        let help = "`dead_letter(\"orders-failed\")` names one, `dead_letter` alone is the program's own";
        let Some(topic) = arguments.next() else {
            return Err(mistake_with_help(
                call,
                "expected the topic of the dead letters",
                help,
            ));
        };
        if let Some(second) = arguments.next() {
            return Err(mistake_with_help(second, "dead letters go to one topic", help));
        }
        Ok(Self {
            topic: Some(TopicUse::read(topic)?),
            at: topic.to_token_stream(),
        })
    }
}
