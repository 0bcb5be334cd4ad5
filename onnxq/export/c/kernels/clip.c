/* The elements first ... end - 1 of a window that lie inside of the input, along one axis. */
static void clip_window(int32_t start, int32_t hole, int32_t kernel, int32_t size,
                        int32_t *first, int32_t *end)
{
    *first = 0;
    *end = kernel;
    while (*first < kernel && start + *first * hole < 0)
        ++*first;
    while (*end > *first && start + (*end - 1) * hole >= size)
        --*end;
}
