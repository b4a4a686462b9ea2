#!/bin/sh
# Installs the Debian package in a clean system of its own (debootstrap), serves from it and plays that with ffprobe,
# removes it again, and does the same by hand as the README says. Takes some minutes, needs root and the network.
#
#   tests/package.sh [FILE.deb]     without a file the package is built first; MIRROR: see tests/lab/system.sh
set -eu
cd "$(dirname "$0")/.."

say() { printf 'package.sh: %s\n' "$*"; }
fail() {
    say "FAILED: $*"
    exit 1
}

[ "$(id -u)" = 0 ] || fail "needs to be root: debootstrap and chroot do"
package=${1:-}
if [ -z "$package" ]; then
    say "building the package"
    package=$(config/debian/build.sh)
fi
[ -f "$package" ] || fail "no package: $package"

. tests/lab/system.sh
. tests/lab/readme.sh
leave() {
    [ -z "${system:-}" ] || [ ! -e "$system/run/server.pid" ] || kill "$(cat "$system/run/server.pid")" 2>/dev/null || true
    remove_system
}
trap leave EXIT
trap 'exit 1' INT TERM
say "making a clean $(release)"
make_system

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
inside systemd-analyze security --no-pager --offline=true --threshold=40 /lib/systemd/system/ringcaster.service >"$system/tmp/security.log" 2>&1 ||
    fail "systemd-analyze: $(tail -n 1 "$system/tmp/security.log")"
inside rtspserver check -c /etc/ringcaster/rtspserver.xml >/dev/null || fail "the configuration is wrong"

# --- serving ------------------------------------------------------------------------------------------------------

say "serving from it, as its user on port 554"
inside apt-get install -y -qq --no-install-recommends curl ffmpeg iproute2 >"$system/tmp/apt.log" 2>&1 ||
    fail "apt: $(tail -n 5 "$system/tmp/apt.log")"
inside ffmpeg -v error -f lavfi -i testsrc=size=320x240:rate=25 -t 2 -c:v libx264 -preset ultrafast \
    -pix_fmt yuv420p /var/lib/ringcaster/media/film.mp4
cat >"$system/tmp/serve.sh" <<'EOF'
# A network of its own, so that its ports are free; user, groups and capability as the unit has them, which is named.
set -eu
ip link set lo up
rm -f /tmp/server.log
install -d -o ringcaster -g ringcaster -m 750 /run/ringcaster
setpriv --reuid=ringcaster --regid=ringcaster --init-groups --inh-caps=-all,+net_bind_service \
    --ambient-caps=-all,+net_bind_service --bounding-set=-all,+net_bind_service --no-new-privs \
    env $(sed -n 's/^Environment=//p' "$1") rtspserver --config /etc/ringcaster/rtspserver.xml >/tmp/server.log 2>&1 &
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
for who in ringcaster nobody; do
    said=$(setpriv --reuid="$who" --regid="$(id -g "$who")" --clear-groups curl -sS --unix-socket /run/ringcaster/api.sock http://localhost/readyz 2>&1) || true
    echo "socket $who $said"
done
kill "$(cat /run/server.pid)"
wait "$(cat /run/server.pid)"
EOF
# Serves as the unit does that is named, and plays it.
serves_by() {
    played=$(unshare --net chroot "$system" env LC_ALL=C sh /tmp/serve.sh "$1") || fail "it does not serve: $(tail -n 5 "$system/tmp/server.log")"
    printf '%s\n' "$played"
    for wanted in "test udp h264," "test tcp h264," "film.mp4 udp h264," "film.mp4 tcp h264,"; do
        count=$(printf '%s\n' "$played" | sed -n "s/^$wanted\([0-9]*\).*/\1/p" | head -n 1)
        [ "${count:-0}" -ge 10 ] || fail "ffprobe has not played $wanted $count packets"
    done
    printf '%s\n' "$played" | grep -q '^socket ringcaster ready$' || fail "the API does not answer at the unit's socket"
    ! printf '%s\n' "$played" | grep -q '^socket nobody ready$' || fail "everybody may open the API's socket"
}
serves_by /lib/systemd/system/ringcaster.service
[ -f "$system/var/lib/ringcaster/rtspserver-key.pem" ] || fail "the certificate was not kept in the state folder"
grep -E 'backend|shards' "$system/tmp/server.log" | head -n 1

# --- removed ------------------------------------------------------------------------------------------------------

say "removing it"
# What building it leaves, for what follows.
sources=$system/root/ringcaster
install -D "$system/usr/bin/rtspserver" "$sources/target/release/rtspserver"
cp -r config "$sources/"
cp "$system/var/lib/ringcaster/media/film.mp4" "$sources/"
inside apt-get purge -y -qq ringcaster >"$system/tmp/apt.log" 2>&1 || fail "apt: $(tail -n 5 "$system/tmp/apt.log")"
[ ! -e "$system/etc/ringcaster" ] || fail "the configuration is left"
[ ! -e "$system/usr/bin/rtspserver" ] || fail "the program is left"
[ ! -e "$system/var/lib/ringcaster/rtspserver-key.pem" ] || fail "the key is left"
[ -f "$system/var/lib/ringcaster/media/film.mp4" ] || fail "a video is gone"

# --- by hand ------------------------------------------------------------------------------------------------------

say "installing the same by hand"
rm -rf "$system/var/lib/ringcaster"
inside userdel ringcaster 2>/dev/null || true
{
    echo 'set -eu; cd /root/ringcaster'
    # Nothing is started in there.
    echo 'systemctl() { command systemctl "$1" "$3"; }'
    typed "Run it as a service" | grep '^install '
    typed "Run it as a service" | grep -E '^(cp|rtspserver) '
} >"$system/tmp/by-hand.sh"
[ "$(grep -c '^install ' "$system/tmp/by-hand.sh")" -ge 5 ] || fail "the README does not say how"
inside sh /tmp/by-hand.sh >"$system/tmp/by-hand.log" 2>&1 || fail "by hand: $(tail -n 5 "$system/tmp/by-hand.log")"
[ "$(inside stat -c '%U:%G %a' /etc/ringcaster/rtspserver.xml)" = "root:ringcaster 640" ] || fail "modes of the configuration, by hand"
[ -L "$system/etc/systemd/system/multi-user.target.wants/ringcaster.service" ] || fail "the unit is not enabled, by hand"
said=$(inside systemd-analyze verify /etc/systemd/system/ringcaster.service 2>&1) || fail "systemd-analyze: $said"
serves_by /etc/systemd/system/ringcaster.service
say "passed"
