// sqlite DATABASE SQL…: runs SQL statements and prints their rows, columns separated by '|'. DATABASE may be ":memory:".

#include <stdio.h>
#include <sqlite3.h>

static int print_row(void *unused, int columns, char **values, char **names) {
	(void)unused;
	(void)names;
	for (int column = 0; column < columns; column++) {
		printf("%s%s", column ? "|" : "", values[column] ? values[column] : "");
	}
	putchar('\n');
	return 0;
}

int main(int argc, char **argv) {
	if (argc < 3) {
		fprintf(stderr, "usage: sqlite DATABASE SQL...\n");
		return 2;
	}
	sqlite3 *database = NULL;
	if (sqlite3_open(argv[1], &database) != SQLITE_OK) {
		fprintf(stderr, "sqlite: cannot open %s: %s\n", argv[1], database ? sqlite3_errmsg(database) : "out of memory");
		sqlite3_close(database);
		return 1;
	}
	int status = 0;
	for (int i = 2; i < argc && status == 0; i++) {
		char *message = NULL;
		if (sqlite3_exec(database, argv[i], print_row, NULL, &message) != SQLITE_OK) {
			fprintf(stderr, "sqlite: %s\n", message ? message : sqlite3_errmsg(database));
			sqlite3_free(message);
			status = 1;
		}
	}
	sqlite3_close(database);
	return status;
}
