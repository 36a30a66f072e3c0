/* Private anonymous memory, as much as is said: filled, read, forked, moved, cut and given up.
 * Prints what it saw, and fails where that is wrong. Its argument is a number of MiB.
 */
#define _GNU_SOURCE
#include <errno.h>
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

static void caught(int signal)
{
	siglongjmp(back, signal);
}

/* The signal that a load or store is answered with, or 0. */
static int touch(volatile uint64_t *at, int store)
{
	int signal = sigsetjmp(back, 1);
	if (signal)
		return signal;
	if (store)
		*at = *at;
	else
		(void)*at;
	return 0;
}

static uint64_t value(size_t page, size_t word, uint64_t round)
{
	return (page * 0x9E3779B97F4A7C15ull) ^ (word << 20) ^ round;
}

static void fill(uint64_t *at, size_t from, size_t to, uint64_t round)
{
	for (size_t page = from; page < to; page++)
		for (size_t word = 0; word < WORDS; word += 64)
			at[page * WORDS + word] = value(page, word, round);
}

static int holds(uint64_t *at, size_t from, size_t to, uint64_t round)
{
	for (size_t page = from; page < to; page++)
		for (size_t word = 0; word < WORDS; word += 64)
			if (at[page * WORDS + word] != value(page, word, round))
				return 0;
	return 1;
}

static int zeros(uint64_t *at, size_t from, size_t to)
{
	for (size_t word = from * WORDS; word < to * WORDS; word += 32)
		if (at[word])
			return 0;
	return 1;
}

static void *map(size_t pages)
{
	return mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static int ends(pid_t child)
{
	int status = -1;
	must(child > 0 && waitpid(child, &status, 0) == child);
	return status;
}

static void fills(uint64_t *at, size_t pages)
{
	must(zeros(at, 0, pages));
	fill(at, 0, pages, 1);
	must(holds(at, 0, pages, 1));
	/* Here and there. */
	for (size_t n = 0, page = 7; n < pages / 8; n++, page = (page * 1103515245 + 12345) % pages)
		fill(at, page, page + 1, 1);
	must(holds(at, 0, pages, 1));
	printf("filled\n");
}

static void forks(uint64_t *at, size_t pages)
{
	int up[2], down[2];
	char byte = 0;
	must(pipe(up) == 0 && pipe(down) == 0);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		must(read(down[0], &byte, 1) == 1);
		/* What the parent has stored since is its own. */
		must(holds(at, 0, pages, 1));
		fill(at, 0, pages / 4, 3);
		must(write(up[1], "x", 1) == 1);
		pid_t grandchild = fork();
		if (grandchild == 0) {
			must(holds(at, 0, pages / 4, 3) && holds(at, pages / 4, pages, 1));
			fill(at, 0, pages / 2, 4);
			must(holds(at, 0, pages / 2, 4) && holds(at, pages / 2, pages, 1));
			_exit(0);
		}
		must(ends(grandchild) == 0);
		must(holds(at, 0, pages / 4, 3) && holds(at, pages / 4, pages, 1));
		_exit(0);
	}
	fill(at, pages / 8, pages / 2, 2);
	must(write(down[1], "x", 1) == 1 && read(up[0], &byte, 1) == 1);
	must(holds(at, 0, pages / 8, 1) && holds(at, pages / 8, pages / 2, 2));
	must(holds(at, pages / 2, pages, 1));
	must(ends(child) == 0);
	must(holds(at, pages / 8, pages / 2, 2));
	fill(at, 0, pages, 1);
	for (int n = 0; n < 2; n++)
		close(up[n]), close(down[n]);
	printf("forked\n");
}

static void forks_some(uint64_t *at, size_t pages)
{
	size_t part = pages / 4;
	must(madvise(at, part * PAGE, MADV_WIPEONFORK) == 0);
	must(madvise(at + part * WORDS, part * PAGE, MADV_DONTFORK) == 0);
	must(mprotect(at + 2 * part * WORDS, part * PAGE, PROT_READ) == 0);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		must(zeros(at, 0, part));
		must(touch((void *)(at + part * WORDS), 0) == SIGSEGV);
		must(holds(at, 2 * part, 4 * part, 1));
		must(touch((void *)(at + 2 * part * WORDS), 1) == SIGSEGV);
		fill(at, 3 * part, 4 * part, 9);
		_exit(0);
	}
	must(ends(child) == 0);
	must(holds(at, 0, 4 * part, 1));
	must(madvise(at, part * PAGE, MADV_KEEPONFORK) == 0);
	must(madvise(at + part * WORDS, part * PAGE, MADV_DOFORK) == 0);
	must(mprotect(at + 2 * part * WORDS, part * PAGE, PROT_READ | PROT_WRITE) == 0);
	child = fork();
	if (child == 0) {
		must(holds(at, 0, 4 * part, 1));
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	must(ends(child) == 0);
	printf("forked in part\n");
}

