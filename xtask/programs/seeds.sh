# Two programs over one file, and a parent and its child, as texts about mmap have them.
# packages: gcc libc6-dev

prepare() {
    for program in watcher changer family; do
        gcc -O1 -Wall -o $program "$ROOT/xtask/programs/c/$program.c"
    done
}

play() {
    printf 'abcdefghijklmnopqrstuvwxyz0123456789\n' >file
    truncate -s 100 talk
    # One broker for both programs: what one stores the other sees.
    under bash -c '
        "$PREPARED/watcher" file >watched &
        wait_for() { for n in $(seq 3000); do grep -q "$1" watched && return; sleep 0.01; done; }
        wait_for ^abcdef
        "$PREPARED/changer" private file 20 7
        "$PREPARED/changer" shared file 20 9
        wait_for t9v
        "$PREPARED/changer" shared file 0 q
        wait
        cat watched'
    cat file
    under "$PREPARED/family"
    under "$PREPARED/family" talk
    sha256sum talk
}
