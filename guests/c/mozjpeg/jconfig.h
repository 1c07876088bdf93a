// How the JPEG library is configured.
#define JPEG_LIB_VERSION 62
#define LIBJPEG_TURBO_VERSION 0
#define BITS_IN_JSAMPLE 8
#define MEM_SRCDST_SUPPORTED 1
#define HAVE_STDLIB_H 1
#define HAVE_UNSIGNED_CHAR 1
#define HAVE_UNSIGNED_SHORT 1
// Formats of pictures that cjpeg reads, besides JPEG.
#define PPM_SUPPORTED 1
#define BMP_SUPPORTED 1
#define GIF_SUPPORTED 1
#define TARGA_SUPPORTED 1
