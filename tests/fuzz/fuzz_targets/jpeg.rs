#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringcaster_fuzz::jpeg(data));
