# fsx, the file-system exerciser: maps, reads, writes and cuts a file at random.
# packages: gcc libc6-dev

prepare() {
    [ -x "$TOOLS/bin/fsx" ] || cargo install --quiet --locked --root "$TOOLS" --target-dir "$TOOLS/build" fsx@0.3.2
}

play() {
    local seeds=2 operations=5000
    if full; then seeds=8 operations=100000; fi
    for directory in . "$SHM"; do
        for seed in $(seq $seeds); do
            under "$TOOLS/bin/fsx" -N $operations -S "$seed" "$directory/file"
            sha256sum <"$directory/file"
        done
    done
}
