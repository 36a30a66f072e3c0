/* Shows a file through a shared map, at first and each time it has changed, until its first
 * byte is 'q'.
 *
 * watcher FILE */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct stat stat;
    char shown[4096] = "";
    int fd = open(argv[argc - 1], O_RDWR);
    if (fd < 0 || fstat(fd, &stat) < 0 || stat.st_size >= (long)sizeof shown) {
        perror("a file of less than a page");
        return 1;
    }
    volatile char *map = mmap(NULL, stat.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    close(fd);
    for (int rounds = 0; map[0] != 'q' && rounds < 20000; rounds++) {
        if (strcmp(shown, (const char *)map) != 0) {
            strcpy(shown, (const char *)map);
            printf("%s\n", shown);
            fflush(stdout);
        }
        usleep(1000);
    }
    return map[0] != 'q';
}
