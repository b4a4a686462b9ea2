#!/bin/sh
# Does what the README's start says on a machine that has nothing yet: a clean Debian of its own (debootstrap), a clone of the
# last commit, ./start.sh, a file dropped into media/, ffprobe on what was printed. Takes some ten minutes, needs root and the
# network.
#
#   tests/bare.sh           MIRROR: see tests/lab/system.sh
#   tests/bare.sh --test    and ./test.sh behind it, which takes another 40 minutes
set -eu
cd "$(dirname "$0")/.."

say() { printf 'bare.sh: %s\n' "$*"; }
fail() {
    say "FAILED: $*"
    exit 1
}

[ "$(id -u)" = 0 ] || fail "needs to be root: debootstrap and chroot do"
. tests/lab/system.sh
leave() {
    [ -z "${system:-}" ] || inside sh -c 'cd /root/ringcaster && ./start.sh stop' >/dev/null 2>&1 || true
    [ -z "${system:-}" ] || umount -R "$system/sys" "$system/dev" 2>/dev/null || true
    remove_system
}
trap leave EXIT
trap 'exit 1' INT TERM

say "making a clean $(release)"
make_system
mount --rbind /sys "$system/sys" && mount --make-rslave "$system/sys"
mount --rbind /dev "$system/dev" && mount --make-rslave "$system/dev"
git clone --quiet --no-hardlinks . "$system/root/ringcaster"

say "starting it"
inside sh -c 'cd /root/ringcaster && ./start.sh' >"$system/root/start.log" 2>&1 || fail "start.sh: $(tail -n 5 "$system/root/start.log")"
url=$(grep -o 'rtsp://[^ ]*/test' "$system/root/start.log" | head -n 1)
[ -n "$url" ] || fail "no URL is printed: $(tail -n 5 "$system/root/start.log")"
say "it serves $url"

inside sh -c 'command -v ffprobe' >/dev/null || inside apt-get install -y -qq --no-install-recommends ffmpeg >/dev/null 2>&1
inside ffmpeg -v error -f lavfi -i testsrc=size=320x240:rate=25 -f lavfi -i sine -t 5 -c:v libx264 -preset ultrafast \
    -pix_fmt yuv420p -c:a aac /root/ringcaster/media/film.mp4
for path in test film.mp4; do
    seen=$(inside timeout 30 ffprobe -v error -rtsp_transport tcp -show_entries stream=codec_name -of csv=p=0 "${url%test}$path" |
        sort | tr '\n' ' ')
    [ "$seen" = "aac h264 " ] || fail "ffprobe sees of $path: $seen"
    say "$path: $seen"
done
inside sh -c 'cd /root/ringcaster && ./start.sh status && ./start.sh stop' || fail "start.sh status, stop"

if [ "${1:-}" = --test ]; then
    say "testing it"
    inside sh -c 'cd /root/ringcaster && ./test.sh' || fail "test.sh"
fi
say "passed"
