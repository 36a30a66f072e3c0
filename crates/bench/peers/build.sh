#!/bin/sh
# Builds UMap and vmcache as peers for `faultless bench --peer`. Needs git, cmake, g++, libaio.
#
#   crates/bench/peers/build.sh DIR [UMAP VMCACHE]
#
# UMAP and VMCACHE: repositories to clone, if not from GitHub. It prints the arguments to use.
set -eu
[ $# -eq 1 ] || [ $# -eq 3 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
dir=$(pwd)
[ -d umap ] || git clone -q "${2:-https://github.com/LLNL/umap}" umap
[ -d vmcache ] || git clone -q "${3:-https://github.com/viktorleis/vmcache}" vmcache

cmake -S umap -B umap/build -DCMAKE_BUILD_TYPE=Release -DENABLE_TESTS=OFF \
    -DENABLE_LOGGING=OFF >umap.log 2>&1
cmake --build umap/build -j2 --target umap >>umap.log 2>&1
lib=$(dirname "$(find umap/build -name libumap.so | head -1)")
g++ -O3 -std=c++20 -I"$here" -Iumap/src -o umap-peer "$here/umap.cpp" \
    -L"$lib" -lumap -Wl,-rpath,"$dir/$lib" -lpthread

sed -e 's/envOr("PHYSGB", 4)\*gb/envOr("PHYS_BYTES", 0)/' \
    -e 's/envOr("VIRTGB", 16)\*gb/envOr("VIRT_BYTES", 0)/' \
    -e 's/if (virtMem\[pid\]\.dirty)/if (false)/' \
    vmcache/vmcache.cpp >vmcache/vmcache-in-bytes.cpp
g++ -w -DNDEBUG -O3 -std=c++20 -fnon-call-exceptions -fasynchronous-unwind-tables \
    -I"$here" -Ivmcache -o vmcache-peer "$here/vmcache.cpp" -laio -lpthread
cat >vmcache.sh <<END
#!/bin/sh
export BLOCK="\$FAULTLESS_BENCH_FILE" PHYS_BYTES="\$FAULTLESS_BENCH_MEMORY_BYTES"
export VIRT_BYTES="\$FAULTLESS_BENCH_BYTES"
exec "$dir/vmcache-peer"
END
chmod +x vmcache.sh
echo "--peer umap=$dir/umap-peer --peer vmcache=$dir/vmcache.sh"