static void gives_up(uint64_t *at, size_t pages)
{
	size_t part = pages / 4;
	must(madvise(at, part * PAGE, MADV_DONTNEED) == 0);
	must(zeros(at, 0, part) && holds(at, part, pages, 1));
	fill(at, 0, part, 5);
	must(holds(at, 0, part, 5));
	must(madvise(at, part * PAGE, MADV_FREE) == 0);
	fill(at, 0, part, 6);
	must(holds(at, 0, part, 6));
	must(madvise(at, part * PAGE, MADV_WILLNEED) == 0);
	must(madvise(at, part * PAGE, MADV_REMOVE) == -1 && errno == EINVAL);
	must(madvise(at + 1, part * PAGE, MADV_DONTNEED) == -1 && errno == EINVAL);
	must(holds(at, 0, part, 6) && holds(at, part, pages, 1));
	fill(at, 0, part, 1);
	printf("given up\n");
}

static void forbids(uint64_t *at, size_t pages)
{
	must(mprotect(at + 3 * WORDS, 2 * PAGE, PROT_NONE) == 0);
	must(touch((void *)(at + 4 * WORDS), 0) == SIGSEGV);
	must(touch((void *)(at + 5 * WORDS), 1) == 0);
	must(mprotect(at + 3 * WORDS, 2 * PAGE, PROT_READ | PROT_WRITE) == 0);
	must(holds(at, 0, pages, 1));
	printf("forbidden\n");
}

static uint64_t *moves(uint64_t *at, size_t pages)
{
	uint64_t *aim = map(pages);
	must(aim != MAP_FAILED);
	fill(aim, 0, 10, 8);
	uint64_t *to = mremap(at, pages * PAGE, pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, aim);
	must(to == aim && holds(to, 0, pages, 1));
	must(touch((void *)at, 0) == SIGSEGV);
	fill(to, 0, pages / 2, 1);
	/* Longer, wherever that is; and shorter. */
	size_t more = pages + pages / 2;
	to = mremap(to, pages * PAGE, more * PAGE, MREMAP_MAYMOVE);
	must(to != MAP_FAILED);
	must(holds(to, 0, pages, 1) && zeros(to, pages, more));
	fill(to, pages, more, 1);
	uint64_t *other = map(pages);
	must(other != MAP_FAILED);
	fill(other, 0, pages / 4, 2);
	to = mremap(to, more * PAGE, 2 * pages * PAGE, MREMAP_MAYMOVE);
	must(to != MAP_FAILED && holds(to, 0, more, 1) && zeros(to, more, 2 * pages));
	must(holds(other, 0, pages / 4, 2) && zeros(other, pages / 4, pages));
	must(munmap(other, pages * PAGE) == 0);
	to = mremap(to, 2 * pages * PAGE, pages * PAGE, 0);
	must(to != MAP_FAILED && holds(to, 0, pages, 1));
	must(touch((void *)(to + pages * WORDS), 0) == SIGSEGV);
	printf("moved\n");
	return to;
}

static void cuts(uint64_t *at, size_t pages)
{
	size_t third = pages / 3;
	must(munmap(at + third * WORDS, third * PAGE) == 0);
	must(touch((void *)(at + third * WORDS), 0) == SIGSEGV);
	must(holds(at, 0, third, 1) && holds(at, 2 * third, pages, 1));
	void *again = mmap(at + third * WORDS, third * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	must(again == at + third * WORDS && zeros(at, third, 2 * third));
	fill(at, third, 2 * third, 7);
	must(holds(at, 0, third, 1) && holds(at, third, 2 * third, 7) && holds(at, 2 * third, pages, 1));
	must(munmap(at, pages * PAGE) == 0);
	printf("cut\n");
}

int main(int argc, char **argv)
{
	size_t pages = (argc > 1 ? strtoul(argv[1], NULL, 10) : 64) * 256;
	struct sigaction action = { .sa_handler = caught };
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	uint64_t *at = map(pages);
	must(at != MAP_FAILED);
	fills(at, pages);
	forks(at, pages);
	forks_some(at, pages);
	gives_up(at, pages);
	forbids(at, pages);
	at = moves(at, pages);
	forks(at, pages);
	cuts(at, pages);
	return 0;
}
