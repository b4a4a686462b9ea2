# What the scripts that run tests have in common, for `.`: judge, and then judge_again.
#
# $cargo_test holds the arguments of cargo test before `--`. $result is the exit code.

# A machine that others use may hold up a player for longer than any test waits. A few that failed may show, alone, that
# it was that; they are named either way.
ALONE_MAX=5

result=0
failed=""
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Runs tests, arguments as for cargo test; its exit code is in $status, what it printed in $log.
run_tests() {
    {
        # shellcheck disable=SC2086
        cargo test $cargo_test --no-fail-fast -- "$@" 2>&1
        printf 'exit %s\n' $?
    } | tee "$log" | grep --line-buffered -v '^exit [0-9]*$' || true
    status=$(sed -n 's/^exit \([0-9]*\)$/\1/p' "$log" | tail -n 1)
}

# Runs tests, and keeps the names of those that fail in $failed.
judge() {
    run_tests "$@"
    [ "$status" != 0 ] || return 0
    result=$status
    failed="$failed $(sed -n '/^failures:$/,/^test result: FAILED/s/^    \([^ ]*\)$/\1/p' "$log" | sort -u)"
    say "what failed:"
    sed -n '/^---- .* ----$/,/^test result: FAILED/p' "$log" | tail -n 200
}

# Gives a few that failed another try, one at a time.
judge_again() {
    # shellcheck disable=SC2086
    count=$(printf '%s\n' $failed | grep -c . || true)
    if [ "$result" = 0 ] || [ "$count" -lt 1 ] || [ "$count" -gt "$ALONE_MAX" ]; then
        return 0
    fi
    say "once more, alone:" $failed
    export RUST_TEST_THREADS=1
    # shellcheck disable=SC2086
    run_tests --exact $failed
    result=$status
    [ "$result" != 0 ] || say "WARNING: failed among others and passed alone:" $failed
}
