#!/bin/sh
# Runs every test: units, behaviours with real players as judges, simulation. Installs what they need, if it is missing.
#
#   ./test.sh                  everything
#   ./test.sh NAME...          tests whose name holds NAME, arguments as for cargo test
#
# TEST_THREADS (8) tests run at once: most of them wait for a player, not for a processor.
set -eu
cd "$(dirname "$0")"

say() { printf 'test.sh: %s\n' "$*"; }

# What the tests start, by the package that Debian has it in.
PACKAGES="
ffmpeg:ffmpeg
ffprobe:ffmpeg
ffplay:ffmpeg
gst-launch-1.0:gstreamer1.0-tools
timeout:coreutils
kill:procps
ip:iproute2
haproxy:haproxy
openssl:openssl
sha256sum:coreutils
curl:curl
promtool:prometheus
chromium:chromium
npm:npm
Xvfb:xvfb
/usr/bin/convert:imagemagick
pipewire:pipewire
pw-cat:pipewire-bin
pipewire-pulse:pipewire-pulse
wireplumber:wireplumber
pw-dump:pipewire-bin
dbus-daemon:dbus
dbus-send:dbus-bin
/usr/libexec/xdg-desktop-portal:xdg-desktop-portal
xrandr:x11-xserver-utils
xdpyinfo:x11-utils
qemu-system-x86_64:qemu-system-x86
modprobe:kmod
cpio:cpio
make:make
gcc-12:gcc-12
v4l2-ctl:v4l-utils
bwrap:bubblewrap
systemd-analyze:systemd
xmllint:libxml2-utils
tcpdump:tcpdump
socat:socat
"
# What GStreamer must be able to do, by package.
ELEMENTS="
rtspsrc:gstreamer1.0-plugins-good
rtph264depay:gstreamer1.0-plugins-good
matroskamux:gstreamer1.0-plugins-good
vp9parse:gstreamer1.0-plugins-bad
rtspclientsink:gstreamer1.0-rtsp
filesink:gstreamer1.0-plugins-base
rtph265depay:gstreamer1.0-plugins-good
"

as_root=""
[ "$(id -u)" = 0 ] || as_root=sudo

install_missing() {
    missing=""
    for pair in $PACKAGES; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
    done
    for pair in $ELEMENTS; do
        gst-inspect-1.0 --exists "${pair%%:*}" 2>/dev/null || missing="$missing ${pair##*:}"
    done
    # Debian's own Python drives GStreamer; another one in the path does not know it.
    /usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0"); from gi.repository import GstRtspServer' 2>/dev/null ||
        missing="$missing python3-gi gir1.2-gstreamer-1.0 gir1.2-gst-rtsp-server-1.0"
    [ -e /usr/share/seabios/bios-256k.bin ] || missing="$missing seabios"
    /usr/bin/python3 -c 'import dbus, gi' 2>/dev/null || missing="$missing python3-dbus python3-gi"
    [ -n "$missing" ] || return 0
    # gst-inspect-1.0 itself may have been what was missing: the plugins come along.
    missing=$(printf '%s\n' $missing gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-rtsp | sort -u)
    say "installing" $missing
    $as_root apt-get update -qq
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# The player that runs in a browser's page, from the npm registry.
BROWSER_PLAYER=media-stream-library@13.1.1
install_browser_player() {
    [ -f target/browser/node_modules/media-stream-library/package.json ] && return 0
    say "installing $BROWSER_PLAYER"
    mkdir -p target/browser
    npm install --prefix target/browser --no-save --no-audit --no-fund --ignore-scripts --silent "$BROWSER_PLAYER"
}

# The kernel of a virtual machine with cameras, once.
make_machine() {
    tests/lab/machine.sh target/lab && return 0
    say "once more, with newer lists of packages"
    $as_root apt-get update -qq
    tests/lab/machine.sh target/lab
}

# A whole 4K keyframe must fit the sockets of players that do not read all the time.
widen_buffers() {
    now=$(sysctl -n net.core.rmem_max 2>/dev/null || echo 0)
    if [ "$now" -lt 4194304 ]; then
        sysctl -qw net.core.rmem_max=4194304 2>/dev/null ||
            say "WARNING: net.core.rmem_max is $now; players may lose packets of 4K files over UDP (wanted: 4194304)"
    fi
}

if [ -x ./start.sh ]; then
    ./start.sh --install-only
fi
install_missing
install_browser_player
make_machine
widen_buffers
if [ -f "$HOME/.cargo/env" ]; then
    . "$HOME/.cargo/env"
fi
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

export RUST_TEST_THREADS="${TEST_THREADS:-8}"
say "building"
# Without the benches: their rivals need more to be built, and they have no tests.
# With the profile of cargo test, which would build all of it once more otherwise.
cargo build --profile test --workspace --exclude ringcaster-benches --bins --tests --quiet
say "testing, $RUST_TEST_THREADS at once"
cargo_test="--workspace --exclude ringcaster-benches"
. tests/judge.sh

# Builds the program for Windows that needs no other library: before the tests, as what is built beside them holds them up.
build_for_windows() {
    say "building for Windows"
    code=0
    fallback/windows/build.sh portable || code=$?
    case "$code" in
    0) ;;
    3) left_out="the tests of the program for Windows, which takes rustup to be built" ;;
    *)
        say "the program for Windows cannot be built"
        exit "$code"
        ;;
    esac
}

left_out=""
if [ $# != 0 ]; then
    judge "$@"
else
    build_for_windows
    judge --skip windows::
    [ -n "$left_out" ] || judge windows::portable
fi
judge_again
[ -z "$left_out" ] || say "LEFT OUT: $left_out"
exit "$result"
