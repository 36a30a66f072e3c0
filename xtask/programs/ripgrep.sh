# ripgrep, told to map what it searches.
# packages: ripgrep

prepare() {
    local lines=300000
    if full; then lines=10000000; fi
    seq $lines | awk '{ print $1 * 48271 % 2147483647, "a line of text, and then some more", $1 * 16807 % 65537 }' >text
    mkdir tree
    split -l 1000 -a 4 text tree/part-
}

play() {
    under rg --mmap -n '99[0-9]*7 a' "$PREPARED/text" | sha256sum
    under rg --mmap -c 'more 6553' "$PREPARED/text"
    under rg --mmap --sort path -o 'more 123[45]$' "$PREPARED/tree" | sed "s|$PREPARED||" | sha256sum
    under rg --mmap -U -c 'more 1\d*\n2' "$PREPARED/text"
    under rg --mmap 'not to be found' "$PREPARED/text" || echo "status $?"
}
