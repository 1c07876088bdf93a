// jpeg2ppm [FILE]…: decodes JPEG pictures (standard input without a FILE) and writes them to standard output as PPM or PGM, one after the
// other. A broken one gets a line on standard error, and the next one its turn; the status is 1 then.

#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <jpeglib.h>

struct decoder {
	struct jpeg_decompress_struct jpeg;
	struct jpeg_error_mgr errors;
	const char *name;
	// Where the library's errors lead. It expects that they do not return.
	jmp_buf failed;
};

static void say(j_common_ptr jpeg) {
	struct decoder *decoder = (struct decoder *)jpeg;
	char message[JMSG_LENGTH_MAX];
	jpeg->err->format_message(jpeg, message);
	fprintf(stderr, "jpeg2ppm: %s: %s\n", decoder->name, message);
}

static void fail(j_common_ptr jpeg) {
	say(jpeg);
	longjmp(((struct decoder *)jpeg)->failed, 1);
}

// A picture that is damaged but can be decoded after all counts as broken as well, and is written with what there is of it.
static int decode(FILE *file, const char *name) {
	static struct decoder decoder;
	struct jpeg_decompress_struct *jpeg = &decoder.jpeg;
	memset(&decoder, 0, sizeof decoder);
	decoder.name = name;
	jpeg->err = jpeg_std_error(&decoder.errors);
	decoder.errors.error_exit = fail;
	decoder.errors.output_message = say;
	if (setjmp(decoder.failed)) {
		jpeg_destroy_decompress(jpeg);
		return 1;
	}
	jpeg_create_decompress(jpeg);
	jpeg_stdio_src(jpeg, file);
	jpeg_read_header(jpeg, TRUE);
	if (jpeg->jpeg_color_space != JCS_GRAYSCALE) jpeg->out_color_space = JCS_RGB;
	jpeg_start_decompress(jpeg);
	int samples = jpeg->output_width * jpeg->output_components;
	printf("P%c\n%u %u\n255\n", jpeg->output_components == 1 ? '5' : '6', jpeg->output_width, jpeg->output_height);
	JSAMPARRAY row = jpeg->mem->alloc_sarray((j_common_ptr)jpeg, JPOOL_IMAGE, samples, 1);
	while (jpeg->output_scanline < jpeg->output_height) {
		jpeg_read_scanlines(jpeg, row, 1);
		fwrite(row[0], 1, samples, stdout);
	}
	jpeg_finish_decompress(jpeg);
	int damaged = decoder.errors.num_warnings != 0;
	jpeg_destroy_decompress(jpeg);
	return damaged;
}

int main(int argc, char **argv) {
	int status = argc < 2 ? decode(stdin, "standard input") : 0;
	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		if (!file) {
			fprintf(stderr, "jpeg2ppm: ");
			perror(argv[i]);
			status = 1;
			continue;
		}
		status |= decode(file, argv[i]);
		fclose(file);
	}
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("jpeg2ppm: standard output");
		status = 1;
	}
	return status;
}
