/* Maps one file after the other, and keeps them.
 *
 * hoard WORD...: a word is a file, which is mapped, stored to and read by a call; or "-",
 * which unmaps all. Says for each what became of it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE (2L << 20)
#define MOST 64

static char *maps[MOST];
static int count;

static const char *map(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, SIZE)) return strerror(errno);
    char *at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
        int why = errno;
        close(fd);
        return strerror(why);
    }
    maps[count++] = at;
    char stored = ++at[count * 4096], read = 0;
    if (pread(fd, &read, 1, count * 4096) != 1 || read != stored) return "another truth";
    close(fd);
    return "mapped";
}

int main(int argc, char **argv) {
    for (int n = 1; n < argc && count < MOST; n++) {
        if (strcmp(argv[n], "-") != 0) {
            puts(map(argv[n]));
            continue;
        }
        while (count > 0)
            if (munmap(maps[--count], SIZE)) return 1;
        puts("unmapped");
    }
    return 0;
}
