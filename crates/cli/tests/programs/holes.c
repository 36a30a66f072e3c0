/* Makes holes in a file that begin and end anywhere in its pages, which have been stored to.
 *
 * holes FILE */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE (20 * 4096 + 100)

static const long holes[][2] = {
    {5000, 100}, {8192, 4096}, {12000, 9000}, {40000, 4096}, {SIZE - 150, 40}, {SIZE - 5000, 9000},
};

static unsigned sum(const unsigned char *bytes) {
    unsigned sum = 0;
    for (long at = 0; at < SIZE; at++)
        sum = sum * 31 + bytes[at];
    return sum;
}

int main(int argc, char **argv) {
    static unsigned char bytes[SIZE];
    int fd = open(argv[argc - 1], O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || ftruncate(fd, SIZE) < 0)
        return 1;
    unsigned char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return 1;
    for (int n = 0; n < 6; n++) {
        for (long at = 0; at < SIZE; at++)
            map[at] = at * 7 + n;
        int made = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, holes[n][0], holes[n][1]);
        printf("%d %08x", made, sum(map));
        if (pread(fd, bytes, SIZE, 0) != SIZE)
            return 1;
        printf(" %08x\n", sum(bytes));
    }
    return 0;
}
