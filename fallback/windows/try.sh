#!/bin/sh
# Builds the program for Windows and tries it under Wine: players of Linux watch what it serves, and judge it. `test.sh`
# installs the players.
#
#   fallback/windows/try.sh          all tests in tests/windows
#
# TEST_THREADS (3) tests run at once, each with a Windows of its own.
set -eu
cd "$(dirname "$0")/../.."

say() { printf 'try.sh: %s\n' "$*"; }

fallback/windows/build.sh
export RUST_TEST_THREADS="${TEST_THREADS:-3}"
cargo_test="--test behaviour"
. tests/judge.sh
judge windows::
judge_again
exit "$result"
