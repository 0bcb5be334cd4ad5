/* The next start of the innermost loop; 0 after the last one. */
static int advance(const struct loops *l, int32_t *index, int32_t *a, int32_t *b)
{
    for (int32_t axis = l->rank - 2; axis >= 0; axis--) {
        *a += l->a[axis];
        *b += l->b[axis];
        if (++index[axis] < l->size[axis])
            return 1;
        *a -= l->a[axis] * l->size[axis];
        *b -= l->b[axis] * l->size[axis];
        index[axis] = 0;
    }
    return 0;
}
