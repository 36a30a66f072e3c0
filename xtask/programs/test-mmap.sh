# CPython's own tests of its module mmap.
# packages: python3.11 libpython3.11-testsuite

play() {
    # Each test by name; how long they took is nobody's to compare.
    under /usr/bin/python3.11 -m unittest -v test.test_mmap 2>&1 |
        sed -e 's/^Ran \([0-9]* tests\) in .*/Ran \1/'
}
