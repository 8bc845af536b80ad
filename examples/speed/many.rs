//! A program with many agents, each with a topic of its own.

use std::sync::atomic::Ordering;

use stream_runtime::AgentDef;
use stream_runtime::prelude::*;

use crate::job::DONE;

macro_rules! agents {
    ($($name:ident $topic:literal)*) => {
        $(
            #[agent(topic = $topic)]
            async fn $name(_bytes: Vec<u8>) {
                DONE.fetch_add(1, Ordering::Relaxed);
            }
        )*

        /// The topics of all agents.
        pub(crate) const TOPICS: &[&str] = &[$($topic),*];

        /// All agents, in the order of their topics.
        pub(crate) fn agents() -> Vec<&'static AgentDef> {
            vec![$($name::agent()),*]
        }
    };
}

agents! {
    a000 "speed-a000" a001 "speed-a001" a002 "speed-a002" a003 "speed-a003" a004 "speed-a004"
    a005 "speed-a005" a006 "speed-a006" a007 "speed-a007" a008 "speed-a008" a009 "speed-a009"
    a010 "speed-a010" a011 "speed-a011" a012 "speed-a012" a013 "speed-a013" a014 "speed-a014"
    a015 "speed-a015" a016 "speed-a016" a017 "speed-a017" a018 "speed-a018" a019 "speed-a019"
    a020 "speed-a020" a021 "speed-a021" a022 "speed-a022" a023 "speed-a023" a024 "speed-a024"
    a025 "speed-a025" a026 "speed-a026" a027 "speed-a027" a028 "speed-a028" a029 "speed-a029"
    a030 "speed-a030" a031 "speed-a031" a032 "speed-a032" a033 "speed-a033" a034 "speed-a034"
    a035 "speed-a035" a036 "speed-a036" a037 "speed-a037" a038 "speed-a038" a039 "speed-a039"
    a040 "speed-a040" a041 "speed-a041" a042 "speed-a042" a043 "speed-a043" a044 "speed-a044"
    a045 "speed-a045" a046 "speed-a046" a047 "speed-a047" a048 "speed-a048" a049 "speed-a049"
    a050 "speed-a050" a051 "speed-a051" a052 "speed-a052" a053 "speed-a053" a054 "speed-a054"
    a055 "speed-a055" a056 "speed-a056" a057 "speed-a057" a058 "speed-a058" a059 "speed-a059"
    a060 "speed-a060" a061 "speed-a061" a062 "speed-a062" a063 "speed-a063" a064 "speed-a064"
    a065 "speed-a065" a066 "speed-a066" a067 "speed-a067" a068 "speed-a068" a069 "speed-a069"
    a070 "speed-a070" a071 "speed-a071" a072 "speed-a072" a073 "speed-a073" a074 "speed-a074"
    a075 "speed-a075" a076 "speed-a076" a077 "speed-a077" a078 "speed-a078" a079 "speed-a079"
    a080 "speed-a080" a081 "speed-a081" a082 "speed-a082" a083 "speed-a083" a084 "speed-a084"
    a085 "speed-a085" a086 "speed-a086" a087 "speed-a087" a088 "speed-a088" a089 "speed-a089"
    a090 "speed-a090" a091 "speed-a091" a092 "speed-a092" a093 "speed-a093" a094 "speed-a094"
    a095 "speed-a095" a096 "speed-a096" a097 "speed-a097" a098 "speed-a098" a099 "speed-a099"
    a100 "speed-a100" a101 "speed-a101" a102 "speed-a102" a103 "speed-a103" a104 "speed-a104"
    a105 "speed-a105" a106 "speed-a106" a107 "speed-a107" a108 "speed-a108" a109 "speed-a109"
    a110 "speed-a110" a111 "speed-a111" a112 "speed-a112" a113 "speed-a113" a114 "speed-a114"
    a115 "speed-a115" a116 "speed-a116" a117 "speed-a117" a118 "speed-a118" a119 "speed-a119"
    a120 "speed-a120" a121 "speed-a121" a122 "speed-a122" a123 "speed-a123" a124 "speed-a124"
    a125 "speed-a125" a126 "speed-a126" a127 "speed-a127" a128 "speed-a128" a129 "speed-a129"
    a130 "speed-a130" a131 "speed-a131" a132 "speed-a132" a133 "speed-a133" a134 "speed-a134"
    a135 "speed-a135" a136 "speed-a136" a137 "speed-a137" a138 "speed-a138" a139 "speed-a139"
    a140 "speed-a140" a141 "speed-a141" a142 "speed-a142" a143 "speed-a143" a144 "speed-a144"
    a145 "speed-a145" a146 "speed-a146" a147 "speed-a147" a148 "speed-a148" a149 "speed-a149"
    a150 "speed-a150" a151 "speed-a151" a152 "speed-a152" a153 "speed-a153" a154 "speed-a154"
    a155 "speed-a155" a156 "speed-a156" a157 "speed-a157" a158 "speed-a158" a159 "speed-a159"
    a160 "speed-a160" a161 "speed-a161" a162 "speed-a162" a163 "speed-a163" a164 "speed-a164"
    a165 "speed-a165" a166 "speed-a166" a167 "speed-a167" a168 "speed-a168" a169 "speed-a169"
    a170 "speed-a170" a171 "speed-a171" a172 "speed-a172" a173 "speed-a173" a174 "speed-a174"
    a175 "speed-a175" a176 "speed-a176" a177 "speed-a177" a178 "speed-a178" a179 "speed-a179"
    a180 "speed-a180" a181 "speed-a181" a182 "speed-a182" a183 "speed-a183" a184 "speed-a184"
    a185 "speed-a185" a186 "speed-a186" a187 "speed-a187" a188 "speed-a188" a189 "speed-a189"
    a190 "speed-a190" a191 "speed-a191" a192 "speed-a192" a193 "speed-a193" a194 "speed-a194"
    a195 "speed-a195" a196 "speed-a196" a197 "speed-a197" a198 "speed-a198" a199 "speed-a199"
}
