#[allow(
    clippy::unused_async,
    reason = "agents are asynchronous, whether they wait or not"
)]
/// Keeps red.
async fn keep_red(mut words: Stream<String>) {
    while let Some(word) = words.next().await {
        if word == "red" {
            COLORS.send(&word, &word).await;
        }
    }
}
///The handle of the agent [`keep_red`](fn@keep_red).
#[allow(
    dead_code,
    non_camel_case_types,
    unreachable_pub,
    reason = "a handle is named after its function, and not every agent is asked for its own"
)]
#[derive(::core::fmt::Debug)]
struct keep_red {}
#[allow(
    dead_code,
    deprecated,
    private_interfaces,
    unreachable_pub,
    reason = "methods are as visible as their function, and not every agent is asked for its own"
)]
impl keep_red {
    /// What was declared.
    const fn agent() -> &'static ::stream_runtime::__private::AgentDef {
        static __AGENT: ::stream_runtime::__private::AgentDef = ::stream_runtime::__private::AgentDef::__new(::stream_runtime::__private::AgentParts {
            name: "keep_red",
            doc: "Keeps red.",
            location: ::stream_runtime::__private::Location {
                file: ::core::file!(),
                line: ::core::line!(),
                module: ::core::module_path!(),
            },
            form: ::stream_runtime::__private::Form::Stream,
            input: || keep_red::topic().def(),
            sinks: &[],
            mentions: &["COLORS"],
            tables: &[],
            on_error: ::stream_runtime::__private::OnError {
                retries: 3u32,
                backoff: ::core::time::Duration::from_millis(100u64),
                max_backoff: ::core::time::Duration::from_millis(60000u64),
                then: ::stream_runtime::__private::Verdict::Stop,
            },
            takes_headers: false,
            start: |__start| ::stream_runtime::__private::run_stream(
                __start,
                |__record| __record.value(keep_red::topic()),
                |__stream| async move {
                    let __returned = keep_red(__stream).await;
                    let _ = __returned;
                    ::core::result::Result::Ok(())
                },
            ),
        });
        &__AGENT
    }
    /// Where its records come from.
    fn topic() -> &'static ::stream_runtime::__private::Topic<
        ::stream_runtime::__private::AnyKey,
        String,
    > {
        static __TOPIC: ::stream_runtime::__private::Topic<
            ::stream_runtime::__private::AnyKey,
            String,
        > = ::stream_runtime::__private::Topic::__new::<
            ::stream_runtime::__private::AnyKeyCodec,
            ::stream_runtime::__private::Auto,
        >(
            ::stream_runtime::__private::TopicOptions::named(
                "words",
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
        ::stream_runtime::__private::AgentEntry(keep_red::agent())
    }
};
