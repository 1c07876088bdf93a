// How the JPEG library is configured: what its users need not know.
#define BUILD ""
#define PACKAGE_NAME "mozjpeg"
#define VERSION "4"
#define INLINE inline __attribute__((always_inline))
#define HIDDEN __attribute__((visibility("hidden")))
#define THREAD_LOCAL
#define FALLTHROUGH
#define SIZEOF_SIZE_T 4
#define HAVE_BUILTIN_CTZL 1
