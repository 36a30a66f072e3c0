/* Unmaps pages of a map one by one, and maps something else where they were: whoever has been
 * given the addresses in between loses them.
 *
 * again FILE */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES 1024L
#define PAGE 4096

/* Is the page unmapped at first? */
static int leaves(long page) { return page % 2 == 1 || (page >= 500 && page < 564); }

int main(int argc, char **argv) {
    int fd = open(argv[argc - 1], O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, PAGES * PAGE) < 0)
        return 1;
    char *map = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return 1;
    memset(map, 'm', PAGES * PAGE);
    /* No other free addresses above: who wants some gets them where the map has a hole. */
    for (char *filler = NULL; filler == NULL || filler > map;) {
        filler = mmap(NULL, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (filler == MAP_FAILED)
            return 1;
    }
    munmap(map + 500 * PAGE, 64 * PAGE);
    for (long page = 1; page < PAGES; page += 2)
        munmap(map + page * PAGE, PAGE);
    for (long page = 0; page < PAGES; page++)
        if (leaves(page) && mmap(map + page * PAGE, PAGE, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
            return 1;
    long stored = 0, kept = 0;
    for (long page = 0; page < PAGES; page++)
        if (leaves(page))
            memset(map + page * PAGE, 0xff, PAGE);
    for (long page = 0; page < PAGES; page++)
        kept += !leaves(page) && map[page * PAGE] == 'm';
    for (long page = 0; page < PAGES; page++)
        munmap(map + page * PAGE, PAGE);
    map = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    for (long at = 0; at < PAGES * PAGE; at++)
        stored += map[at] == 'm';
    printf("%ld pages kept, %ld bytes stored\n", kept, stored);
    return 0;
}
