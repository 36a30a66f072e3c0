# stress-ng's stressors of memory and of mapped files, each with its own checks.
# packages: stress-ng

play() {
    local ops=10 kinds='mmapaddr mmapfixed mmapmany mremap msync mincore madvise mlock fork vm
        vm-addr vm-rw bad-altstack sysbadaddr fault'
    # These take their time by themselves.
    if full; then ops=200 kinds="$kinds mmap mmapfork msyncmany mlockmany"; fi
    for kind in $kinds; do
        # Said is how each ends, and what it finds wrong; the rest are counts and times.
        local status=0
        under stress-ng -v --verify --seed 1 --temp-path "$PWD" "--$kind" 1 "--$kind-ops" $ops \
            --timeout 120 --mmap-bytes 16M --mmap-file --vm-bytes 16M --vm-rw-bytes 4M \
            --mremap-bytes 8M --msync-bytes 8M >$kind.log 2>&1 || status=$?
        echo "$kind: $status"
        # A child that dies of a signal is begun anew.
        grep -E ' fail|unsuccessful|died' $kind.log | sed 's/.*\[[0-9]*\]//' || :
        cat $kind.log >&2
    done
}
