/* Sums of products of a tile: 16 output pixels with 8 filters. Inputs and weights lie in pairs of
   taps, pair after pair: [pair][pixel][2] and [pair][filter][2]. */
#define PIXELS 16
#define FILTERS 8

/* Instructions that may be used where compiler and processor have them: 0 what the compiler makes
   of loops, 1 SSE2, 2 AVX2, 3 AVX-512 VNNI. The results are the same. */
#ifndef MODEL_SIMD
#define MODEL_SIMD 3
#endif

#if MODEL_SIMD && defined(__x86_64__) && !defined(_MSC_VER) \
    && (defined(__clang__) || __GNUC__ >= 9)
#include <immintrin.h>
#include <string.h>

#ifdef __clang__
#define UNROLL
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

@SIMD@
static void pair_sums(const int16_t *x, const int16_t *weight, int32_t pairs, int32_t *sums)
{
    if (MODEL_SIMD > 2 && __builtin_cpu_supports("avx512vnni"))
        sums_vnni(x, weight, pairs, sums);
    else if (MODEL_SIMD > 1 && __builtin_cpu_supports("avx2"))
        sums_avx2(x, weight, pairs, sums);
    else
        sums_sse2(x, weight, pairs, sums);
}
#else
static void pair_sums(const int16_t *x, const int16_t *weight, int32_t pairs, int32_t *sums)
{
    for (int32_t o = 0; o < FILTERS; o++, sums += PIXELS) {
        int32_t acc[PIXELS] = {0};
        for (int32_t k = 0; k < pairs; k++) {
            const int16_t *a = x + 2 * PIXELS * k, *w = weight + 2 * (FILTERS * k + o);
            for (int32_t p = 0; p < PIXELS; p++)
                acc[p] += (int32_t)a[2 * p] * (int32_t)w[0] + (int32_t)a[2 * p + 1] * (int32_t)w[1];
        }
        for (int32_t p = 0; p < PIXELS; p++)
            sums[p] = acc[p];
    }
}
#endif
