// Tests setjmp and longjmp: prints what is wrong. With an argument it jumps to a function that has returned, which nobody catches.

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

static int failures;
#define CHECK(condition) ((condition) ? (void)0 : (failures++, (void)printf("line %d: not %s\n", __LINE__, #condition)))

static jmp_buf outer, inner, gone;

__attribute__((noinline)) static void jump(jmp_buf buffer, int value) {
	longjmp(buffer, value);
}

// So that nothing is known about the call.
static void (*volatile jump_pointer)(jmp_buf, int) = jump;

__attribute__((noinline)) static void dive(int depth, jmp_buf buffer, int value) {
	char room[64];
	memset(room, depth, sizeof room);
	if (depth == 0) jump_pointer(buffer, value);
	dive(depth - 1, buffer, value);
	printf("%d was returned to\n", room[0]);
}

static void values(void) {
	static const int given[] = {1, 0, -1, 7, 0x7fffffff}, expected[] = {1, 1, -1, 7, 0x7fffffff};
	for (volatile int i = 0; i < 5; i++) {
		volatile int before = 3;
		int value = setjmp(outer);
		if (value == 0) {
			before++;
			dive(i * 10, outer, given[i]);
			CHECK(!"reached");
		}
		CHECK(value == expected[i]);
		CHECK(before == 4);
	}
}

// The inner function has handlers of its own, and is not meant.
__attribute__((noinline)) static void between(void) {
	volatile int caught = 0;
	if (setjmp(inner) == 0) {
		jump_pointer(inner, 1);
	} else {
		caught = 1;
	}
	CHECK(caught);
	jump_pointer(outer, 5);
}

static void nested(void) {
	int value = setjmp(outer);
	if (value == 0) between();
	CHECK(value == 5);
}

// More calls of setjmp in one function than the table has room for at first, all alive, and jumped to in another order.
static void many(void) {
	static jmp_buf buffers[100];
	static volatile int next, reached;
	for (volatile int i = 0; i < 100; i++) {
		if (setjmp(buffers[i]) != 0) {
			reached++;
			goto jumped;
		}
	}
	next = 0;
jumped:
	if (next < 100) {
		int to = (next++ * 37) % 100;
		jump_pointer(buffers[to], to + 1);
	}
	CHECK(reached == 100);
}

// An error is handled, and the next one is as well: the loop of every interpreter.
static void loop(void) {
	static volatile int errors;
	while (setjmp(outer) != 0 || errors == 0) {
		if (++errors == 1000) break;
		dive(errors % 7, outer, errors);
	}
	CHECK(errors == 1000);
}

// Local variables that do not change keep their values, in registers or wherever; the stack is as it was.
__attribute__((noinline)) static int locals(int a, double b, const char *c) {
	char array[32];
	strcpy(array, c);
	char *where = array;
	if (setjmp(outer) == 0) dive(50, outer, 1);
	return a == 12 && b == 0.5 && strcmp(array, "text") == 0 && where == array;
}

__attribute__((noinline)) static void returns(void) {
	if (setjmp(gone) != 0) puts("it was not gone");
}

int main(int argc, char **argv) {
	(void)argv;
	if (argc > 1) {
		returns();
		dive(3, gone, 1);
		return 1;
	}
	values();
	nested();
	many();
	loop();
	CHECK(locals(12, 0.5, "text"));
	printf("setjmp: %s\n", failures ? "FAILED" : "all as it should be");
	return failures != 0;
}
