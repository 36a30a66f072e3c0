# git: packs written and read by maps; gc, fsck, and everything that is in the repository.
# packages: git

prepare() {
    local commits=60 files=200
    if full; then commits=600 files=2000; fi
    commits=$commits files=$files awk 'BEGIN {
        commits = ENVIRON["commits"]; files = ENVIRON["files"]
        for (c = 1; c <= commits; c++) {
            printf "commit refs/heads/main\nmark :%d\n", c
            printf "committer Someone <someone@example.org> %d +0000\ndata 4\nnext\n", 1700000000 + c
            for (f = c % 7; f < files; f += (c == 1 ? 1 : 7)) {
                text = ""
                for (line = 0; line < 60; line++)
                    text = text "line " line " of file " f ", " (line * c * 48271 + f * 16807) % 65537 "\n"
                printf "M 644 inline dir%d/file%d\ndata %d\n%s", f % 16, f, length(text), text
            }
        }
    }' >history
}

play() {
    git init -q -b main repository
    cd repository
    git config core.packedGitWindowSize 1m
    git config gc.auto 0
    # Objects that lie about one by one, and packs: both.
    git -c fastimport.unpackLimit=1000000 fast-import --quiet --done <"$PREPARED/history" 2>/dev/null ||
        git -c fastimport.unpackLimit=1000000 fast-import --quiet <"$PREPARED/history"
    git config pack.threads 1
    under git fsck --full --no-progress
    under git gc --quiet --prune=now
    under git fsck --full --no-progress
    sha256sum .git/objects/pack/*.pack
    under git log --stat --format=%H%n%s | sha256sum
    under git checkout -q main
    find . -path ./.git -prune -o -type f -print0 | sort -z | xargs -0 cat | sha256sum
    under git repack -a -d -f -q --depth=50 --window=20
    under git status --short
    echo more >>dir1/file1
    under git commit -q -a -m more --author 'Someone <someone@example.org>' --date 2026-01-01T00:00:00Z
    under git archive HEAD:dir1 --format=tar | tar -xO | sha256sum
    under git clone -q --no-local . ../clone
    under git -C ../clone fsck --full --no-progress
}
