# A numpy array larger than memory: made through one map, read back through another.
# packages: python3-numpy

play() {
    local mib=256
    if full; then mib=4096; fi
    cat >play.py <<'END'
import sys, numpy
pages = int(sys.argv[1]) << 8
array = numpy.memmap("array", dtype="<u8", mode="w+", shape=(pages, 512))
step = 1 << 12
for first in range(0, pages, step):
    array[first:first + step] = numpy.arange(512, dtype="<u8") * (first + 7)
array[:: 977] += 1
array.flush()
del array
array = numpy.memmap("array", dtype="<u8", mode="r", shape=(pages, 512))
print(sum(int(array[first:first + step].sum()) for first in range(0, pages, step)))
print(array[pages // 3, 11], array[pages - 1, -1], int(array[::977, 3].sum()))
END
    under /usr/bin/python3 play.py $mib
    sha256sum array
    rm array
}
