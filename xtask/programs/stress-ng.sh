# stress-ng's stressors of memory and of mapped files, each with its own checks.
# packages: stress-ng

play() {
    local ops=20 kinds='mmap mmapaddr mmapfixed mmapfork mmapmany mremap msync msyncmany mincore
        madvise mlock fork vm vm-addr vm-rw bad-altstack sysbadaddr fault'
    if full; then ops=2000; fi
    for kind in $kinds; do
        # How each has ended is compared; the rest are counts and times.
        local status=0
        under stress-ng --verify --seed 1 --temp-path "$PWD" "--$kind" 1 "--$kind-ops" $ops \
            --timeout 60 --mmap-bytes 16M --mmap-file --vm-bytes 16M --vm-rw-bytes 4M \
            --mremap-bytes 8M --msync-bytes 8M >$kind.log 2>&1 || status=$?
        echo "$kind: $status"
        grep -E ' fail|skipp|unsuccessful|passed:' $kind.log | sed 's/.*\[[0-9]*\]//' || :
        cat $kind.log >&2
    done
}
