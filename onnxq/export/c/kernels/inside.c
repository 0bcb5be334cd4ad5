/* The steps first ... end - 1, of count, that stay inside of size elements, from start on. */
static void inside(int32_t start, int32_t stride, int32_t size, int32_t count,
                   int32_t *first, int32_t *end)
{
    const int32_t left = size - start;

    *first = start < 0 ? (stride - 1 - start) / stride : 0;
    *end = left > 0 ? (left + stride - 1) / stride : 0;
    if (*end > count)
        *end = count;
}
