# The tests of memmap2, the crate that Rust programs map files with.
# packages: gcc libc6-dev

prepare() {
    local source="$TOOLS/memmap2"
    [ -x "$source/map" ] && return
    rm -rf "$source"
    # The registry's source of it, as a crate that uses it has it. (`cargo new` would make
    # that crate a member of the workspace around it.)
    mkdir -p user/src
    : >user/src/lib.rs
    printf '[package]\nname = "user"\nversion = "0.0.0"\nedition = "2021"\n' >user/Cargo.toml
    printf '[dependencies]\nmemmap2 = "=0.9.12"\n[workspace]\n' >>user/Cargo.toml
    (cd user && cargo vendor --quiet vendor >/dev/null)
    cp -r user/vendor/memmap2 "$source"
    printf '\n[workspace]\n' >>"$source/Cargo.toml"
    # Its own library does not name the file in which its tests are published.
    printf '\n#[cfg(test)]\n#[path = "../test/map.rs"]\nmod map;\n' >>"$source/src/lib.rs"
    (cd "$source" && CARGO_TARGET_DIR=target cargo test --quiet --lib --no-run)
    cp "$(find "$source/target/debug/deps" -name 'memmap2-*' -type f -perm -1)" "$source/map"
}

play() {
    TMPDIR=$PWD under "$TOOLS/memmap2/map" --test-threads 2 | sed -e 's/finished in .*//' | sort
    TMPDIR=$SHM under "$TOOLS/memmap2/map" --test-threads 2 | sed -e 's/finished in .*//' | sort
}
