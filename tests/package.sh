#!/bin/sh
# Installs the Debian package in a clean system of its own (debootstrap), serves from it and plays that with ffprobe, and
# removes it again. Takes some minutes, needs root and the network.
#
#   tests/package.sh [FILE.deb]     without a file the package is built first
#
# The clean system is of the release that runs here and uses the mirrors of this machine's apt; MIRROR names the one that
# debootstrap takes its base from.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'package.sh: %s\n' "$*"; }
fail() {
    say "FAILED: $*"
    exit 1
}

[ "$(id -u)" = 0 ] || fail "needs to be root: debootstrap and chroot do"
if ! command -v debootstrap >/dev/null 2>&1; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
fi
package=${1:-}
if [ -z "$package" ]; then
    say "building the package"
    package=$(config/debian/build.sh)
fi
[ -f "$package" ] || fail "no package: $package"

system=$(mktemp -d "${TMPDIR:-/tmp}/ringcaster-package.XXXXXX")
# Its root is everybody's to enter.
chmod 755 "$system"
leave() {
    [ ! -e "$system/run/server.pid" ] || kill "$(cat "$system/run/server.pid")" 2>/dev/null || true
    umount "$system/proc" 2>/dev/null || true
    rm -rf "$system"
}
trap leave EXIT
trap 'exit 1' INT TERM

inside() { chroot "$system" env DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"; }

# --- a clean system -----------------------------------------------------------------------------------------------

release=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
say "making a clean $release"
debootstrap --variant=minbase "$release" "$system" ${MIRROR:+"$MIRROR"} >"$system.log" 2>&1 ||
    fail "debootstrap: $(tail -n 3 "$system.log")"
rm -f "$system.log"
mount -t proc proc "$system/proc"
cp /etc/resolv.conf "$system/etc/"
# How this machine's apt reaches its mirrors, and whom it trusts.
rm -rf "$system/etc/apt/sources.list" "$system/etc/apt/sources.list.d"
for settings in sources.list sources.list.d apt.conf.d keyrings trusted.gpg.d auth.conf.d; do
    [ ! -e "/etc/apt/$settings" ] || cp -r "/etc/apt/$settings" "$system/etc/apt/"
done
cp -r /usr/share/keyrings/. "$system/usr/share/keyrings/"
mkdir -p "$system/etc/ssl/certs"
[ ! -e /etc/ssl/certs/ca-certificates.crt ] || cp /etc/ssl/certs/ca-certificates.crt "$system/etc/ssl/certs/"
# Nothing starts by itself in there.
printf '#!/bin/sh\nexit 101\n' >"$system/usr/sbin/policy-rc.d"
chmod 755 "$system/usr/sbin/policy-rc.d"
inside apt-get update -qq >/dev/null

# --- installed ----------------------------------------------------------------------------------------------------

say "installing $(basename "$package")"
cp "$package" "$system/tmp/ringcaster.deb"
inside apt-get install -y -qq --no-install-recommends /tmp/ringcaster.deb >"$system/tmp/apt.log" 2>&1 ||
    fail "apt: $(tail -n 5 "$system/tmp/apt.log")"

inside getent passwd ringcaster >/dev/null || fail "no user ringcaster"
for group in video audio render; do
    inside getent group "$group" >/dev/null || fail "no group $group, which the unit names"
done
conffiles=$(inside dpkg-query -W -f '${Conffiles}' ringcaster)
case $conffiles in
*/etc/ringcaster/rtspserver.xml*) ;;
*) fail "the configuration is no conffile: $conffiles" ;;
esac
[ "$(inside stat -c '%U:%G %a' /etc/ringcaster/rtspserver.xml)" = "root:ringcaster 640" ] || fail "modes of the configuration"
[ "$(inside stat -c '%U %a' /var/lib/ringcaster/media)" = "root 755" ] || fail "modes of the media folder"
[ -L "$system/etc/systemd/system/multi-user.target.wants/ringcaster.service" ] || fail "the unit is not enabled"
said=$(inside systemd-analyze verify /lib/systemd/system/ringcaster.service 2>&1) || fail "systemd-analyze: $said"
inside rtspserver check -c /etc/ringcaster/rtspserver.xml >/dev/null || fail "the configuration is wrong"

# --- serving ------------------------------------------------------------------------------------------------------

say "serving from it, as its user on port 554"
inside apt-get install -y -qq --no-install-recommends ffmpeg iproute2 >"$system/tmp/apt.log" 2>&1 ||
    fail "apt: $(tail -n 5 "$system/tmp/apt.log")"
inside ffmpeg -v error -f lavfi -i testsrc=size=320x240:rate=25 -t 2 -c:v libx264 -preset ultrafast \
    -pix_fmt yuv420p /var/lib/ringcaster/media/film.mp4
cat >"$system/tmp/serve.sh" <<'EOF'
# A network of its own, so that its ports are free; user, groups and capability as the unit has them.
set -eu
ip link set lo up
setpriv --reuid=ringcaster --regid=ringcaster --init-groups --inh-caps=-all,+net_bind_service \
    --ambient-caps=-all,+net_bind_service --bounding-set=-all,+net_bind_service --no-new-privs \
    env RINGCASTER_STATE_DIR=/var/lib/ringcaster rtspserver --config /etc/ringcaster/rtspserver.xml >/tmp/server.log 2>&1 &
echo $! >/run/server.pid
tries=0
until grep -q rtsp:// /tmp/server.log; do
    kill -0 "$(cat /run/server.pid)" && [ "$tries" -lt 100 ] || exit 1
    tries=$((tries + 1))
    sleep 0.1
done
for path in test film.mp4; do
    for transport in udp tcp; do
        timeout 20 ffprobe -v error -rtsp_transport "$transport" -select_streams v -read_intervals %+1 -count_packets \
            -show_entries stream=codec_name,nb_read_packets -of csv=p=0 "rtsp://127.0.0.1/$path" | sed "s/^/$path $transport /"
    done
done
kill "$(cat /run/server.pid)"
wait "$(cat /run/server.pid)"
EOF
played=$(unshare --net chroot "$system" env LC_ALL=C sh /tmp/serve.sh) || fail "it does not serve: $(tail -n 5 "$system/tmp/server.log")"
printf '%s\n' "$played"
for wanted in "test udp h264," "test tcp h264," "film.mp4 udp h264," "film.mp4 tcp h264,"; do
    count=$(printf '%s\n' "$played" | sed -n "s/^$wanted\([0-9]*\).*/\1/p" | head -n 1)
    [ "${count:-0}" -ge 10 ] || fail "ffprobe has not played $wanted $count packets"
done
[ -f "$system/var/lib/ringcaster/rtspserver-key.pem" ] || fail "the certificate was not kept in the state folder"
grep -E 'backend|shards' "$system/tmp/server.log" | head -n 1

# --- removed ------------------------------------------------------------------------------------------------------

say "removing it"
inside apt-get purge -y -qq ringcaster >"$system/tmp/apt.log" 2>&1 || fail "apt: $(tail -n 5 "$system/tmp/apt.log")"
[ ! -e "$system/etc/ringcaster" ] || fail "the configuration is left"
[ ! -e "$system/usr/bin/rtspserver" ] || fail "the program is left"
[ ! -e "$system/var/lib/ringcaster/rtspserver-key.pem" ] || fail "the key is left"
[ -f "$system/var/lib/ringcaster/media/film.mp4" ] || fail "a video is gone"
say "passed"
