/* Elements of x to places of y, in the order that the loops say. */
void move_@(const IN *x, OUT *restrict y, const struct loops *l, int32_t factor, int32_t offset,
            int32_t shift, int32_t low, int32_t high)
{
    int32_t index[LOOPS] = {0}, from = 0, to = 0;
    const int32_t last = l->rank - 1, step_x = l->a[last], step_y = l->b[last];

    do {
        for (int32_t i = 0; i < l->size[last]; i++) {
            const int32_t acc = (int32_t)x[from + i * step_x] * factor + offset;
            y[to + i * step_y] = (OUT)requantize(acc, shift, low, high);
        }
    } while (advance(l, index, &from, &to));
}
