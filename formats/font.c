/* font.c: a fixed-width font of the 95 printable ASCII characters, drawn here to be read and mended. */
#include "font.h"

#include <string.h>

enum { PER_BAND = 16, INK_WIDTH = 5, INK_HEIGHT = 7, FIRST = 32, LAST = 126 };

/* Six bands of 16 glyphs, from the blank on; 7 rows each, a glyph every 6 columns. */
static const char *const art[6 * INK_HEIGHT] = {
    "        #    # #   # #    #   ##     ##     #      #   #                                      #",
    "        #    # #   # #   #### ##  # #  #    #     #     #     #     #                         #",
    "        #         ##### # #      #  # #          #       #  # # #   #                        # ",
    "        #          # #   ###    #    #           #       #   ###  #####       #####         #  ",
    "        #         #####   # #  #    # # #        #       #  # # #   #                      #   ",
    "                   # #  ####  #  ## #  #          #     #     #     #     #               #    ",
    "        #          # #    #      ##  ## #          #   #                 #           #    #    ",
    " ###    #    ###   ###     #  #####   ##  #####  ###   ###                 #         #     ### ",
    "#   #  ##   #   # #   #   ##  #      #        # #   # #   #   #     #     #           #   #   #",
    "#  ##   #       #     #  # #  ####  #        #  #   # #   #   #     #    #    #####    #      #",
    "# # #   #      #    ##  #  #      # ####    #    ###   ####             #               #    # ",
    "##  #   #     #       # #####     # #   #  #    #   #     #              #    #####    #    #  ",
    "#   #   #    #    #   #    #  #   # #   #  #    #   #    #    #     #     #           #        ",
    " ###   ###  #####  ###     #   ###   ###   #     ###   ##     #    #       #         #      #  ",
    " ###    #   ####   ###  ####  ##### #####  ###  #   #  ###    ### #   # #     #   # #   #  ### ",
    "#   #  # #  #   # #   # #   # #     #     #   # #   #   #      #  #  #  #     ## ## ##  # #   #",
    "# ### #   # #   # #     #   # #     #     #     #   #   #      #  # #   #     # # # ##  # #   #",
    "# # # #   # ####  #     #   # ####  ####  #  ## #####   #      #  ##    #     # # # # # # #   #",
    "# ### ##### #   # #     #   # #     #     #   # #   #   #      #  # #   #     #   # #  ## #   #",
    "#     #   # #   # #   # #   # #     #     #   # #   #   #   #  #  #  #  #     #   # #  ## #   #",
    " ###  #   # ####   ###  ####  ##### #      #### #   #  ###   ##   #   # ##### #   # #   #  ### ",
    "####   ###  ####   #### ##### #   # #   # #   # #   # #   # #####  ###  #      ###    #        ",
    "#   # #   # #   # #       #   #   # #   # #   # #   # #   #     #  #    #        #   # #       ",
    "#   # #   # #   # #       #   #   # #   # #   #  # #   # #     #   #     #       #  #   #      ",
    "####  #   # ####   ###    #   #   # #   # # # #   #     #     #    #      #      #             ",
    "#     # # # # #       #   #   #   #  # #  # # #  # #    #    #     #       #     #             ",
    "#     #  #  #  #      #   #   #   #  # #  ## ## #   #   #   #      #        #    #             ",
    "#      ## # #   # ####    #    ###    #   #   # #   #   #   #####  ###      #  ###        #####",
    " #          #               #         ##        #       #      #  #      ##                    ",
    "  #         #               #        #          #                 #       #                    ",
    "       ###  ####   ####  ####  ###  ####   #### ####   ##     ##  #  #    #   ## #  ####   ### ",
    "          # #   # #     #   # #   #  #    #   # #   #   #      #  # #     #   # # # #   # #   #",
    "       #### #   # #     #   # #####  #     #### #   #   #      #  ###     #   # # # #   # #   #",
    "      #   # #   # #     #   # #      #        # #   #   #   #  #  #  #    #   # # # #   # #   #",
    "       #### ####   ####  ####  ###   #     ###  #   #  ###   ##   #   #  ###  # # # #   #  ### ",
    "                         #                                           ##   #    ##              ",
    "                         #                                          #     #      #             ",
    "####   #### # ##   #### ####  #   # #   # #   # #   # #   # #####   #     #      #   #         ",
    "#   # #   # ##    #      #    #   # #   # # # #  # #  #   #    #   #      #       # # # #      ",
    "####   #### #      ###   #    #   #  # #  # # #   #    ####   #     #     #      #     #       ",
    "#         # #         #  #    #   #  # #  # # #  # #      #  #      #     #      #             ",
    "#         # #     ####    ##   ####   #    # #  #   #  ###  #####    ##   #    ##              "
};

static bool ink(unsigned char ch, int x, int y)
{
    if (ch < FIRST || ch > LAST)
        return x == 0 || y == 0 || x == INK_WIDTH - 1 || y == INK_HEIGHT - 1;
    int glyph = ch - FIRST;
    return art[glyph / PER_BAND * INK_HEIGHT + y][glyph % PER_BAND * STRATA_GLYPH_WIDTH + x] == '#';
}

static void fill(strata_image *img, int left, int top, int size, const uint8_t color[3])
{
    int width = strata_image_width(img), height = strata_image_height(img);
    for (int y = top < 0 ? 0 : top; y < top + size && y < height; y++)
        for (int x = left < 0 ? 0 : left; x < left + size && x < width; x++)
            memcpy(strata_image_pixels(img) + ((size_t)y * (size_t)width + (size_t)x) * 3, color, 3);
}

void strata_draw_text(strata_image *img, int x, int y, int scale, const uint8_t color[3], const char *text)
{
    for (; *text != '\0' && x < strata_image_width(img); text++, x += STRATA_GLYPH_WIDTH * scale)
        for (int v = 0; v < INK_HEIGHT; v++)
            for (int u = 0; u < INK_WIDTH; u++)
                if (ink((unsigned char)*text, u, v))
                    fill(img, x + u * scale, y + v * scale, scale, color);
}
