#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| _ = conv_fuzz::program(bytes));
