/* Nested loops over two arrays: sizes, and the steps in both. */
struct loops {
    int32_t rank, size[LOOPS], a[LOOPS], b[LOOPS];
};
