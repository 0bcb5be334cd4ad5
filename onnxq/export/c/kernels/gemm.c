/* Each row of x with each row of the weight. */
WIDE void gemm_@(const IN *x, const W *weight, const int32_t *bias, struct scale scale,
                 OUT *restrict y, int32_t rows, int32_t depth, int32_t columns)
{
    for (int32_t row = 0; row < rows; row++) {
        for (int32_t o = 0; o < columns; o++) {
            const W *w = weight + o * depth;
            int32_t acc = bias[o];
            for (int32_t k = 0; k < depth; k++)
                acc += (int32_t)x[k] * (int32_t)w[k];
            *y++ = (OUT)scaled(acc, scale, o);
        }
        x += depth;
    }
}
