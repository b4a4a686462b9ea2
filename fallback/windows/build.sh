#!/bin/sh
# Cross-builds the program for Windows on Debian: rtspserver.exe with FFmpeg and TLS, and one that needs no other
# library. Makes a Windows of Wine's that both run in. Installs what is missing.
#
#   fallback/windows/build.sh             target/windows/full and target/windows/portable, quick to build
#   fallback/windows/build.sh portable    the second alone
#   fallback/windows/build.sh --release   both, optimized: these folders can be copied to a Windows machine
#
# Leaves with 3 where it cannot be done here: without rustup nobody has the target's standard library.
set -eu
cd "$(dirname "$0")/../.."

say() { printf 'build.sh: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}

TARGET=x86_64-pc-windows-gnu
OUT=${CARGO_TARGET_DIR:-$PWD/target}
PROFILE=dev
FOLDER=debug
WANTED="portable full"
for word in "$@"; do
    case "$word" in
    --release) PROFILE=release FOLDER=release ;;
    portable) WANTED=portable ;;
    *) fail "$word is no option" ;;
    esac
done

# FFmpeg for Windows as a wheel for Python carries it: the same release as Debian 12's headers, with which it is built.
WHEEL=ffpyplayer==4.4.0
WHEEL_SHA256=424440ad325df1981e50017ac39d819cc51155045664e40eadefca1f0f950561
WHEEL_AVCODEC=59

# What building and running needs, by the package that Debian has it in.
PACKAGES="
x86_64-w64-mingw32-gcc:gcc-mingw-w64-x86-64
x86_64-w64-mingw32-dlltool:binutils-mingw-w64-x86-64
gendef:mingw-w64-tools
python3:python3
/usr/lib/wine/wine64:wine64
/usr/lib/wine/wineserver64:wine64
"

install_missing() {
    missing=""
    for pair in $PACKAGES; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
    done
    python3 -m pip --version >/dev/null 2>&1 || missing="$missing python3-pip"
    [ -n "$missing" ] || return 0
    as_root=""
    [ "$(id -u)" = 0 ] || as_root=sudo
    say "installing$missing"
    $as_root apt-get update -qq
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

add_target() {
    [ ! -d "$(rustc --print sysroot)/lib/rustlib/$TARGET/lib" ] || return 0
    command -v rustup >/dev/null 2>&1 || {
        say "LEFT OUT: this Rust has no $TARGET, and there is no rustup to add it"
        exit 3
    }
    rustup target add "$TARGET" >&2 || {
        say "LEFT OUT: rustup cannot add $TARGET"
        exit 3
    }
}

# FFmpeg's libraries and headers as its crate wants them: bin, lib and include in one folder.
unpack_ffmpeg() {
    FFMPEG=$OUT/windows/ffmpeg
    stamp="$WHEEL_SHA256 $(pkg-config --modversion libavcodec)"
    [ "$(cat "$FFMPEG/made" 2>/dev/null)" != "$stamp" ] || return 0
    [ "$(pkg-config --modversion libavcodec | cut -d. -f1)" = $WHEEL_AVCODEC ] ||
        fail "the headers here are of libavcodec $(pkg-config --modversion libavcodec), and $WHEEL has $WHEEL_AVCODEC"
    say "unpacking FFmpeg of $WHEEL"
    rm -rf "$FFMPEG"
    mkdir -p "$FFMPEG/bin" "$FFMPEG/lib" "$FFMPEG/include" "$FFMPEG/wheel"
    printf '%s --hash=sha256:%s\n' "$WHEEL" "$WHEEL_SHA256" >"$FFMPEG/wheel/requirements.txt"
    python3 -m pip download -q --no-deps --only-binary=:all: --platform win_amd64 --python-version 311 \
        --implementation cp --abi cp311 --dest "$FFMPEG/wheel" -r "$FFMPEG/wheel/requirements.txt" >&2
    python3 -m zipfile -e "$FFMPEG"/wheel/*.whl "$FFMPEG/wheel"
    headers=$(pkg-config --variable=includedir libavcodec)
    for library in avcodec avdevice avfilter avformat avutil swresample swscale; do
        found=$(find "$FFMPEG/wheel" -name "$library-*.dll")
        mv "$found" "$FFMPEG/bin/"
        name=$(basename "$found")
        gendef - "$FFMPEG/bin/$name" >"$FFMPEG/lib/$library.def" 2>/dev/null
        x86_64-w64-mingw32-dlltool -m i386:x86-64 -d "$FFMPEG/lib/$library.def" -D "$name" \
            -l "$FFMPEG/lib/lib$library.dll.a"
        cp -r "$headers/lib$library" "$FFMPEG/include/"
    done
    # Of these avfilter wants one.
    find "$FFMPEG/wheel" -name 'postproc-*.dll' -exec mv {} "$FFMPEG/bin/" \;
    rm -r "$FFMPEG/wheel"
    printf '%s\n' "$stamp" >"$FFMPEG/made"
}

# A Windows of Wine's, which each test copies.
make_prefix() {
    [ ! -e "$OUT/windows/prefix/made" ] || return 0
    say "making a Windows for Wine"
    rm -rf "$OUT/windows/prefix"
    WINEPREFIX=$OUT/windows/prefix WINEDEBUG=-all WINESERVER=/usr/lib/wine/wineserver64
    export WINEPREFIX WINEDEBUG WINESERVER
    env -u DISPLAY WINEDLLOVERRIDES="mscoree,mshtml=" /usr/lib/wine/wine64 wineboot -i >/dev/null 2>&1
    $WINESERVER -w
    # Wine before 9 lacks a library that Rust's standard library takes random numbers from.
    x86_64-w64-mingw32-gcc -O2 -shared -o "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll" \
        fallback/windows/bcryptprimitives.c -ladvapi32
    touch "$WINEPREFIX/made"
}

# Builds with the arguments behind the name, into a folder of that name.
build() {
    name=$1
    shift
    say "building $name"
    cargo build --quiet --profile "$PROFILE" --target "$TARGET" --bin rtspserver "$@"
    mkdir -p "$OUT/windows/$name"
    # Never written in place: it may run, or have another name.
    cp --remove-destination "$OUT/$TARGET/$FOLDER/rtspserver.exe" "$OUT/windows/$name/"
}

build_full() {
    unpack_ffmpeg
    export FFMPEG_DIR="$FFMPEG"
    # Clang's own header for this is not for a compiler of Windows.
    export BINDGEN_EXTRA_CLANG_ARGS_x86_64_pc_windows_gnu="--target=x86_64-w64-mingw32 -I/usr/x86_64-w64-mingw32/include -D__AMXINTRIN_H"
    build full
    cp -u "$FFMPEG"/bin/*.dll "$OUT/windows/full/"
}

install_missing
add_target
mkdir -p "$OUT/windows"
make_prefix
# Nobody debugs these here, and the linker takes half as long.
[ "$PROFILE" != dev ] || export CARGO_PROFILE_DEV_DEBUG=0
for name in $WANTED; do
    case "$name" in
    portable) build portable --no-default-features ;;
    full) build_full ;;
    esac
    say "made $OUT/windows/$name"
done
