# zstd: compresses a file that another program has mapped and changed; decompresses, patches.
# packages: zstd python3
#
# Debian's zstd maps nothing itself: it reads what is served because somebody else maps it.

prepare() {
    local lines=300000
    if full; then lines=10000000; fi
    seq $lines | awk '{ print $1 * 48271 % 2147483647, "a line of text, and then some more", $1 % 977 }' >text
    sed -e 's/^1\(.*\)more/one\1less/' text >changed
    cat >holder.py <<'END'
import mmap, sys
files = [open(name, "r+b") for name in sys.argv[1:]]
maps = [mmap.mmap(file.fileno(), 0) for file in files]
for map in maps:
    map[0:5] = b"FIRST"
    for at in range(len(map) // 2, len(map) - 9, 1 << 16):
        map[at:at + 7] = b"changed"
print("mapped", flush=True)
sys.stdin.read()
END
}

play() {
    cp "$PREPARED/text" "$PREPARED/changed" .
    under bash -c '
        mkfifo end
        /usr/bin/python3 "$PREPARED/holder.py" text changed <end >mapped &
        exec 9>end
        until grep -q mapped mapped; do sleep 0.01; done
        zstd -q -T2 -3 text -o text.zst
        zstd -q -d -c text.zst | cmp - text
        zstd -q --long=29 --patch-from=text changed -o patch.zst
        zstd -q --long=29 -d --patch-from=text patch.zst -o patched
        cmp patched changed
        exec 9>&-
        wait'
    sha256sum text text.zst changed patch.zst patched
}
