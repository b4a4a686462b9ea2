#!/bin/sh
# Installs what is missing, builds if needed, and runs the server in the background.
#
#   ./start.sh [OPTIONS] [DIR]   start; options are those of rtspserver, DIR holds media files (default: media/ here)
#   ./start.sh --foreground ...  the same in this terminal
#   ./start.sh stop | status     end the server, say whether it runs
#   ./start.sh check ...         whatever else the program does: check, hash-password, devices, probe, with their options
#   ./start.sh --install-only    only install what building needs
set -eu

HERE=$(cd "$(dirname "$0")" && pwd)
PROGRAM=$HERE/target/release/rtspserver
PID_FILE=$HERE/rtspserver.pid
# What building needs, as Debian calls it: a linker, and the libraries of FFmpeg and PipeWire with what reads their headers.
PACKAGES="gcc libc6-dev pkg-config clang libclang-dev ca-certificates
  libavcodec-dev libavdevice-dev libavformat-dev libavutil-dev libswscale-dev libswresample-dev
  libpipewire-0.3-dev libspa-0.2-dev"
# The oldest Rust that builds this, 1.x.
RUST_MINOR=90

say() { printf '%s\n' "start.sh: $*" >&2; }

fail() {
    say "$*"
    exit 1
}

# --- installing ---------------------------------------------------------------------------------------------------

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        fail "needs to be root for: $* (run it as root, or install sudo)"
    fi
}

is_installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

apt_install() {
    say "installing $*"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

install_packages() {
    if ! command -v dpkg-query >/dev/null 2>&1; then
        pkg-config --exists libavcodec libavdevice libavformat libavutil libswscale libswresample libpipewire-0.3 2>/dev/null ||
            fail "not a Debian: install a C compiler, pkg-config, clang and the development files of FFmpeg and PipeWire, then start again"
        return
    fi
    missing=""
    for package in $PACKAGES; do
        is_installed "$package" || missing="$missing $package"
    done
    # shellcheck disable=SC2086
    [ -z "$missing" ] || apt_install $missing
}

# Whether the Rust version in $1, such as "rustc 1.96.0 (...)" or "1.96.0+dfsg1-1", is new enough.
is_new_enough() {
    minor=$(printf '%s' "$1" | sed -n 's/^\(rustc \)\{0,1\}1\.\([0-9]\{1,\}\).*/\2/p')
    [ "${minor:-0}" -ge "$RUST_MINOR" ]
}

has_rust() {
    command -v cargo >/dev/null 2>&1 && is_new_enough "$(rustc --version 2>/dev/null)"
}

candidate() {
    apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p'
}

# Rust: what is on the PATH, else rustup's in the home folder, else Debian's.
find_rust() {
    has_rust && return
    PATH=${CARGO_HOME:-${HOME:-/root}/.cargo}/bin:$PATH
    export PATH
    has_rust && return
    command -v apt-get >/dev/null 2>&1 || fail "no Rust 1.$RUST_MINOR or newer: install it from https://rustup.rs"
    as_root apt-get update -qq
    # Debian keeps a newer Rust under -web in its stable releases, to build browsers with.
    for suffix in -web ""; do
        if is_new_enough "$(candidate "rustc$suffix")"; then
            apt_install "rustc$suffix" "cargo$suffix"
            hash -r
            # An old cargo of the home folder would still come first.
            has_rust || PATH=/usr/bin:$PATH
            return
        fi
    done
    if [ "$(candidate rustup)" != "" ] && [ "$(candidate rustup)" != "(none)" ]; then
        apt_install rustup
        rustup default stable
        return
    fi
    fail "no Rust 1.$RUST_MINOR or newer in the archives of /etc/apt/sources.list: add Debian's security archive, which has rustc-web, or install it from https://rustup.rs"
}

install_missing() {
    install_packages
    find_rust
}

build() {
    quiet=--quiet
    if [ ! -x "$PROGRAM" ]; then
        say "building, which takes some minutes the first time"
        quiet=""
    fi
    # shellcheck disable=SC2086
    (cd "$HERE" && cargo build --release $quiet -p ringcaster --bin rtspserver) || fail "the build failed"
}

# --- running ------------------------------------------------------------------------------------------------------

# The number of the running server; fails when there is none.
running() {
    [ -r "$PID_FILE" ] || return 1
    pid=$(cat "$PID_FILE" 2>/dev/null) || return 1
    # A number left by a crash may belong to somebody else by now.
    [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = rtspserver ] || return 1
    printf '%s' "$pid"
}

stop() {
    if ! pid=$(running); then
        say "not running"
        return
    fi
    kill "$pid" 2>/dev/null || fail "process $pid belongs to somebody else: run this as root or with sudo"
    waited=0
    while running >/dev/null; do
        [ "$waited" -lt 100 ] || fail "process $pid has not ended within 10 seconds (kill -9 $pid ends it)"
        sleep 0.1
        waited=$((waited + 1))
    done
    say "stopped"
}

status() {
    if pid=$(running); then
        say "running as process $pid"
    else
        say "not running"
        exit 3
    fi
}

# Whether the arguments name a configuration or a folder; without, the folder of this script is meant.
names_source() {
    while [ $# -gt 0 ]; do
        case $1 in
            -c | --config | --config=* | -c?*) return 0 ;;
            --backend | --shards | --log-file | --log-format | --url) shift ;;
            -*) ;;
            *) return 0 ;;
        esac
        [ $# -eq 0 ] || shift
    done
    return 1
}

run() {
    foreground=$1
    shift
    if pid=$(running); then
        say "already running as process $pid (./start.sh stop ends it)"
        return
    fi
    install_missing
    build
    mkdir -p "$HERE/media"
    names_source "$@" || cd "$HERE"
    if [ "$foreground" = yes ]; then
        exec "$PROGRAM" --pid-file "$PID_FILE" "$@"
    fi
    exec "$PROGRAM" --daemon --pid-file "$PID_FILE" "$@"
}

# What the program does beside serving: of the configuration that is named, else of that in the folder of this script.
ask() {
    if [ ! -x "$PROGRAM" ]; then
        install_missing
        build
    fi
    command=$1
    shift
    names_source "$@" || cd "$HERE"
    exec "$PROGRAM" "$command" "$@"
}

case ${1:-} in
    stop) stop ;;
    status) status ;;
    check | hash-password | devices | probe) ask "$@" ;;
    --install-only) install_missing ;;
    --foreground)
        shift
        run yes "$@"
        ;;
    -h | --help) sed -n '2,/^set /s/^# \{0,1\}//p' "$0" ;;
    *) run no "$@" ;;
esac
