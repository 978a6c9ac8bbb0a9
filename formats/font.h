/* font.h: text in pictures. */
#ifndef STRATA_FORMATS_FONT_H
#define STRATA_FORMATS_FONT_H

#include <strata/extend.h>

/* A character takes 6 x 8 pixels times `scale`, of which 5 x 7 are ink. */
enum { STRATA_GLYPH_WIDTH = 6, STRATA_GLYPH_HEIGHT = 8 };

/* Draws with the top left corner at (x, y), cut off at the borders of the image. Others than ASCII are
 * boxes. */
void strata_draw_text(strata_image *img, int x, int y, int scale, const uint8_t color[3], const char *text);

#endif
