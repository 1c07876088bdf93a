// What the code calls that clang 14 makes of setjmp and longjmp with `-mllvm -wasm-enable-sjlj`.
//
// Each function with calls of setjmp keeps a table on the heap, of the calls that were made in this activation: the number of the call, and
// its label, a number that the compiler gave the place in the function. Behind the last entry is one with the number 0. The
// function's handler catches what longjmp throws, and looks up where to go on; if the call isn't in its table, it throws again.

#include <stdlib.h>

struct entry {
	unsigned int call, label;
};

// What is thrown with the tag `__c_longjmp`: a pointer to this. The handler reads it before anything else can be thrown.
struct thrown {
	unsigned int *buffer;
	int value;
};

// The second result of saveSetjmp, by which the compiler gets it.
static unsigned int second_result;

unsigned int getTempRet0(void) {
	return second_result;
}

void setTempRet0(unsigned int value) {
	second_result = value;
}

// Notes a call of setjmp. Returns the table, which may have moved, and its new size. The compiler allocates one entry more than `size`.
struct entry *saveSetjmp(unsigned int *buffer, unsigned int label, struct entry *table, unsigned int size) {
	static unsigned int calls;
	if (!table) abort();
	if (++calls == 0) calls = 1;
	*buffer = calls;
	unsigned int used = 0;
	while (used < size && table[used].call != 0) used++;
	if (used == size) {
		size *= 2;
		table = realloc(table, (size + 1) * sizeof *table);
		if (!table) abort();
	}
	table[used] = (struct entry){calls, label};
	table[used + 1].call = 0;
	second_result = size;
	return table;
}

// The label of that call of setjmp; 0 if it isn't in the table.
unsigned int testSetjmp(unsigned int call, const struct entry *table, unsigned int size) {
	for (unsigned int i = 0; i < size && table[i].call != 0; i++) {
		if (table[i].call == call) return table[i].label;
	}
	return 0;
}

_Noreturn void __wasm_longjmp(unsigned int *buffer, int value) {
	static struct thrown thrown;
	thrown = (struct thrown){buffer, value == 0 ? 1 : value};
	// Tag 1 is `__c_longjmp`.
	__builtin_wasm_throw(1, &thrown);
}
