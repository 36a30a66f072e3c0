# SQLite with its database mapped: inserts, updates, deletes; its speed test; killed in a transaction.
# packages: sqlite3 libsqlite3-dev gcc libc6-dev xz-utils

# Its speed test is in no package but the source's.
prepare() {
    [ -x "$TOOLS/speedtest1" ] && return
    mkdir -p lists/partial parts
    local each
    for each in /etc/apt/sources.list.d/*.sources; do
        [ ! -e "$each" ] || sed 's/^Types:.*/Types: deb-src/' "$each" >"parts/${each##*/}"
    done
    for each in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ ! -e "$each" ] || sed -n 's/^deb /deb-src /p' "$each" >"parts/${each##*/}.list"
    done
    local apt=(apt-get -q -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$PWD/parts"
        -o "Dir::State::Lists=$PWD/lists" -o APT::Sandbox::User=root)
    "${apt[@]}" update
    "${apt[@]}" source --download-only sqlite3
    tar -xJOf sqlite3_*.orig.tar.xz --wildcards '*/test/speedtest1.c' >speedtest1.c
    gcc -O2 -o "$TOOLS/speedtest1" speedtest1.c -lsqlite3
}

play() {
    local rows=20000 kills=3 size=10
    if full; then rows=300000 kills=20 size=300; fi
    for mode in delete wal; do
        # What it found, and a hash of all answers; not how long each took.
        under "$TOOLS/speedtest1" --mmap 268435456 --journal $mode --size $size --verify speed-$mode.db |
            sed -E 's/[.]* +[0-9]+[.][0-9]+s$//'
        under sqlite3 speed-$mode.db 'PRAGMA integrity_check;'
    done
    local mapped='PRAGMA mmap_size=268435456;'
    for mode in delete wal; do
        under sqlite3 $mode.db >/dev/null "PRAGMA journal_mode=$mode; $mapped
            CREATE TABLE t (id INTEGER PRIMARY KEY, n INT, text TEXT);
            CREATE INDEX by_n ON t (n);"
        under sqlite3 $mode.db >>/dev/null "$mapped
            WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT $rows)
            INSERT INTO t SELECT x, x * 2654435761 % 1000003, hex(x * x) || ' is a text' FROM c;
            UPDATE t SET text = text || ' that is longer' WHERE id % 7 = 0;
            DELETE FROM t WHERE id % 11 = 0; VACUUM;"
        under sqlite3 $mode.db "$mapped SELECT count(*), sum(n), sum(length(text)) FROM t;
            SELECT id, text FROM t WHERE n BETWEEN 1000 AND 1100 ORDER BY n; PRAGMA integrity_check;"
        for round in $(seq $kills); do
            killed $mode.db "$round"
            under sqlite3 $mode.db "$mapped PRAGMA integrity_check; SELECT count(*), sum(n) FROM t;"
        done
        under sqlite3 $mode.db .dump | sha256sum
    done
}

# Kills it in the middle of a transaction that has changed more than its cache holds.
killed() {
    local pipe="pipe-$1-$2"
    mkfifo "$pipe"
    under bash -c 'sqlite3 "$0" <"$1" >"$1.out" & pid=$!; echo $pid >pid; wait $pid 2>/dev/null || :' \
        "$1" "$pipe" &
    local supervisor=$!
    exec 9>"$pipe"
    echo "PRAGMA mmap_size=268435456; PRAGMA cache_size=20; BEGIN;
        UPDATE t SET n = n + $2, text = upper(text); SELECT 'changed';" >&9
    for _ in $(seq 3000); do
        grep -q changed "$pipe.out" 2>/dev/null && break
        sleep 0.01
    done
    grep -q changed "$pipe.out" && kill -KILL "$(cat pid)"
    exec 9>&-
    wait $supervisor
    rm "$pipe" "$pipe.out" pid
}
