/* Without arguments: runs the golden vectors. With --raw: frames of codes from standard input,
   codes of the outputs to standard output, both in the machine's byte order. */
#include <stdio.h>
#include <string.h>

#include "golden.h"
#include "model.h"

@BUFFERS@

#ifdef MODEL_TRACE
static int tracing;

void model_trace(const void *data, size_t size, size_t count)
{
    if (tracing)
        fwrite(data, size, count, stdout);
}
#endif

static void run(void)
{
    model_run(@ARGUMENTS@);
}

static int raw(void)
{
    size_t got;

    while ((got = fread(@FIRST@, 1, sizeof(@FIRST@), stdin)) > 0) {
        if (got != sizeof(@FIRST@)@READ@) {
            fprintf(stderr, "the last frame is incomplete\n");
            return 2;
        }
        run();
#ifndef MODEL_TRACE
@WRITE@#endif
    }
    return fflush(stdout) != 0;
}

static int golden(void)
{
    long equal = 0, all = 0;

    for (int frame = 0; frame < GOLDEN_FRAMES; frame++) {
@LOAD@        run();
@COMPARE@    }
    printf("%ld of %ld values equal\n", equal, all);
    return equal != all;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--raw") == 0) {
#ifdef MODEL_TRACE
        tracing = 1;
#endif
        return raw();
    }
    if (argc > 1) {
        fprintf(stderr, "usage: %s [--raw]\n", argv[0]);
        return 2;
    }
    return golden();
}
