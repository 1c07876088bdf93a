// Linked to SQLite's shell, which complains about everyone who has no home directory: it looks for `.sqliterc` there.

#include <stdlib.h>

__attribute__((constructor)) static void set_home(void) {
	setenv("HOME", "/", 0);
}
