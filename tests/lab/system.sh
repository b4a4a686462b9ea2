# Sourced by scripts that need a clean Debian of their own: `make_system` makes one by debootstrap and leaves its folder in
# `system`, `inside` runs a command in it, `remove_system` takes it away. The caller is root and has `fail`.
#
# It is of the release that runs here and uses the mirrors of this machine's apt; MIRROR names the one that debootstrap takes
# its base from.

release() { . /etc/os-release && printf '%s' "$VERSION_CODENAME"; }

inside() {
    chroot "$system" env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C \
        DEBIAN_FRONTEND=noninteractive "$@"
}

make_system() {
    if ! command -v debootstrap >/dev/null 2>&1; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
    fi
    system=$(mktemp -d "${TMPDIR:-/tmp}/ringcaster-system.XXXXXX")
    # Its root is everybody's to enter.
    chmod 755 "$system"
    debootstrap --variant=minbase "$(release)" "$system" ${MIRROR:+"$MIRROR"} >"$system.log" 2>&1 ||
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
    if [ -d /usr/local/share/ca-certificates ]; then
        mkdir -p "$system/usr/local/share/ca-certificates"
        cp -r /usr/local/share/ca-certificates/. "$system/usr/local/share/ca-certificates/"
    fi
    mkdir -p "$system/etc/ssl/certs"
    [ ! -e /etc/ssl/certs/ca-certificates.crt ] || cp /etc/ssl/certs/ca-certificates.crt "$system/etc/ssl/certs/"
    # Nothing starts by itself in there.
    printf '#!/bin/sh\nexit 101\n' >"$system/usr/sbin/policy-rc.d"
    chmod 755 "$system/usr/sbin/policy-rc.d"
    inside apt-get update -qq >/dev/null
}

remove_system() {
    [ -n "${system:-}" ] || return 0
    umount "$system/proc" 2>/dev/null || true
    # What is still mounted in there is not ours to remove.
    rm -rf --one-file-system "$system"
}
