// setjmp and longjmp for WebAssembly, where there is no register to save and no stack pointer to set: longjmp throws an
// exception (tag `__c_longjmp`), and the compiler puts a handler into each function that calls setjmp. So a longjmp ends all calls
// in between, as it should, and one to a function that has returned finds no handler: the guest ends with an uncaught exception.
//
// To be compiled with `-mexception-handling -mllvm -wasm-enable-sjlj -mllvm -exception-model=wasm` and linked with setjmp.c.

#ifndef _SETJMP_H
#define _SETJMP_H

#ifdef __cplusplus
extern "C" {
#endif

// Which call of setjmp this was: never 0, never the same twice.
typedef struct __jmp_buf_tag {
	unsigned int __call;
} jmp_buf[1];
typedef jmp_buf sigjmp_buf;

int setjmp(jmp_buf) __attribute__((returns_twice));
_Noreturn void longjmp(jmp_buf, int);

#define setjmp setjmp
#define _setjmp setjmp
#define _longjmp longjmp
// There are no signals to block.
#define sigsetjmp(buffer, signals) setjmp(buffer)
#define siglongjmp longjmp

#ifdef __cplusplus
}
#endif

#endif
