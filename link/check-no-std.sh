#!/bin/sh
# Proves that the crate needs neither std nor an allocator, as well as the machine at hand can:
#   1. with the target thumbv7em-none-eabihf installed, by building the firmware in mcu/;
#   2. with the sources of the standard library installed, the same with core built from them;
#   3. otherwise by building the crate without its default features and looking for symbols of
#      std and alloc among those it needs.
set -eu
cd "$(dirname "$0")"
target=thumbv7em-none-eabihf
sysroot=$(rustc --print sysroot)
if [ -d "$sysroot/lib/rustlib/$target" ]; then
    (cd mcu && cargo build --release)
    echo "ok: built for $target"
elif [ -d "${__CARGO_TESTS_ONLY_SRC_ROOT:-$sysroot/lib/rustlib/src/rust/library}/core" ]; then
    (cd mcu && RUSTC_BOOTSTRAP=1 cargo build --release -Zbuild-std=core)
    echo "ok: built for $target, with core from source"
else
    out=${CARGO_TARGET_DIR:-../target}/no-std
    cargo build -p deltavlm-link --no-default-features --features embedded-io --release --target-dir "$out"
    needed=$(nm "$out/release/libdeltavlm_link.rlib" 2>/dev/null | grep ' U ')
    if echo "$needed" | grep -E '3std|5alloc|__rust_alloc|[$](std|alloc)[.][.]'; then
        echo "error: the crate needs the symbols above" >&2
        exit 1
    fi
    echo "ok: no symbol of std or alloc"
fi
