/* Convolution, tile by tile: 16 output pixels with 8 filters. The patches under a block of pixels
   are gathered once and meet every filter; filters and taps are filled up with zeros. */
WIDE void conv_blocks_@(const IN *x, const W *weight, const int32_t *bias, struct scale scale,
                        OUT *restrict y, int16_t *restrict patch, const struct conv *c)
{
    const struct window *w = &c->window;
    const int32_t pixels = w->out_height * w->out_width, taps = c->taps;
    int16_t *filters = patch + BLOCK * taps;

    for (int32_t channel = 0; channel < c->groups * c->out_channels; channel += c->out_channels) {
        for (int32_t pixel = 0; pixel < pixels; pixel += BLOCK) {
            const int32_t end = pixels - pixel < BLOCK ? pixels : pixel + BLOCK;
            const W *next = weight;
            for (int32_t p = pixel; p < end; p += PIXELS)
                gather_pairs_@(x, patch + (p - pixel) * taps, c, p);
            for (int32_t o = 0; o < c->out_channels; o += FILTERS, next += FILTERS * taps) {
                const int32_t left = c->out_channels - o, count = left < FILTERS ? left : FILTERS;
                for (int32_t k = 0; k < FILTERS * taps; k++)
                    filters[k] = (int16_t)next[k];
                for (int32_t p = pixel; p < end; p += PIXELS) {
                    int32_t acc[FILTERS * PIXELS];
                    pair_sums(patch + (p - pixel) * taps, filters, taps / 2, acc);
                    for (int32_t i = 0; i < count; i++) {
                        const int32_t at = channel + o + i, *sums = acc + i * PIXELS;
                        OUT *to = y + at * pixels + p;
                        if (end - p >= PIXELS) {
                            for (int32_t q = 0; q < PIXELS; q++)
                                to[q] = (OUT)scaled(sums[q] + bias[at], scale, at);
                        } else {
                            for (int32_t q = 0; q < end - p; q++)
                                to[q] = (OUT)scaled(sums[q] + bias[at], scale, at);
                        }
                    }
                }
            }
        }
        x += c->in_channels * w->in_height * w->in_width;
        weight += (c->out_channels + FILTERS - 1) / FILTERS * FILTERS * taps;
    }
}
