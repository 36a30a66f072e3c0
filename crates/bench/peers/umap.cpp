// UMap (LLNL): userfaultfd with threads that fill and evict. Its pages are 4 KiB, its buffer
// is the budget.
#include <fcntl.h>

#include "peer.hpp"
#include "umap/umap.h"

int main() {
    const uint64_t bytes = peer::number("FAULTLESS_BENCH_BYTES");
    const uint64_t budget = peer::number("FAULTLESS_BENCH_MEMORY_BYTES");
    setenv("UMAP_PAGESIZE", "4096", 1);
    setenv("UMAP_BUFSIZE", std::to_string(budget / 4096).c_str(), 1);
    const char *path = std::getenv("FAULTLESS_BENCH_FILE");
    const int fd = open(path ? path : "", O_RDWR | O_DIRECT);
    if (fd < 0) return std::perror("open"), 1;
    void *at = umap(nullptr, bytes, PROT_READ | PROT_WRITE, UMAP_PRIVATE, fd, 0);
    if (at == UMAP_FAILED) return std::perror("umap"), 1;
    const volatile uint64_t *words = static_cast<uint64_t *>(at);
    const int status = peer::play([&](unsigned, uint64_t word) { return words[word]; });
    std::fflush(stdout);
    std::_Exit(status);
}
