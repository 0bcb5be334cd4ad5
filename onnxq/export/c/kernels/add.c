/* Sum of two inputs, each times a factor that brings it to the scale of the sum. */
WIDE void add_@(const IN *a, const W *b, OUT *restrict y, const struct loops *l,
                int32_t factor_a, int32_t factor_b, int32_t offset, int32_t shift, int32_t low,
                int32_t high)
{
    int32_t index[LOOPS] = {0}, at_a = 0, at_b = 0;
    const int32_t last = l->rank - 1, step_a = l->a[last], step_b = l->b[last];

    do {
        for (int32_t i = 0; i < l->size[last]; i++) {
            const int32_t acc = (int32_t)a[at_a + i * step_a] * factor_a
                              + (int32_t)b[at_b + i * step_b] * factor_b + offset;
            *y++ = (OUT)requantize(acc, shift, low, high);
        }
    } while (advance(l, index, &at_a, &at_b));
}
