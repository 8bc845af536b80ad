//! What `#[agent(…)]` was given.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Expr, ExprLit, Ident, Lit, Path};

use super::policy::Policy;
use crate::args::Args;
use crate::errors::{Errors, mistake_with_help};
use crate::{values, words};

/// The arguments as written, each one right by itself.
pub(super) struct AgentArgs {
    pub(super) topic: Option<TopicUse>,
    pub(super) name: Option<String>,
    pub(super) sinks: Vec<Sink>,
    /// The key that gave the sinks.
    pub(super) sink_key: Option<Ident>,
    pub(super) policy: Policy,
    pub(super) tables: Vec<Path>,
}

/// A topic that is read or written.
pub(super) enum TopicUse {
    /// By its name.
    Named(String),
    /// By the static that declares it.
    Declared(Path),
}

/// Where what the function returns goes.
pub(super) enum Sink {
    Topic(TopicUse),
    Function(Path),
}

impl AgentArgs {
    pub(super) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let args = Args::parse(tokens, words::OF_AGENT, errors);
        if args.key(words::TOPIC).is_none() {
            let help =
                "name it, `#[agent(topic = \"orders\")]`, or the static that declares it, `topic = ORDERS`";
            errors.push(mistake_with_help(TokenStream::new(), "missing `topic`", help));
        }
        let topic = args.value(words::TOPIC, TopicUse::read, errors);
        let name = args.value(words::NAME, |expr| values::name(expr, "an agent"), errors);
        let sinks = sinks(&args, errors);
        let policy = args
            .value(words::ON_ERROR, Policy::read, errors)
            .unwrap_or_default();
        if let Some(topic) = &topic {
            policy.check(topic, errors);
        }
        Self {
            topic,
            name,
            sinks,
            sink_key: args.key(words::SINK).or(args.key(words::SINKS)).cloned(),
            policy,
            tables: args.value(words::TABLES, tables, errors).unwrap_or_default(),
        }
    }
}

fn sinks(args: &Args, errors: &mut Errors) -> Vec<Sink> {
    if let (Some(_), Some(sinks)) = (args.key(words::SINK), args.key(words::SINKS)) {
        let help = "`sink` is for one, `sinks` for a list of several";
        errors.push(mistake_with_help(
            sinks,
            "`sinks` cannot be combined with `sink`",
            help,
        ));
    }
    let one = args.value(words::SINK, Sink::read_one, errors);
    let several = args.value(
        words::SINKS,
        |expr| values::all(values::list(expr)?.map(Sink::read)),
        errors,
    );
    one.into_iter().chain(several.into_iter().flatten()).collect()
}

fn tables(expr: &Expr) -> syn::Result<Vec<Path>> {
    values::all(values::list(expr)?.map(|expr| {
        let table = values::path(expr).cloned();
        table.ok_or_else(|| {
            mistake_with_help(
                expr,
                "expected a table",
                "name the static that declares it: `tables = [TOTALS]`",
            )
        })
    }))
}

impl TopicUse {
    /// Whether both are the same text; two texts may still be one topic, which the registry finds.
    pub(super) fn is_written_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Named(one), Self::Named(other)) => one == other,
            (Self::Declared(one), Self::Declared(other)) => {
                one.to_token_stream().to_string() == other.to_token_stream().to_string()
            }
            (Self::Named(_), Self::Declared(_)) | (Self::Declared(_), Self::Named(_)) => false,
        }
    }

    pub(super) fn read(expr: &Expr) -> syn::Result<Self> {
        match expr {
            Expr::Lit(ExprLit { lit: Lit::Str(_), .. }) => values::name(expr, "a topic").map(Self::Named),
            _ => values::path(expr).cloned().map(Self::Declared).ok_or_else(|| {
                let help = "write its name, `\"orders\"`, or the static that declares it, `ORDERS`";
                mistake_with_help(expr, "expected a topic", help)
            }),
        }
    }
}

impl Sink {
    fn read_one(expr: &Expr) -> syn::Result<Self> {
        match expr {
            Expr::Array(_) => Err(mistake_with_help(
                expr,
                "expected one sink",
                "several are given with `sinks = […]`",
            )),
            _ => Self::read(expr),
        }
    }

    /// Statics are written in capitals and functions in small letters: nothing else tells them apart here.
    fn read(expr: &Expr) -> syn::Result<Self> {
        let Some(path) = values::path(expr) else {
            return TopicUse::read(expr).map(Self::Topic);
        };
        let last = path
            .segments
            .last()
            .map(|last| last.ident.to_string())
            .unwrap_or_default();
        if !last.contains(char::is_lowercase) {
            return Ok(Self::Topic(TopicUse::Declared(path.clone())));
        }
        if last.starts_with(char::is_uppercase) {
            let help = "a static is written in capitals, a function in small letters";
            return Err(mistake_with_help(expr, "expected a topic or a function", help));
        }
        Ok(Self::Function(path.clone()))
    }
}
