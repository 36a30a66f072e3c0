/* Memory whose server goes: each page holds what was stored, or is SIGBUS. Says "ready" when all
 * is stored, waits for a line, and prints how many pages are which.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define PAGES 8192ul

static sigjmp_buf back;

static void caught(int signal)
{
	siglongjmp(back, signal);
}

int main(void)
{
	struct sigaction action = { .sa_handler = caught };
	sigaction(SIGBUS, &action, NULL);
	volatile unsigned long *at = malloc(PAGES * PAGE);
	if (!at)
		return 1;
	for (unsigned long page = 0; page < PAGES; page++)
		at[page * PAGE / sizeof *at] = page + 1;
	printf("ready\n");
	fflush(stdout);
	if (getchar() == EOF)
		return 2;
	volatile unsigned long right = 0, refused = 0;
	for (volatile unsigned long page = 0; page < PAGES; page++) {
		if (sigsetjmp(back, 1)) {
			refused++;
			continue;
		}
		if (at[page * PAGE / sizeof *at] != page + 1)
			return 3;
		right++;
	}
	/* Calls about it end, and so do children. */
	madvise((void *)((unsigned long)at / PAGE * PAGE), PAGE, MADV_WILLNEED);
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	int status = -1;
	if (waitpid(child, &status, 0) != child || status != 0)
		return 4;
	/* What is new is the kernel's. */
	char *other = malloc(PAGES * PAGE);
	other[PAGES * PAGE - 1] = 1;
	printf("%lu %lu\n", right, refused);
	return 0;
}
