/* Where a window looks: sizes of input and output, kernel, its steps and holes, first pads. */
struct window {
    int32_t in_height, in_width, out_height, out_width, kernel_height, kernel_width;
    int32_t stride_y, stride_x, hole_y, hole_x, top, left;
};
