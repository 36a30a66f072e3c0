# vmtouch: touches, locks and looks at pages of files.
# packages: vmtouch

prepare() {
    head -c 20M /dev/urandom >file
}

play() {
    # What is in memory before and afterwards is another thing under a budget.
    under vmtouch -t "$PREPARED/file" | grep -E 'Files|Touched'
    under vmtouch "$PREPARED/file" | grep -E 'Files|Directories'
    under vmtouch -e "$PREPARED/file" | grep -E 'Files|Evicted'
    under vmtouch -p 4k-8M -t "$PREPARED/file" | grep -E 'Touched'
    cmp "$PREPARED/file" "$PREPARED/file" && echo same
}
