/* What lies under the window of an output pixel, channel by channel; what is outside of the input
   has one code. */
static void gather_@(const IN *x, PATCH *restrict patch, const struct conv *c, int32_t pixel)
{
    const struct window *w = &c->window;
    const int32_t plane = w->in_height * w->in_width, taps = w->kernel_height * w->kernel_width;
    const int32_t first_y = pixel / w->out_width * w->stride_y - w->top;
    const int32_t first_x = pixel % w->out_width * w->stride_x - w->left;

    for (int32_t i = 0; i < w->kernel_height; i++) {
        const int32_t at_y = first_y + i * w->hole_y, row = at_y >= 0 && at_y < w->in_height;
        for (int32_t j = 0; j < w->kernel_width; j++, patch++) {
            const int32_t at_x = first_x + j * w->hole_x;
            const int32_t hit = row && at_x >= 0 && at_x < w->in_width;
            const IN *from = x + hit * (at_y * w->in_width + at_x);
            for (int32_t k = 0; k < c->in_channels; k++)
                patch[k * taps] = (PATCH)(hit ? (int32_t)from[k * plane] : c->outside);
        }
    }
}
