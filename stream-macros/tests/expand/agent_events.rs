#[allow(
    clippy::unused_async,
    reason = "agents are asynchronous, whether they wait or not"
)]
async fn follow(mut events: Stream<Event<String, Order>>) {
    while let Some(event) = events.next().await {}
}
///The handle of the agent [`follow`](fn@follow).
#[allow(
    dead_code,
    non_camel_case_types,
    unreachable_pub,
    reason = "a handle is named after its function, and not every agent is asked for its own"
)]
#[derive(::core::fmt::Debug)]
struct follow {}
#[allow(
    dead_code,
    deprecated,
    private_interfaces,
    unreachable_pub,
    reason = "methods are as visible as their function, and not every agent is asked for its own"
)]
impl follow {
    /// What was declared.
    const fn agent() -> &'static ::stream_runtime::__private::AgentDef {
        static __AGENT: ::stream_runtime::__private::AgentDef = ::stream_runtime::__private::AgentDef::__new(::stream_runtime::__private::AgentParts {
            name: "follow",
            doc: "",
            location: ::stream_runtime::__private::Location {
                file: ::core::file!(),
                line: ::core::line!(),
                module: ::core::module_path!(),
            },
            form: ::stream_runtime::__private::Form::Stream,
            input: || follow::topic().def(),
            sinks: &[],
            mentions: &[],
            tables: &[],
            on_error: ::stream_runtime::__private::OnError {
                retries: 3u32,
                backoff: ::core::time::Duration::from_millis(100u64),
                max_backoff: ::core::time::Duration::from_millis(60000u64),
                then: ::stream_runtime::__private::Verdict::Stop,
            },
            takes_headers: true,
            start: |__start| ::stream_runtime::__private::run_stream(
                __start,
                |__record| __record.event(follow::topic()),
                |__stream| async move {
                    let __returned = follow(__stream).await;
                    let _ = __returned;
                    ::core::result::Result::Ok(())
                },
            ),
        });
        &__AGENT
    }
    /// Where its records come from.
    fn topic() -> &'static ::stream_runtime::__private::Topic<String, Order> {
        static __TOPIC: ::stream_runtime::__private::Topic<String, Order> = ::stream_runtime::__private::Topic::__new::<
            ::stream_runtime::__private::Auto,
            ::stream_runtime::__private::Auto,
        >(
            ::stream_runtime::__private::TopicOptions::named(
                "orders",
                ::stream_runtime::__private::Location {
                    file: ::core::file!(),
                    line: ::core::line!(),
                    module: ::core::module_path!(),
                },
            ),
        );
        &__TOPIC
    }
}
const _: () = {
    ::stream_runtime::__private::inventory::submit! {
        ::stream_runtime::__private::AgentEntry(follow::agent())
    }
};
