# LMDB, a database that is a map: loaded, dumped, and its numbers.
# packages: lmdb-utils

prepare() {
    local records=50000
    if full; then records=9500000; fi
    {
        printf 'VERSION=3\nformat=print\ntype=btree\nmapsize=4294967296\nHEADER=END\n'
        seq $records | awk '{ printf " %020d\n %d is the value of it; and so on, and so on, and so on, and so on, and so on, and so on, and so on, and so on, and so on, and so on\n", ($1 * 2654435761) % 1000000007, $1 }'
        printf 'DATA=END\n'
    } >dump
}

play() {
    mkdir db
    under mdb_load -f "$PREPARED/dump" db
    under mdb_stat -e -f db
    under mdb_dump db | sha256sum
    under mdb_copy db "$PWD/copy.mdb" 2>/dev/null || { mkdir copy; under mdb_copy db copy; }
    sha256sum db/data.mdb | cut -d' ' -f1
    rm -r db
}
