/* Elements to take along each axis, as offsets in the input. */
struct take {
    int32_t rank, size[LOOPS];
    const int32_t *offsets[LOOPS];
};
