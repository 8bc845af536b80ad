fn price(order: Order) {}
///The handle of the agent [`price`](fn@price).
#[allow(
    dead_code,
    non_camel_case_types,
    unreachable_pub,
    reason = "a handle is named after its function, and not every agent is asked for its own"
)]
#[derive(::core::fmt::Debug)]
struct price {}
#[allow(
    dead_code,
    deprecated,
    private_interfaces,
    unreachable_pub,
    reason = "methods are as visible as their function, and not every agent is asked for its own"
)]
impl price {
    fn agent() -> &'static ::stream_runtime::__private::AgentDef {
        ::core::unreachable!()
    }
}
::core::compile_error! {
    "unknown argument `tpic`; expected one of: `topic`, `name`, `sink`, `sinks`, `on_error`, `tables`\nhelp: did you mean `topic`?"
}
::core::compile_error! {
    "agent `price` must be an `async fn`\nhelp: write `async fn price`"
}
static PRICES: Table<String, u64> = {
    ::core::compile_error! {
        "`default` needs a value\nhelp: write `default = …`"
    }
    ::core::compile_error! {
        "table `PRICES` must not have a value\nhelp: end it with `;` behind its type, the macro makes the value"
    }
};
