/* Stores by a map, and reads by streams of the C library; has one of them truncate the file.
 *
 * streams FILE */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE 100000L

int main(int argc, char **argv) {
    const char *path = argv[argc - 1];
    char line[64];
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || ftruncate(fd, SIZE) < 0)
        return 1;
    char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return 1;
    for (int round = 0; round < 3; round++) {
        memset(map, 'a' + round, SIZE);
        map[40] = map[SIZE - 1] = '\n';
        FILE *stream = fopen(path, round == 1 ? "r+" : "r");
        if (stream == NULL || fgets(line, sizeof line, stream) == NULL)
            return 1;
        fseek(stream, -10, SEEK_END);
        long place = ftell(stream);
        printf("%s%ld %c\n", line, place, fgetc(stream));
        fclose(stream);
    }
    if (freopen(path, "r", stdin) == NULL || fgets(line, sizeof line, stdin) == NULL)
        return 1;
    printf("%s", line);
    fclose(fopen(path, "w"));
    if (pwrite(fd, "short", 6, 0) != 6)
        return 1;
    printf("%s\n", map);
    FILE *stream = fopen(path, "r");
    printf("%s, %d\n", fgets(line, sizeof line, stream), fgetc(stream));
    return 0;
}
