//! The rules for every function that is registered: one concrete, safe, free `async fn`.

use syn::{FnArg, Safety, Signature};

use crate::errors::{Errors, mistake, mistake_with_help};

/// Reports whatever keeps the function from being called by the runtime. `what` is its role: "agent".
pub(crate) fn check(signature: &Signature, what: &str, errors: &mut Errors) {
    let name = &signature.ident;
    let whom = format!("{what} `{name}`");
    if signature.asyncness.is_none() {
        let message = format_args!("{whom} must be an `async fn`");
        let help = format_args!("write `async fn {name}`");
        errors.push(mistake_with_help(signature.fn_token, message, help));
    }
    if let Some(token) = signature.constness {
        errors.push(mistake(token, format_args!("{whom} must not be `const`")));
    }
    if let Safety::Unsafe(token) = signature.safety {
        let message = format_args!("{whom} must not be `unsafe`");
        errors.push(mistake_with_help(
            token,
            message,
            "put `unsafe` around what needs it in the body",
        ));
    }
    if let Some(abi) = &signature.abi {
        errors.push(mistake(abi, format_args!("{whom} must not be `extern`")));
    }
    if let Some(variadic) = &signature.variadic {
        errors.push(mistake(variadic, format_args!("{whom} must not be variadic")));
    }
    check_free(signature, &whom, errors);
    check_concrete(signature, &whom, errors);
}

fn check_free(signature: &Signature, whom: &str, errors: &mut Errors) {
    if let Some(receiver) = signature.receiver() {
        let message = format_args!("{whom} must not take `self`");
        let help = "move it out of the `impl` block; what lasts longer than a record belongs in a table";
        errors.push(mistake_with_help(receiver, message, help));
    }
}

fn check_concrete(signature: &Signature, whom: &str, errors: &mut Errors) {
    let generics = &signature.generics;
    let help = "it is registered once, as one function: write the types out";
    if !generics.params.is_empty() {
        let message = format_args!("{whom} must not be generic");
        errors.push(mistake_with_help(generics, message, help));
    }
    if let Some(clause) = &generics.where_clause {
        errors.push(mistake_with_help(
            clause,
            format_args!("{whom} must not have a `where` clause"),
            help,
        ));
    }
}

/// Whether this is a method, beside which no other item can stand.
pub(crate) fn is_method(signature: &Signature) -> bool {
    matches!(signature.inputs.first(), Some(FnArg::Receiver(_)))
}
