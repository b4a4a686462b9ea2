#!/bin/sh
# Builds the Debian package of this program and prints where it is; for the release of Debian that it is built on.
# Installs what is missing for that.
set -eu
cd "$(dirname "$0")/../.."

say() { printf 'build.sh: %s\n' "$*" >&2; }

./start.sh --install-only
PATH=${CARGO_HOME:-${HOME:-/root}/.cargo}/bin:$PATH
export PATH

# It finds the packages of the libraries that the program is linked with.
if ! command -v dpkg-shlibdeps >/dev/null 2>&1; then
    as_root=""
    [ "$(id -u)" = 0 ] || as_root=sudo
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends dpkg-dev >/dev/null
fi
if ! cargo deb --version >/dev/null 2>&1; then
    say "installing cargo-deb"
    cargo install cargo-deb --locked --quiet
fi
cargo build --release --locked --quiet -p ringcaster --bin rtspserver
exec cargo deb --no-build --strip --locked -p ringcaster
