/* A convolution: channels of one group, the code around its input, and weights of a filter. */
struct conv {
    struct window window;
    int32_t groups, in_channels, out_channels, outside, taps;
};
