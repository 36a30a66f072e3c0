/* Who takes memory, and who keeps it.

   greedy FILE   maps it shared; reads all of it by its map, in a child, too, then writes it
                 by calls, then reads it again. Says "right", or what was not.
   modest FILE   touches its first MiB, says "there", waits for a line, touches it again, and
                 says how many of those pages had left.
   The first word of each page of FILE is the page's number. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define STEP (16 * PAGE)

static volatile uint64_t *map;
static size_t pages;

static uint64_t word(size_t page) { return map[page * PAGE / sizeof *map]; }

static void check(const char *who, uint64_t more) {
    for (size_t page = 0; page < pages; page++)
        if (word(page) != page + more) {
            printf("%s: page %zu has %llu\n", who, page, (unsigned long long)word(page));
            exit(1);
        }
}

static void greedy(int fd) {
    check("first", 0);
    fflush(stdout);
    pid_t child = fork();
    check(child ? "parent" : "child", 0);
    if (child == 0)
        _exit(0);
    int status;
    if (waitpid(child, &status, 0) != child || status != 0)
        exit(2);
    static char bytes[STEP];
    for (size_t page = 0; page < pages; page += STEP / PAGE) {
        for (size_t n = 0; n < STEP / PAGE; n++) {
            uint64_t value = page + n + 1000;
            memcpy(bytes + n * PAGE, &value, sizeof value);
        }
        if (pwrite(fd, bytes, STEP, (off_t)page * PAGE) != STEP)
            exit(3);
    }
    check("written", 1000);
    puts("right");
}

static long faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

static void modest(void) {
    uint64_t sum = 0;
    char line[64];
    for (size_t page = 0; page < 256; page++)
        sum += word(page);
    puts("there");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        exit(4);
    long before = faults();
    for (size_t page = 0; page < 256; page++)
        sum -= word(page);
    long came = faults() - before;
    printf("%ld had left%s\n", came, sum ? ", and changed" : "");
}

int main(int count, char **words) {
    if (count != 3)
        return 64;
    int fd = open(words[2], O_RDWR);
    struct stat stat;
    if (fd < 0 || fstat(fd, &stat))
        return 65;
    pages = stat.st_size / PAGE;
    void *at = mmap(NULL, stat.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return 66;
    map = at;
    if (words[1][0] == 'g')
        greedy(fd);
    else
        modest();
    return 0;
}
