/* One code everywhere. */
void fill_@(OUT *restrict y, int32_t size, int32_t code)
{
    for (int32_t i = 0; i < size; i++)
        y[i] = (OUT)code;
}
