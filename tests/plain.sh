#!/bin/sh
# Tests a program without FFmpeg, PipeWire and TLS: cargo's features are off. What needs one of them is not compiled in, all
# else passes. `test.sh` installs the players.
#
#   tests/plain.sh             all of them
#   tests/plain.sh NAME...     tests whose name holds NAME, arguments as for cargo test
#
# TEST_THREADS (8) tests run at once.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'plain.sh: %s\n' "$*"; }

export RUST_TEST_THREADS="${TEST_THREADS:-8}"
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
cargo_test="--no-default-features --test behaviour"
. tests/judge.sh
# What is for Windows is another program.
judge --skip windows:: "$@"
judge_again
exit "$result"
