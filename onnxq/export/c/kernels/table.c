/* What the table has for each code; its first entry is that of the least code. */
void table_@(const IN *x, OUT *restrict y, const OUT *table, int32_t size, int32_t least)
{
    for (int32_t i = 0; i < size; i++)
        y[i] = table[(int32_t)x[i] - least];
}
