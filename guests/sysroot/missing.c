#include "missing.h"

#include <errno.h>

char *tmpnam(char *name) {
	(void)name;
	errno = ENOTSUP;
	return NULL;
}

FILE *tmpfile(void) {
	errno = ENOTSUP;
	return NULL;
}

// With no command, says whether there is a shell to give one to.
int system(const char *command) {
	if (!command) return 0;
	errno = ENOTSUP;
	return -1;
}

// There are no permissions and owners that could be other than they are, so these are done at once. A program that has copied a file
// and takes over its permissions would undo its work otherwise.

int chmod(const char *path, mode_t mode) {
	(void)path;
	(void)mode;
	return 0;
}

int fchmod(int file, mode_t mode) {
	(void)file;
	(void)mode;
	return 0;
}

int fchown(int file, uid_t owner, gid_t group) {
	(void)file;
	(void)owner;
	(void)group;
	return 0;
}
