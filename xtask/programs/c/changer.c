/* Changes one byte of a file through a map.
 *
 * changer shared|private FILE OFFSET BYTE */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct stat stat;
    int fd = open(argv[2], O_RDWR);
    if (argc != 5 || fd < 0 || fstat(fd, &stat) < 0) {
        perror("open");
        return 1;
    }
    int kind = strcmp(argv[1], "private") == 0 ? MAP_PRIVATE : MAP_SHARED;
    char *map = mmap(NULL, stat.st_size, PROT_READ | PROT_WRITE, kind, fd, 0);
    if (map == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    close(fd);
    map[atol(argv[3])] = argv[4][0];
    printf("%s: %.*s\n", argv[1], (int)stat.st_size, map);
    return 0;
}
