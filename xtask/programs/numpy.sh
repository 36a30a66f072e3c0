# numpy's tests of memmap, and of reading arrays by it.
# packages: python3-numpy python3-pytest python3-hypothesis

play() {
    local tests
    tests=$(/usr/bin/python3 -c 'import numpy.core.tests as t; print(t.__path__[0])')
    under /usr/bin/python3 -m pytest -q -p no:cacheprovider --basetemp "$PWD/base" -rA \
        "$tests/test_memmap.py" | sed -e 's/ in [0-9.]*s//'
}
