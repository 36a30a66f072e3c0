/* Large blocks of malloc's and its family's: what they hold, where they begin, and that they are
 * given back. Prints what it saw, and fails where that is wrong. Its argument is a number of MiB.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "must.h"

#define MIB (1ul << 20)

static void fill(unsigned char *at, size_t len, unsigned seed)
{
	for (size_t n = 0; n < len; n += 509)
		at[n] = (unsigned char)(n / 509 + seed);
	at[len - 1] = 77;
}

static int holds(unsigned char *at, size_t len, size_t whole, unsigned seed)
{
	for (size_t n = 0; n < len; n += 509)
		if (at[n] != (unsigned char)(n / 509 + seed) && n != whole - 1)
			return 0;
	return len < whole || at[len - 1] == 77;
}

static void grows(size_t most)
{
	size_t len = 100;
	unsigned char *at = malloc(len);
	must(at);
	fill(at, len, 3);
	while (len < most) {
		size_t more = len * 2 + 12345;
		at = realloc(at, more);
		must(at && (uintptr_t)at % 16 == 0 && malloc_usable_size(at) >= more);
		must(holds(at, len, len, 3));
		len = more;
		fill(at, len, 3);
	}
	while (len > 200) {
		at = realloc(at, len / 3);
		must(at && holds(at, len / 3, len, 3));
		len /= 3;
		fill(at, len, 3);
	}
	free(at);
	printf("grown\n");
}

static void aligns(void)
{
	for (size_t alignment = 16; alignment <= 8 * MIB; alignment *= 2) {
		void *blocks[3];
		size_t len = 3 * MIB + 5;
		must(posix_memalign(&blocks[0], alignment, len) == 0);
		blocks[1] = aligned_alloc(alignment, 2 * MIB);
		blocks[2] = memalign(alignment, 1000);
		for (int n = 0; n < 3; n++) {
			must(blocks[n] && (uintptr_t)blocks[n] % alignment == 0);
			memset(blocks[n], 9, malloc_usable_size(blocks[n]));
		}
		for (int n = 0; n < 3; n++)
			free(blocks[n]);
	}
	void *block = &block;
	must(posix_memalign(&block, 24, 4 * MIB) == EINVAL);
	/* The compiler knows that these can't be. */
	volatile size_t much = SIZE_MAX / 2;
	must(malloc(much) == NULL && errno == ENOMEM);
	must(calloc(much / 2, 8) == NULL);
	must(reallocarray(NULL, much / 2, 8) == NULL);
	printf("aligned\n");
}

static void mixes(unsigned seed, size_t most)
{
	enum { COUNT = 24 };
	unsigned char *blocks[COUNT] = { 0 };
	size_t lens[COUNT] = { 0 }, all = 0;
	for (int step = 0; step < 600; step++) {
		seed = seed * 1103515245 + 12345;
		int n = (int)(seed >> 16) % COUNT;
		if (blocks[n]) {
			must(holds(blocks[n], lens[n], lens[n], (unsigned)n));
			all -= lens[n];
			free(blocks[n]);
			blocks[n] = NULL;
			continue;
		}
		lens[n] = (seed >> 20) % 3 ? (seed >> 8) % (3 * MIB) + 1 : (seed >> 8) % 3000 + 1;
		if (all + lens[n] > most)
			continue;
		all += lens[n];
		blocks[n] = seed & 64 ? malloc(lens[n]) : calloc(1, lens[n]);
		must(blocks[n]);
		if (!(seed & 64))
			for (size_t at = 0; at < lens[n]; at += 511)
				must(blocks[n][at] == 0);
		fill(blocks[n], lens[n], (unsigned)n);
	}
	for (int n = 0; n < COUNT; n++)
		free(blocks[n]);
}

static size_t each;

static void *mixes_in_thread(void *seed)
{
	mixes((unsigned)(uintptr_t)seed, each);
	return NULL;
}

static void threads(size_t most)
{
	pthread_t threads[4];
	each = most / 4;
	for (uintptr_t n = 0; n < 4; n++)
		must(pthread_create(&threads[n], NULL, mixes_in_thread, (void *)(n + 1)) == 0);
	/* Children of a process whose other threads are at it. */
	for (int n = 0; n < 5; n++) {
		pid_t child = fork();
		if (child == 0) {
			mixes(99, 8 * MIB);
			_exit(0);
		}
		int status = -1;
		must(waitpid(child, &status, 0) == child && status == 0);
	}
	for (int n = 0; n < 4; n++)
		must(pthread_join(threads[n], NULL) == 0);
	printf("mixed\n");
}

int main(int argc, char **argv)
{
	size_t most = (argc > 1 ? strtoul(argv[1], NULL, 10) : 64) * MIB;
	unsigned char *block = malloc(most);
	must(block);
	fill(block, most, 5);
	must(holds(block, most, most, 5));
	free(block);
	block = calloc(most / 16, 16);
	must(block);
	for (size_t n = 0; n < most; n += 4096)
		must(block[n] == 0);
	free(block);
	printf("filled\n");
	grows(most);
	aligns();
	mixes(7, most);
	threads(most);
	return 0;
}
