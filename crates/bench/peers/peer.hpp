// The accesses of a case of `faultless bench`, for a program that is not ours: what
// `crates/bench/src/peer.rs` asks of one. Loads only.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace peer {

constexpr uint64_t page_words = 512;

inline uint64_t number(const char *name) {
    const char *value = std::getenv(name);
    if (!value) {
        std::fprintf(stderr, "%s is not set: this is run by `faultless bench --peer`\n", name);
        std::exit(2);
    }
    return std::strtoull(value, nullptr, 10);
}

inline uint64_t bytes_read() {
    std::ifstream io("/proc/self/io");
    std::string name;
    uint64_t value = 0;
    while (io >> name >> value)
        if (name == "read_bytes:") return value;
    return 0;
}

// `work(i)` for the blocks of first..end, by all threads; the sum of what it answers.
template <class Work>
uint64_t share(unsigned threads, uint64_t first, uint64_t end, Work work) {
    const uint64_t block = number("FAULTLESS_BENCH_BLOCK");
    std::atomic<uint64_t> next{first}, sum{0};
    std::vector<std::thread> all;
    for (unsigned n = 0; n < threads; n++)
        all.emplace_back([&, n] {
            uint64_t own = 0;
            for (uint64_t from; (from = next.fetch_add(block)) < end;)
                for (uint64_t i = from; i < from + block && i < end; i++) own += work(n, i);
            sum += own;
        });
    for (auto &thread : all) thread.join();
    return sum;
}

// Plays the case; `load(thread, word)` answers a word of the file.
template <class Load>
int play(Load load) {
    const unsigned threads = number("FAULTLESS_BENCH_THREADS");
    const uint64_t warm = number("FAULTLESS_BENCH_WARM"), timed = number("FAULTLESS_BENCH_TIMED");
    auto weigh = [&](unsigned n, uint64_t word) { return load(n, word) * (2 * word + 1); };
    auto by_scan = [&](unsigned n, uint64_t page) {
        uint64_t sum = 0;
        for (uint64_t word = 0; word < page_words; word += 8)
            sum += weigh(n, page * page_words + word);
        return sum;
    };
    std::vector<uint64_t> list;
    if (const char *path = std::getenv("FAULTLESS_BENCH_ACCESSES")) {
        list.resize(warm + timed);
        std::ifstream file(path, std::ios::binary);
        file.read(reinterpret_cast<char *>(list.data()), list.size() * sizeof list[0]);
        if (!file) {
            std::fprintf(stderr, "%s is short\n", path);
            return 2;
        }
        for (uint64_t word : list)
            if (word >> 63) {
                std::fprintf(stderr, "this peer only loads\n");
                return 2;
            }
    }
    auto listed = [&](unsigned n, uint64_t i) { return weigh(n, list[i]); };
    uint64_t sum = list.empty() ? share(threads, 0, warm, by_scan) : share(threads, 0, warm, listed);
    const uint64_t read = bytes_read();
    const auto since = std::chrono::steady_clock::now();
    sum += list.empty() ? share(threads, 0, timed, by_scan)
                        : share(threads, warm, warm + timed, listed);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - since;
    std::printf("{\"seconds\": %.6f, \"accesses\": %llu, \"sum\": %llu, \"bytes_read\": %llu}\n",
                took.count(), (unsigned long long)timed, (unsigned long long)sum,
                (unsigned long long)(bytes_read() - read));
    return 0;
}

}  // namespace peer
