/* @EACH@ filters at a time, so that their sums stay in registers. */
__attribute__((target("@TARGET@")))
static void sums_@NAME@(const int16_t *x, const int16_t *weight, int32_t pairs, int32_t *sums)
{
    for (int32_t first = 0; first < FILTERS; first += @EACH@) {
        __m@BITS@i acc[@EACH@][512 / @BITS@];
        UNROLL for (int32_t i = 0; i < @EACH@; i++)
            UNROLL for (int32_t j = 0; j < 512 / @BITS@; j++)
                acc[i][j] = _mm@MM@_setzero_si@BITS@();
        for (int32_t k = 0; k < pairs; k++) {
            const __m@BITS@i *a = (const __m@BITS@i *)(const void *)(x + 2 * PIXELS * k);
            UNROLL for (int32_t i = 0; i < @EACH@; i++) {
                int32_t pair;
                memcpy(&pair, weight + 2 * (FILTERS * k + first + i), sizeof pair);
                const __m@BITS@i w = _mm@MM@_set1_epi32(pair);
                UNROLL for (int32_t j = 0; j < 512 / @BITS@; j++)
                    acc[i][j] = @ADD@;
            }
        }
        memcpy(sums + PIXELS * first, acc, sizeof acc);
    }
}
