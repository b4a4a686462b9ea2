#!/bin/sh
# Builds the program for Windows and tries it under Wine: players of Linux watch what it serves, and judge it. `test.sh`
# installs the players.
#
#   fallback/windows/try.sh          all tests in tests/windows
#
# TEST_THREADS (3) tests run at once, each with a Windows of its own.
set -eu
cd "$(dirname "$0")/../.."

fallback/windows/build.sh
export RUST_TEST_THREADS="${TEST_THREADS:-3}"
exec cargo test --test behaviour windows
