// zstd [-d] [-LEVEL]: compresses (or with -d decompresses) standard input to standard output, in the Zstandard format.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

static char input_bytes[1 << 17], output_bytes[1 << 17];

static int failed(const char *what) {
	fprintf(stderr, "zstd: %s\n", what);
	return 1;
}

static int write_all(const ZSTD_outBuffer *output) {
	return fwrite(output->dst, 1, output->pos, stdout) == output->pos;
}

static int compress(int level) {
	ZSTD_CCtx *context = ZSTD_createCCtx();
	if (!context) return failed("out of memory");
	ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
	ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
	int last;
	do {
		ZSTD_inBuffer input = {input_bytes, fread(input_bytes, 1, sizeof input_bytes, stdin), 0};
		if (ferror(stdin)) return failed("cannot read standard input");
		last = input.size < sizeof input_bytes;
		size_t left;
		do {
			ZSTD_outBuffer output = {output_bytes, sizeof output_bytes, 0};
			left = ZSTD_compressStream2(context, &output, &input, last ? ZSTD_e_end : ZSTD_e_continue);
			if (ZSTD_isError(left)) return failed(ZSTD_getErrorName(left));
			if (!write_all(&output)) return failed("cannot write standard output");
		} while (last ? left != 0 : input.pos < input.size);
	} while (!last);
	ZSTD_freeCCtx(context);
	return 0;
}

static int decompress(void) {
	ZSTD_DCtx *context = ZSTD_createDCtx();
	if (!context) return failed("out of memory");
	size_t expected = 0, size;
	while ((size = fread(input_bytes, 1, sizeof input_bytes, stdin)) > 0) {
		ZSTD_inBuffer input = {input_bytes, size, 0};
		ZSTD_outBuffer output;
		// A full output buffer may leave more to come of input that is used up.
		do {
			output = (ZSTD_outBuffer){output_bytes, sizeof output_bytes, 0};
			expected = ZSTD_decompressStream(context, &output, &input);
			if (ZSTD_isError(expected)) return failed(ZSTD_getErrorName(expected));
			if (!write_all(&output)) return failed("cannot write standard output");
		} while (input.pos < input.size || output.pos == output.size);
	}
	if (ferror(stdin)) return failed("cannot read standard input");
	if (expected != 0) return failed("standard input ends too early");
	ZSTD_freeDCtx(context);
	return 0;
}

int main(int argc, char **argv) {
	int level = ZSTD_CLEVEL_DEFAULT;
	int decompressing = 0;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-d") == 0) {
			decompressing = 1;
		} else if (argv[i][0] == '-' && argv[i][1] >= '1' && argv[i][1] <= '9') {
			level = atoi(argv[i] + 1);
		} else {
			fprintf(stderr, "usage: zstd [-d] [-LEVEL]\n");
			return 2;
		}
	}
	int status = decompressing ? decompress() : compress(level);
	if (fflush(stdout) != 0) return failed("cannot write standard output");
	return status;
}
