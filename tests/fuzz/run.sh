#!/bin/sh
# Runs fuzz targets, guided by coverage, on the stable compiler: the code is free of unsafe, so no sanitizer is needed
# beside the overflow checks and assertions of the profile. Needs a C++ compiler for libFuzzer.
#
#   tests/fuzz/run.sh                       every target for 600 s, one after the other
#   tests/fuzz/run.sh SECONDS [TARGET...]   those targets for so long each
#
# Exit code 1 with the input under artifacts/ when something was found. With cargo-fuzz and a nightly compiler
# `cargo fuzz run TARGET` works here too and adds the address sanitizer.
set -eu
cd "$(dirname "$0")"

seconds=${1:-600}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- rtsp transport range uri sdp rtcp interleaved pushed client auth jpeg mjpeg proxy_protocol mikey base64 websocket metadata

host=$(rustc -vV | sed -n 's/^host: //p')
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-trace-compares"
# One codegen unit: the counters of several are not linked reliably. A target is named, so that the flags do not
# reach build scripts.
RUSTFLAGS="${RUSTFLAGS:-} --cfg fuzzing -Ccodegen-units=1 $coverage" cargo build --quiet --release --target "$host"

for target in "$@"; do
    mkdir -p "corpus/$target" "artifacts/$target"
    seeds="seeds/$target"
    # Recorded dialogues are seeds too.
    case $target in rtsp) seeds="$seeds ../data/rtsp" ;; esac
    dictionary=""
    [ -f "dictionaries/$target.txt" ] && dictionary="-dict=dictionaries/$target.txt"
    printf 'run.sh: %s for %s s\n' "$target" "$seconds"
    # shellcheck disable=SC2086 # the lists are words
    "target/$host/release/$target" -max_total_time="$seconds" -max_len=2048 -timeout=10 -rss_limit_mb=1024 \
        -print_final_stats=1 -artifact_prefix="artifacts/$target/" $dictionary "corpus/$target" $seeds \
        2>"artifacts/$target/log" || {
        tail -n 40 "artifacts/$target/log"
        printf 'run.sh: %s found something, see %s\n' "$target" "artifacts/$target" >&2
        exit 1
    }
    grep -aE '^(Done|stat::number_of_executed_units|stat::average_exec_per_sec)|cov:' "artifacts/$target/log" | tail -n 4
done
