#!/bin/sh
# Asks a server of its own for everything that its API describes, in every way that schemathesis can think of: no answer may
# be an error of the server's, or one that the description does not have.
#
#   tests/steering/schemathesis.sh [SECONDS]    60 where nobody says how long
set -eu

cd "$(dirname "$0")/../.."
SECONDS_MAX=${1:-60}
SCHEMATHESIS="schemathesis>=4,<5"
FOLDER=target/schemathesis
PORT=15540

say() { printf '%s\n' "schemathesis.sh: $*" >&2; }

if [ ! -x "$FOLDER/bin/st" ]; then
    say "installing $SCHEMATHESIS"
    python3 -m venv "$FOLDER"
    "$FOLDER/bin/pip" install --quiet "$SCHEMATHESIS"
fi
cargo build --quiet --bin rtspserver
mkdir -p "$FOLDER/media"
rm -f "$FOLDER/rtspserver-proxies.xml"
printf '<config><serverip>127.0.0.1</serverip><serverport>%s</serverport><media_dir>media</media_dir>
<rtsp_over_http>0</rtsp_over_http><rtsp_over_https>0</rtsp_over_https><rtsps_port>0</rtsps_port></config>\n' \
    "$PORT" >"$FOLDER/rtspserver.xml"
target/debug/rtspserver serve -c "$FOLDER/rtspserver.xml" >"$FOLDER/server.log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
url=http://127.0.0.1:$PORT
until curl -sf "$url/readyz" >/dev/null; do
    kill -0 "$server" 2>/dev/null || { cat "$FOLDER/server.log"; exit 1; }
    sleep 0.1
done
# Events have no end, so nobody can ask for them again and again.
"$FOLDER/bin/st" run "$url/api/v1/openapi.json" --exclude-path /api/v1/events --max-time "$SECONDS_MAX" --no-color
! grep -i panicked "$FOLDER/server.log"
