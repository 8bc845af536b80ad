#[cfg(unix)]
static COLORS: stream_runtime::Topic<String, f64> = <stream_runtime::Topic<
    String,
    f64,
>>::__new::<
    ::stream_runtime::__private::Text,
    codecs::Tenths,
>(::stream_runtime::__private::TopicOptions {
    name: "by-color",
    ident: "COLORS",
    doc: "",
    location: ::stream_runtime::__private::Location {
        file: ::core::file!(),
        line: ::core::line!(),
        module: ::core::module_path!(),
    },
    ownership: ::stream_runtime::__private::Ownership::Internal,
    partitions: ::core::option::Option::Some(8u32),
    replicas: ::core::option::Option::Some(3u16),
    retention_ms: ::core::option::Option::Some(604800000i64),
    compact: true,
    config: &[("min.insync.replicas", "2")],
});
#[cfg(unix)]
const _: () = {
    ::stream_runtime::__private::inventory::submit! {
        ::stream_runtime::__private::TopicEntry(|| COLORS.def())
    }
};
