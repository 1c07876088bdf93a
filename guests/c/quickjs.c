// quickjs EXPRESSION…: evaluates JavaScript and prints the result of each expression. `print(…)` prints its arguments.

#include <stdio.h>
#include <string.h>
#include <quickjs.h>

static void print_value(JSContext *context, JSValueConst value, FILE *stream) {
	const char *text = JS_ToCString(context, value);
	fputs(text ? text : "(cannot be shown)", stream);
	JS_FreeCString(context, text);
}

static JSValue print(JSContext *context, JSValueConst receiver, int argc, JSValueConst *argv) {
	(void)receiver;
	for (int i = 0; i < argc; i++) {
		if (i > 0) putchar(' ');
		print_value(context, argv[i], stdout);
	}
	putchar('\n');
	return JS_UNDEFINED;
}

int main(int argc, char **argv) {
	if (argc < 2) {
		fprintf(stderr, "usage: quickjs EXPRESSION...\n");
		return 2;
	}
	JSRuntime *runtime = JS_NewRuntime();
	JSContext *context = runtime ? JS_NewContext(runtime) : NULL;
	if (!context) {
		fprintf(stderr, "quickjs: out of memory\n");
		return 1;
	}
	JSValue global = JS_GetGlobalObject(context);
	JS_SetPropertyStr(context, global, "print", JS_NewCFunction(context, print, "print", 1));
	JS_FreeValue(context, global);

	int status = 0;
	for (int i = 1; i < argc && status == 0; i++) {
		JSValue value = JS_Eval(context, argv[i], strlen(argv[i]), "argument", JS_EVAL_TYPE_GLOBAL);
		if (JS_IsException(value)) {
			JSValue exception = JS_GetException(context);
			fputs("quickjs: ", stderr);
			print_value(context, exception, stderr);
			fputc('\n', stderr);
			JS_FreeValue(context, exception);
			status = 1;
		} else if (!JS_IsUndefined(value)) {
			print_value(context, value, stdout);
			putchar('\n');
		}
		JS_FreeValue(context, value);
	}
	JS_FreeContext(context);
	JS_FreeRuntime(runtime);
	return status;
}
