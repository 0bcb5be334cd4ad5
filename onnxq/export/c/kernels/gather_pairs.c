/* What lies under the window of a tile of output pixels: place by place, two channels side by side.
   Outside of the input there is one code. Behind the last pixel it comes again, and so does the
   last channel where their number is odd. */
static void gather_pairs_@(const IN *x, int16_t *restrict patch, const struct conv *c,
                           int32_t first)
{
    const struct window *w = &c->window;
    const int32_t plane = w->in_height * w->in_width, last = w->out_height * w->out_width - 1;
    int32_t top[PIXELS], left[PIXELS], at[PIXELS], keep[PIXELS], around[PIXELS];

    for (int32_t p = 0; p < PIXELS; p++) {
        const int32_t pixel = first + p < last ? first + p : last;
        top[p] = pixel / w->out_width * w->stride_y - w->top;
        left[p] = pixel % w->out_width * w->stride_x - w->left;
    }
    for (int32_t i = 0; i < w->kernel_height * w->kernel_width; i++) {
        const int32_t down = i / w->kernel_width * w->hole_y;
        const int32_t right = i % w->kernel_width * w->hole_x;
        int32_t neighbours = 0;
        for (int32_t p = 0; p < PIXELS; p++) {
            const int32_t y = top[p] + down, across = left[p] + right;
            const int32_t hit = (y >= 0) & (y < w->in_height) & (across >= 0)
                              & (across < w->in_width);
            at[p] = hit * (y * w->in_width + across);
            keep[p] = -hit;
            around[p] = (1 - hit) * c->outside;
            neighbours += hit & (at[p] == at[0] + p);
        }
        const int32_t row = neighbours == PIXELS;
        for (int32_t k = 0; k < c->in_channels; k += 2, patch += 2 * PIXELS) {
            const IN *even = x + k * plane, *odd = even + (k + 1 < c->in_channels) * plane;
            for (int32_t p = 0; row && p < PIXELS; p++) {
                patch[2 * p] = (int16_t)even[at[0] + p];
                patch[2 * p + 1] = (int16_t)odd[at[0] + p];
            }
            for (int32_t p = 0; !row && p < PIXELS; p++) {
                patch[2 * p] = (int16_t)(((int32_t)even[at[p]] & keep[p]) + around[p]);
                patch[2 * p + 1] = (int16_t)(((int32_t)odd[at[p]] & keep[p]) + around[p]);
            }
        }
    }
}
