/* Elements whose offsets in x are sums of one table entry for each axis. */
void take_@(const IN *x, OUT *restrict y, const struct take *t, int32_t factor, int32_t offset,
            int32_t shift, int32_t low, int32_t high)
{
    int32_t index[LOOPS] = {0};
    const int32_t last = t->rank - 1;

    for (;;) {
        int32_t from = 0;
        for (int32_t axis = 0; axis < last; axis++)
            from += t->offsets[axis][index[axis]];
        for (int32_t i = 0; i < t->size[last]; i++) {
            const int32_t acc = (int32_t)x[from + t->offsets[last][i]] * factor + offset;
            *y++ = (OUT)requantize(acc, shift, low, high);
        }
        int32_t axis = last - 1;
        while (axis >= 0 && ++index[axis] == t->size[axis])
            index[axis--] = 0;
        if (axis < 0)
            return;
    }
}
