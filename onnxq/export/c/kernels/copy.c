/* Elements of x to places of y, in the order that the loops say, as they are. */
void copy_@(const IN *x, OUT *restrict y, const struct loops *l)
{
    int32_t index[LOOPS] = {0}, from = 0, to = 0;
    const int32_t last = l->rank - 1, step_x = l->a[last], step_y = l->b[last];

    do {
        for (int32_t i = 0; i < l->size[last]; i++)
            y[to + i * step_y] = (OUT)x[from + i * step_x];
    } while (advance(l, index, &from, &to));
}
