static COLORS_COUNT: Table<String, u64> = <Table<
    String,
    u64,
>>::__new::<
    ::stream_runtime::__private::Postcard,
>(
    ::stream_runtime::__private::TableOptions {
        name: "colors-count",
        ident: "COLORS_COUNT",
        doc: "",
        location: ::stream_runtime::__private::Location {
            file: ::core::file!(),
            line: ::core::line!(),
            module: ::core::module_path!(),
        },
        config: &[],
    },
    <u64 as ::core::default::Default>::default,
);
const _: () = {
    ::stream_runtime::__private::inventory::submit! {
        ::stream_runtime::__private::TableEntry::__new(|| COLORS_COUNT.def(), || < Table
        < String, u64 > > ::__open(& COLORS_COUNT))
    }
};
