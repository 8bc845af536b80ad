static LIMITS: Table<String, Limit> = <Table<
    String,
    Limit,
>>::__new::<
    ::stream_runtime::__private::Json,
>(
    ::stream_runtime::__private::TableOptions {
        name: "limits",
        ident: "LIMITS",
        doc: "",
        location: ::stream_runtime::__private::Location {
            file: ::core::file!(),
            line: ::core::line!(),
            module: ::core::module_path!(),
        },
        config: &[("segment.ms", "60000")],
    },
    || Limit::of(10),
);
const _: () = {
    ::stream_runtime::__private::inventory::submit! {
        ::stream_runtime::__private::TableEntry::__new(|| LIMITS.def(), || < Table <
        String, Limit > > ::__open(& LIMITS))
    }
};
