# A program that maps, reads, writes and cuts a file at random, and knows what it should be.
# packages: gcc libc6-dev
# memory: 1M

prepare() {
    gcc -O1 -Wall -o mixed "$ROOT/crates/cli/tests/programs/mixed.c"
}

play() {
    local seeds=4 operations=2000
    if full; then seeds=16 operations=20000; fi
    for directory in . "$SHM"; do
        for seed in $(seq $seeds); do
            under "$PREPARED/mixed" "$directory/file" "$seed" $operations
            sha256sum <"$directory/file"
        done
    done
}
