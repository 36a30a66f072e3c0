/* Has a file grow by writes, and its map follow it to other addresses, touching pages now and
 * then.
 *
 * grows FILE SEEDS */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096L
#define MOST 64

int main(int argc, char **argv) {
    char page[PAGE];
    if (argc != 3)
        return 2;
    for (int seed = 0; seed < atoi(argv[2]); seed++) {
        unsigned char model[MOST] = {0};
        long pages = 2, step = 0;
        srandom(seed);
        unlink(argv[1]);
        int fd = open(argv[1], O_RDWR | O_CREAT, 0600);
        if (fd < 0 || ftruncate(fd, pages * PAGE) < 0)
            return 1;
        char *map = mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, fd, 0);
        while (pages < MOST) {
            long n = random() % pages;
            step++;
            switch (random() % 8) {
            case 0: {
                long more = pages + 1 + random() % 8;
                more = more > MOST ? MOST : more;
                if (ftruncate(fd, more * PAGE) < 0)
                    return 1;
                map = mremap(map, pages * PAGE, more * PAGE, MREMAP_MAYMOVE);
                if (map == MAP_FAILED)
                    return 1;
                pages = more;
                break;
            }
            case 1:
            case 2:
            case 3:
                model[n] = random() % 251;
                memset(page, model[n], PAGE);
                if (pwrite(fd, page, PAGE, n * PAGE) != PAGE)
                    return 1;
                break;
            case 4:
                if (pread(fd, page, 16, n * PAGE + 24) != 16 || (unsigned char)page[3] != model[n]) {
                    printf("seed %d, step %ld: read %d, not %d\n", seed, step, page[3], model[n]);
                    return 1;
                }
                break;
            default:
                if ((unsigned char)map[n * PAGE + 5] != model[n]) {
                    printf("seed %d, step %ld: page %ld is %d, not %d\n", seed, step, n,
                           (unsigned char)map[n * PAGE + 5], model[n]);
                    return 1;
                }
            }
        }
        munmap(map, pages * PAGE);
        close(fd);
    }
    printf("%s seeds\n", argv[2]);
    return 0;
}
