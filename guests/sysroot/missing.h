// What C programs take for granted and wasi-libc lacks, because WASI has no processes, users, permissions or temporary files.
// Included before every source. The functions are in missing.c.

#ifndef GUESTS_MISSING_H
#define GUESTS_MISSING_H

#include <stdio.h>
#include <sys/types.h>

#define L_tmpnam 20

char *tmpnam(char *name);
FILE *tmpfile(void);
int system(const char *command);
int chmod(const char *path, mode_t mode);
int fchmod(int file, mode_t mode);
int fchown(int file, uid_t owner, gid_t group);

#endif
