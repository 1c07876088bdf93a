// overflow LENGTH: receives a name of that length, and pays out what its owner has. Whoever wrote it did not ask whether the name fits.

#include <stdio.h>
#include <stdlib.h>

static struct {
	char name[16];
	int balance;
} account = {"", 100};

static void receive(long length) {
	char *next = account.name;
	for (long i = 0; i < length; i++) {
		*next++ = '#';
	}
}

int main(int argc, char **argv) {
	if (argc != 2) {
		fprintf(stderr, "usage: overflow LENGTH\n");
		return 2;
	}
	receive(atol(argv[1]));
	printf("paying out %d\n", account.balance);
	return 0;
}
