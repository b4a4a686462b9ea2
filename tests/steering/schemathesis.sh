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
[ -f "$FOLDER/media/film.mp4" ] || ffmpeg -v error -f lavfi -i testsrc2=s=320x240:r=25 -t 10 "$FOLDER/media/film.mp4"
target/debug/rtspserver serve -c "$FOLDER/rtspserver.xml" >"$FOLDER/server.log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
url=http://127.0.0.1:$PORT
until curl -sf "$url/readyz" >/dev/null; do
    kill -0 "$server" 2>/dev/null || { cat "$FOLDER/server.log"; exit 1; }
    sleep 0.1
done
# Somebody watches, and comes back when it is over or the tool has ended it.
while kill -0 "$server" 2>/dev/null; do
    ffmpeg -nostdin -v quiet -rtsp_transport tcp -i "rtsp://127.0.0.1:$PORT/film.mp4" -f null - || sleep 0.2
done &
# Which cases are made depends on what the server holds by then. The tool's search for better ones expects to meet the same
# again and ends by an error of its own, so it does without.
printf 'import hypothesis\n\nhypothesis.target = lambda *_, **__: None\n' >"$FOLDER/hooks.py"
# Events have no end, so nobody can ask for them again and again; a dump takes up to 15 seconds.
PYTHONPATH="$FOLDER" SCHEMATHESIS_HOOKS=hooks "$FOLDER/bin/st" run "$url/api/v1/openapi.json" --exclude-path /api/v1/events \
    --request-timeout 20 --max-time "$SECONDS_MAX" --no-color
! grep -i panicked "$FOLDER/server.log"
