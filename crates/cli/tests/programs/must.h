/* What has to hold in a test program: it says where it does not, and ends. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define must(what) \
	do { \
		if (!(what)) { \
			printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #what, strerror(errno)); \
			fflush(stdout); \
			_exit(1); \
		} \
	} while (0)
