#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sqjobs_tests::fuzz::record(data));
