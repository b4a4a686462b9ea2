#!/bin/sh
# Makes what a virtual machine with cameras is started from: Debian's kernel, its modules, v4l2loopback, an initial file
# system. Nothing of it is installed here.
#
#   tests/lab/machine.sh FOLDER     FOLDER/kernel and FOLDER/initrd.gz; at once where they are there already
set -eu

say() { printf 'machine.sh: %s\n' "$*" >&2; }

HERE=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
FOLDER=$PWD

KERNEL=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-/ { print $2; exit }')
[ -n "$KERNEL" ] || { say "apt-cache knows no linux-image-amd64: apt-get update"; exit 1; }
VERSION=${KERNEL#linux-image-}
COMMON=linux-headers-$(printf '%s' "$VERSION" | sed 's/-amd64$//')-common
# What this was made of, and by.
STAMP="$VERSION $(cat "$HERE/machine.sh" "$HERE/init" | sha256sum | cut -c1-16)"
[ "$(cat made 2>/dev/null)" != "$STAMP" ] || exit 0
rm -rf made tree initrd packages
mkdir tree initrd packages

say "unpacking Linux $VERSION"
KBUILD=$(apt-cache depends "linux-headers-$VERSION" | awk '/Depends: linux-kbuild-/ { print $2; exit }')
(cd packages && apt-get download -qq "$KERNEL" "linux-headers-$VERSION" "$COMMON" "$KBUILD" \
    v4l2loopback-dkms busybox-static libelf1 >../packages.log 2>&1) || { cat packages.log >&2; exit 1; }
for package in packages/*.deb; do
    dpkg -x "$package" tree
done
rm -r packages

# Headers name the places where they would be installed.
HEADERS=$FOLDER/tree/usr/src/linux-headers-$VERSION
sed -i "s,/usr/src/,$FOLDER/tree/usr/src/,g" "$HEADERS/Makefile"
MODULES=tree/lib/modules/$VERSION
SOURCE=$(echo tree/usr/src/v4l2loopback-*)
say "building v4l2loopback"
# The kernel's own tools want libelf.
LD_LIBRARY_PATH=$FOLDER/tree/usr/lib/x86_64-linux-gnu make -s -C "$HEADERS" M="$FOLDER/$SOURCE" modules >build.log 2>&1 || { tail -n 20 build.log >&2; exit 1; }
mkdir -p "$MODULES/extra"
cp "$SOURCE/v4l2loopback.ko" "$MODULES/extra/"
depmod -b tree "$VERSION"

# The modules that the machine needs, with those that they need.
for folder in bin proc sys dev host; do
    mkdir "initrd/$folder"
done
for module in virtio_pci 9p 9pnet_virtio virtio_net vivid v4l2loopback snd-aloop; do
    modprobe -d "$FOLDER/tree" -S "$VERSION" --show-depends "$module"
done | awk '$1 == "insmod" { print $2 }' | sort -u | while read -r file; do
    inside=${file#"$FOLDER"/tree/}
    mkdir -p "initrd/$(dirname "$inside")"
    cp "$file" "initrd/$inside"
done
for file in modules.order modules.builtin modules.builtin.modinfo; do
    cp "$MODULES/$file" "initrd/lib/modules/$VERSION/"
done
depmod -b initrd "$VERSION"
cp tree/bin/busybox initrd/bin/busybox
cp "$HERE/init" initrd/init
chmod +x initrd/init
(cd initrd && find . | cpio -o -H newc --quiet | gzip -1) >initrd.gz
cp "tree/boot/vmlinuz-$VERSION" kernel
rm -r tree initrd
printf '%s\n' "$STAMP" >made
