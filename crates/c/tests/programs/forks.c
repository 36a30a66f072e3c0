/* Children of a program that maps all the time: each maps for itself, and none hangs. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faultless.h"

#define LEN (16 * 4096)

static atomic_int ends;

static int maps(unsigned char byte)
{
	unsigned char *at = faultless_mmap(NULL, LEN, PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return 1;
	memset(at, byte, LEN);
	int wrong = at[LEN - 1] != byte;
	return faultless_munmap(at, LEN) < 0 || wrong;
}

static void *always(void *nothing)
{
	while (!ends)
		if (maps(3))
			fprintf(stderr, "%s\n", faultless_error());
	return nothing;
}

int main(void)
{
	pthread_t threads[2];
	int wrong = maps(1);
	alarm(100);
	for (int n = 0; n < 2; n++)
		pthread_create(&threads[n], NULL, always, NULL);
	for (int n = 0; n < 100; n++) {
		pid_t child = fork();
		if (child == 0)
			_exit(maps((unsigned char)n));
		int status = 1;
		waitpid(child, &status, 0);
		wrong += status != 0;
	}
	ends = 1;
	for (int n = 0; n < 2; n++)
		pthread_join(threads[n], NULL);
	printf("%d wrong\n", wrong);
	return wrong != 0;
}
