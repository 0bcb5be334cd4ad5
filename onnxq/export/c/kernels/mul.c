/* Product of two inputs. */
void mul_@(const IN *a, const W *b, OUT *restrict y, const struct loops *l,
           int32_t zero_a, int32_t zero_b, struct scale scale)
{
    int32_t index[LOOPS] = {0}, at_a = 0, at_b = 0;
    const int32_t last = l->rank - 1, step_a = l->a[last], step_b = l->b[last];

    do {
        for (int32_t i = 0; i < l->size[last]; i++) {
            const int32_t acc = ((int32_t)a[at_a + i * step_a] - zero_a)
                              * ((int32_t)b[at_b + i * step_b] - zero_b);
            *y++ = (OUT)scaled(acc, scale, 0);
        }
    } while (advance(l, index, &at_a, &at_b));
}
