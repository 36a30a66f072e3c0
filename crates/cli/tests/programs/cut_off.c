/* A child maps a file that its parent maps, and then closes its connection with the broker, by
 * bare system calls, and lives on. What the parent stores and writes meanwhile, and after, is not
 * lost. Its argument is a file.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "must.h"

#define PAGE 4096ul
#define PAGES 256ul

static volatile int stop;
static volatile uint64_t *counter;
static uint64_t counted;

/* Nobody but this thread stores there: what it finds is what it has stored. */
static void *count(void *lost)
{
	while (!stop) {
		if (*counter != counted)
			*(volatile int *)lost = 1;
		*counter = ++counted;
	}
	return NULL;
}

static void close_barely(int fd)
{
	long answer;
	__asm__ volatile("syscall" : "=a"(answer) : "0"(SYS_close), "D"(fd) : "rcx", "r11", "memory");
}

static void child(volatile unsigned char *at, int up, int down)
{
	char byte = 0;
	for (size_t page = 0; page < PAGES; page++)
		byte += at[page * PAGE];
	must(write(up, &byte, 1) == 1 && read(down, &byte, 1) == 1);
	for (int fd = 3; fd < 1024; fd++)
		if (fd != up && fd != down)
			close_barely(fd);
	must(write(up, &byte, 1) == 1);
	/* It has gone on for as long as it is needed. */
	_exit(read(down, &byte, 1) == 1 ? 0 : 1);
}

static void round_of(int fd, unsigned char *at, uint64_t round)
{
	int up[2], down[2], lost = 0, status;
	char byte = 0;
	uint64_t words[2] = { round, ~round }, found[2];
	must(pipe(up) == 0 && pipe(down) == 0);
	pid_t pid = fork();
	if (pid == 0)
		child(at, up[1], down[0]);
	must(pid > 0 && read(up[0], &byte, 1) == 1);
	pthread_t thread;
	stop = 0, counter = (volatile uint64_t *)(at + 7 * PAGE), counted = *counter;
	must(pthread_create(&thread, NULL, count, &lost) == 0);
	must(pwrite(fd, words, sizeof words, 3 * PAGE) == sizeof words);
	must(write(down[1], &byte, 1) == 1 && read(up[0], &byte, 1) == 1);
	/* The broker hears of it at some time. */
	for (int n = 0; n < 50; n++) {
		words[0] = round << 20 | n;
		must(pwrite(fd, words, sizeof words, 3 * PAGE) == sizeof words);
		must(pread(fd, found, sizeof found, 3 * PAGE) == sizeof found);
		must(memcmp(found, words, sizeof words) == 0);
		usleep(1000);
	}
	stop = 1;
	must(pthread_join(thread, NULL) == 0 && !lost && *counter == counted);
	must(memcmp(at + 3 * PAGE, words, sizeof words) == 0);
	must(write(down[1], &byte, 1) == 1);
	must(waitpid(pid, &status, 0) == pid && status == 0);
	close(up[0]), close(up[1]), close(down[0]), close(down[1]);
}

int main(int argc, char **argv)
{
	must(argc == 2);
	int fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	must(fd >= 0 && ftruncate(fd, PAGES * PAGE) == 0);
	unsigned char *at = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(at != MAP_FAILED);
	for (uint64_t round = 1; round <= 20; round++)
		round_of(fd, at, round);
	must(msync(at, PAGES * PAGE, MS_SYNC) == 0);
	printf("nothing is lost\n");
	return 0;
}
