# fsx, the file-system exerciser: maps, reads, writes and cuts a file at random.
# packages: gcc libc6-dev

prepare() {
    [ -x "$TOOLS/bin/fsx" ] ||
        cargo install --quiet --locked --root "$TOOLS" --target-dir "$TOOLS/build" fsx@0.3.2
    rm -rf "$TOOLS/build"
    # All that it can do, not only what it does if not told.
    cat >all.toml <<'END'
[weights]
close_open = 1
invalidate = 1
mapread = 10
mapwrite = 10
read = 10
write = 10
truncate = 10
fsync = 0.2
fdatasync = 0.2
posix_fallocate = 2
punch_hole = 2
sendfile = 3
posix_fadvise = 2
copy_file_range = 3
END
}

play() {
    local seeds=2 operations=1500
    if full; then seeds=8 operations=100000; fi
    for directory in . "$SHM"; do
        for seed in $(seq $seeds); do
            under "$TOOLS/bin/fsx" -f "$PREPARED/all.toml" -N $operations -S "$seed" "$directory/file"
            sha256sum <"$directory/file"
        done
    done
}
