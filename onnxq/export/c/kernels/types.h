/* Where a window looks: sizes of input and output, kernel, its steps and holes, first pads. */
struct window {
    int32_t in_height, in_width, out_height, out_width, kernel_height, kernel_width;
    int32_t stride_y, stride_x, hole_y, hole_x, top, left;
};

/* A convolution: channels of one group, and the code around its input. */
struct conv {
    struct window window;
    int32_t groups, in_channels, out_channels, outside;
};

@SCALE@

#define LOOPS 6

/* Nested loops over two arrays: sizes, and the steps in both. */
struct loops {
    int32_t rank, size[LOOPS], a[LOOPS], b[LOOPS];
};

/* Elements to take along each axis, as offsets in the input. */
struct take {
    int32_t rank, size[LOOPS];
    const int32_t *offsets[LOOPS];
};
