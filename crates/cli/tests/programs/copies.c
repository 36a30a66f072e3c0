/* A private map of a file: read, stored to, forked, given up, moved, cut; the file keeps what it
 * had. Prints what it saw, and fails where that is wrong. Its arguments are a file, which it
 * makes, a number of MiB, and how many MiB of private memory it may have.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "must.h"

#define PAGE 4096ul
#define WORDS (PAGE / 8)

static sigjmp_buf back;
static int fd;

static void caught(int signal)
{
	siglongjmp(back, signal);
}

/* The signal that a load is answered with, or 0. */
static int load(volatile uint64_t *at)
{
	int signal = sigsetjmp(back, 1);
	if (signal == 0)
		(void)*at;
	return signal;
}

static uint64_t value(size_t page, size_t word, uint64_t round)
{
	return (page * 0x9E3779B97F4A7C15ull) ^ (word << 20) ^ round;
}

static void fill(uint64_t *at, size_t page, uint64_t round)
{
	for (size_t word = 0; word < WORDS; word += 32)
		at[page * WORDS + word] = value(page, word, round);
}

/* Has `at`, which begins as page `first` of the file, so many pages of a round? */
static int holds(uint64_t *at, size_t first, size_t from, size_t to, uint64_t round)
{
	for (size_t page = from; page < to; page++)
		for (size_t word = 0; word < WORDS; word += 32)
			if (at[page * WORDS + word] != value(first + page, word, round))
				return 0;
	return 1;
}

/* The file, past the map. */
static int has(size_t from, size_t to, uint64_t round)
{
	uint64_t words[WORDS];
	for (size_t page = from; page < to; page++) {
		must(pread(fd, words, PAGE, page * PAGE) == PAGE);
		if (!holds(words, page, 0, 1, round))
			return 0;
	}
	return 1;
}

static void put(size_t page, uint64_t round)
{
	uint64_t words[WORDS] = { 0 };
	for (size_t word = 0; word < WORDS; word += 32)
		words[word] = value(page, word, round);
	must(pwrite(fd, words, PAGE, page * PAGE) == PAGE);
}

static uint64_t *map(size_t first, size_t pages)
{
	return mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, first * PAGE);
}

static int ends(pid_t child)
{
	int status = -1;
	must(child > 0 && waitpid(child, &status, 0) == child);
	return status;
}

/* What the process has of its own, in KiB. */
static size_t own_memory(void)
{
	char line[200];
	size_t size = 0;
	FILE *file = fopen("/proc/self/status", "r");
	while (fgets(line, sizeof line, file))
		sscanf(line, "RssAnon: %zu", &size);
	fclose(file);
	return size;
}

/* Of three pages two, so that what is stored and what isn't lie side by side. */
static void stores(uint64_t *at, size_t pages)
{
	must(holds(at, 0, 0, pages, 0));
	for (size_t page = 0; page < pages; page++)
		if (page % 3)
			fill(at, page, 1);
	for (size_t page = 0; page < pages; page++)
		must(holds(at, 0, page, page + 1, page % 3 > 0));
	must(has(0, pages, 0));
	printf("stored\n");
}

static void forks(uint64_t *at, size_t pages)
{
	int down[2];
	char byte = 0;
	must(pipe(down) == 0);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		must(read(down[0], &byte, 1) == 1);
		for (size_t page = 0; page < pages; page++)
			must(holds(at, 0, page, page + 1, page % 3 > 0));
		for (size_t page = 0; page < pages / 2; page++)
			fill(at, page, 3);
		pid_t grandchild = fork();
		if (grandchild == 0) {
			must(holds(at, 0, 0, pages / 2, 3));
			for (size_t page = pages / 2; page < pages; page++)
				must(holds(at, 0, page, page + 1, page % 3 > 0));
			_exit(0);
		}
		must(ends(grandchild) == 0);
		must(has(0, pages, 0));
		_exit(0);
	}
	for (size_t page = 0; page < pages / 4; page++)
		fill(at, page, 2);
	must(write(down[1], "x", 1) == 1 && ends(child) == 0);
	must(holds(at, 0, 0, pages / 4, 2));
	for (size_t page = pages / 4; page < pages; page++)
		must(holds(at, 0, page, page + 1, page % 3 > 0));
	close(down[0]), close(down[1]);
	printf("forked\n");
}

