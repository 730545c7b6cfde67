/*
 * Checks the page checksums of PostgreSQL in many pages at once (checksum_impl.h: 32 lanes of FNV-1a, folded).
 *
 * A plain shared library without Python's headers: ctypes calls it, and releases the interpreter's lock meanwhile.
 * wal_e/pg/page_numpy.py does the same in Python; it is the reference, and serves where this was not built.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "pages are read as little-endian words"
#endif

#define PAGE_SIZE 8192
#define LANES 32
#define ROWS (PAGE_SIZE / (LANES * sizeof(uint32_t)))
#define PRIME 16777619u
#define CHECKSUM 4 /* places of 16-bit fields in the page header */
#define UPPER 7

/* The loader picks the variant for the processor at hand; other compilers and libraries get the plain one. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define VARIANTS __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VARIANTS
#endif

static const uint32_t BASE[LANES] = {
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
};

VARIANTS
static uint32_t folded(const unsigned char *page)
{
    uint32_t lanes[LANES], words[LANES], result = 0;
    size_t row, lane;

    memcpy(lanes, BASE, sizeof lanes);
    for (row = 0; row < ROWS + 2; row++) {
        if (row < ROWS)
            memcpy(words, page + row * sizeof words, sizeof words);
        else
            memset(words, 0, sizeof words); /* two last rounds, of zeros */
        if (row == 0)
            words[2] &= 0xFFFF0000u; /* the checksum's own place counts as zero */
        for (lane = 0; lane < LANES; lane++) {
            uint32_t mixed = lanes[lane] ^ words[lane];
            lanes[lane] = (mixed * PRIME) ^ (mixed >> 17);
        }
    }
    for (lane = 0; lane < LANES; lane++)
        result ^= lanes[lane];
    return result;
}

static uint16_t field(const unsigned char *page, size_t place)
{
    uint16_t value;

    memcpy(&value, page + place * sizeof value, sizeof value);
    return value;
}

static int is_zero(const unsigned char *page)
{
    return page[0] == 0 && memcmp(page, page + 1, PAGE_SIZE - 1) == 0;
}

uint16_t wal_e_page_checksum(const unsigned char *page, uint32_t block)
{
    return (uint16_t)((folded(page) ^ block) % 65535u + 1u);
}

/*
 * Writes the indices of those of `pages` pages to `bad` whose content contradicts their checksum, and returns their
 * number. A page that says it was never written is good only where it is all zeros.
 */
size_t wal_e_bad_pages(const unsigned char *data, size_t pages, uint32_t first_block, uint32_t *bad)
{
    size_t index, count = 0;

    for (index = 0; index < pages; index++) {
        const unsigned char *page = data + index * PAGE_SIZE;
        int good = field(page, UPPER) == 0
                       ? is_zero(page)
                       : wal_e_page_checksum(page, first_block + (uint32_t)index) == field(page, CHECKSUM);

        if (!good)
            bad[count++] = (uint32_t)index;
    }
    return count;
}
