//! `#[agent]`: a function that processes records.

mod args;
mod check;
mod expand;
mod inputs;
mod policy;
mod returns;
mod start;
mod topics;

use proc_macro2::TokenStream;

use crate::errors::Errors;
use crate::item::{self, FnItem};
use args::AgentArgs;
use check::Agent;

pub(crate) fn agent(attribute: TokenStream, tokens: &TokenStream) -> TokenStream {
    let mut errors = Errors::new();
    let args = AgentArgs::parse(attribute, &mut errors);
    let item: Option<FnItem> = errors.keep(item::read(tokens, MISPLACED, MISPLACED_HELP));
    let agent = item
        .as_ref()
        .and_then(|item| Agent::check(args, item, &mut errors));
    match errors.finish(agent) {
        Ok(agent) => agent.expand(),
        Err(mistakes) => match &item {
            Some(item) => expand::with_mistakes(item, &mistakes),
            None => item::with_mistakes(tokens, &mistakes),
        },
    }
}

const MISPLACED: &str = "`#[agent]` goes on a free `async fn`";
const MISPLACED_HELP: &str =
    "topics and tables, which are statics, are declared with `#[topic]` and `#[table]`";