static void gives_up(uint64_t *at, size_t pages)
{
	size_t half = pages / 2;
	put(5, 7);
	must(madvise(at, half * PAGE, MADV_DONTNEED) == 0);
	must(holds(at, 0, 0, 5, 0) && holds(at, 0, 5, 6, 7) && holds(at, 0, 6, half, 0));
	put(5, 0);
	must(madvise(at, half * PAGE, MADV_FREE) == -1 && errno == EINVAL);
	must(madvise(at, half * PAGE, MADV_WIPEONFORK) == -1 && errno == EINVAL);
	must(madvise(at, half * PAGE, MADV_REMOVE) == -1 && errno == EACCES);
	must(madvise(at, pages * PAGE, MADV_DONTNEED) == 0);
	must(holds(at, 0, 0, pages, 0));
	printf("given up\n");
}

static void moves(size_t pages)
{
	size_t third = pages / 3;
	uint64_t *at = map(third, third);
	must(at != MAP_FAILED);
	fill(at, 1, 1);
	at[WORDS] = 0x1234;
	at = mremap(at, third * PAGE, 2 * third * PAGE, MREMAP_MAYMOVE);
	must(at != MAP_FAILED && at[WORDS] == 0x1234);
	must(holds(at, third, 0, 1, 0) && holds(at, third, 2, 2 * third, 0));
	/* It can't become longer where something is behind it. */
	void *wall = mmap(at + 2 * third * WORDS, PAGE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	uint64_t *aim = map(0, third);
	must(aim != MAP_FAILED);
	at = mremap(at, third * PAGE, third * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, aim);
	must(at == aim && at[WORDS] == 0x1234 && holds(at, third, 2, third, 0));
	fill(at, third - 1, 9);
	must(mremap(at, third * PAGE, PAGE, 0) == at && holds(at, third, 0, 1, 0));
	must(munmap(at, PAGE) == 0);
	if (wall != MAP_FAILED)
		must(munmap(wall, PAGE) == 0);
	must(has(0, pages, 0));
	printf("moved\n");
}

/* A shared map of the same pages: what is stored by it is seen where nothing is stored to. */
static void shares(uint64_t *at, size_t pages)
{
	uint64_t *shared = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(shared != MAP_FAILED);
	must(madvise(at, pages * PAGE, MADV_DONTNEED) == 0);
	for (size_t page = 0; page < pages / 4; page++)
		shared[page * WORDS + 1] = page + 1;
	for (size_t page = 0; page < pages / 4; page++)
		must(at[page * WORDS + 1] == page + 1);
	for (size_t page = 0; page < pages / 4; page++)
		at[page * WORDS + 2] = 3;
	for (size_t page = 0; page < pages / 4; page++)
		must(shared[page * WORDS + 1] == page + 1 && shared[page * WORDS + 2] == 0);
	must(munmap(shared, pages * PAGE) == 0);
	printf("shared\n");
}

static void shortens(uint64_t *at, size_t pages)
{
	size_t half = pages / 2;
	fill(at, half - 1, 4);
	fill(at, half + 1, 4);
	must(ftruncate(fd, half * PAGE) == 0);
	must(load(at + (half + 1) * WORDS) == SIGBUS && load(at + half * WORDS) == SIGBUS);
	must(holds(at, 0, half - 1, half, 4));
	must(ftruncate(fd, pages * PAGE) == 0);
	must(at[(half + 3) * WORDS] == 0);
	must(at[half * WORDS] == 0 && at[(half + 1) * WORDS] == 0);
	at[(half + 3) * WORDS] = 8;
	must(at[(half + 3) * WORDS] == 8);
	printf("cut\n");
}

int main(int argc, char **argv)
{
	must(argc == 4);
	size_t pages = strtoul(argv[2], NULL, 10) * 256;
	size_t limit = strtoul(argv[3], NULL, 10) * 1024;
	struct sigaction action = { .sa_handler = caught };
	sigaction(SIGBUS, &action, NULL);
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	must(fd >= 0);
	for (size_t page = 0; page < pages; page++)
		put(page, 0);
	uint64_t *at = map(0, pages);
	must(at != MAP_FAILED);
	stores(at, pages);
	must(own_memory() <= limit);
	forks(at, pages);
	gives_up(at, pages);
	moves(pages);
	shares(at, pages);
	must(own_memory() <= limit);
	shortens(at, pages);
	must(munmap(at, pages * PAGE) == 0);
	return 0;
}
