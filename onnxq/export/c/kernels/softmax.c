/* Exponentials of the differences from the largest code, from a table, divided by their sum. */
void softmax_@(const IN *x, OUT *restrict y, const int32_t *exponentials, int32_t outer,
               int32_t size, int32_t inner, int32_t one, struct scale scale)
{
    for (int32_t i = 0; i < outer * inner; i++) {
        const int32_t at = i / inner * size * inner + i % inner;
        int32_t most = (int32_t)x[at], total = 0;
        for (int32_t k = 1; k < size; k++)
            most = (int32_t)x[at + k * inner] > most ? (int32_t)x[at + k * inner] : most;
        for (int32_t k = 0; k < size; k++)
            total += exponentials[most - (int32_t)x[at + k * inner]];
        for (int32_t k = 0; k < size; k++) {
            const int32_t part = exponentials[most - (int32_t)x[at + k * inner]];
            y[at + k * inner] = (OUT)scaled(part * one / total, scale, 0);
        }
    }
}
